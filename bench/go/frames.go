package main

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// compressFrames makes a frame of every chunk and forgets it.
func compressFrames(imagePath string, goroutines int) (report, error) {
	image, err := os.Open(imagePath)
	if err != nil {
		return report{}, err
	}
	defer image.Close()
	info, err := image.Stat()
	if err != nil {
		return report{}, err
	}
	var next, packed atomic.Int64
	var workers sync.WaitGroup
	failures := make([]error, goroutines)
	for worker := range goroutines {
		encoder, err := newEncoder()
		if err != nil {
			return report{}, err
		}
		workers.Add(1)
		go func() {
			defer workers.Done()
			var frame bytes.Buffer
			chunk := make([]byte, chunkSize)
			for failures[worker] == nil {
				at := next.Add(chunkSize) - chunkSize
				if at >= info.Size() {
					return
				}
				part := chunk[:min(chunkSize, info.Size()-at)]
				_, readErr := image.ReadAt(part, at)
				failures[worker] = errors.Join(readErr, encodeFrame(encoder, part, &frame))
				packed.Add(int64(frame.Len()))
			}
		}()
	}
	workers.Wait()
	return report{BytesIn: info.Size(), BytesOut: packed.Load()}, errors.Join(failures...)
}
