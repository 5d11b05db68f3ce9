package main

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// readRandom reads count pieces of size bytes at the places that a small generator gives, each from a chunk that is
// checked and decoded anew, and reports the latencies.
func readRandom(blobPath string, table int64, count, size int) (report, error) {
	blob, err := os.Open(blobPath)
	if err != nil {
		return report{}, err
	}
	defer blob.Close()
	info, err := blob.Stat()
	if err != nil {
		return report{}, err
	}
	opened, err := openBlob(blob, info.Size(), table)
	if err != nil {
		return report{}, err
	}
	decoder, err := newDecoder()
	if err != nil {
		return report{}, err
	}
	defer decoder.Close()
	frame := &frameAt{}
	state := uint64(1)
	latencies := make([]time.Duration, 0, count)
	for range count {
		state = (state*25214903917 + 11) % (1 << 48)
		at := int64(state>>16) * int64(size) % (opened.imageSize - int64(size))
		first, last := at/opened.chunkSize, (at+int64(size)-1)/opened.chunkSize
		start := time.Now()
		for chunk := first; chunk <= last; chunk++ {
			if err := opened.decodeFrame(decoder, int(chunk), frame); err != nil {
				return report{}, err
			}
		}
		latencies = append(latencies, time.Since(start))
	}
	if len(latencies) == 0 {
		return report{}, fmt.Errorf("nothing to read")
	}
	slices.Sort(latencies)
	at := func(part float64) float64 { return latencies[int(part*float64(len(latencies)-1))].Seconds() }
	return report{BytesIn: info.Size(), BytesOut: int64(count * size), P50: at(0.5), P99: at(0.99)}, nil
}
