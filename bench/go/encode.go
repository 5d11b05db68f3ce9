package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

type encodeOptions struct {
	verity     bool
	goroutines int
}

// chunkWork is one chunk on its way: a worker fills frame, sum and err, then signals done.
type chunkWork struct {
	plain []byte
	frame bytes.Buffer
	sum   [sha512.Size]byte
	err   error
	done  chan struct{}
}

func encodeFile(imagePath, blobPath string, options encodeOptions) (report, error) {
	image, err := os.Open(imagePath)
	if err != nil {
		return report{}, err
	}
	defer image.Close()
	blob, err := os.Create(blobPath)
	if err != nil {
		return report{}, err
	}
	defer blob.Close()
	result, err := encode(image, blob, options)
	return result, errors.Join(err, blob.Close())
}

// encode writes the blob of image. Like the reference it learns the image's bytes from a stream, so with dm-verity it keeps
// a raw copy of them in a temporary file to build the tree from.
func encode(image io.Reader, out io.Writer, options encodeOptions) (report, error) {
	blob := &hashWriter{out: out, hash: sha256.New()}
	diffID := &hashWriter{out: io.Discard, hash: sha256.New()}
	input := io.TeeReader(image, diffID)
	var raw *os.File
	if options.verity {
		var err error
		if raw, err = os.CreateTemp("", "bench-raw-*"); err != nil {
			return report{}, err
		}
		defer os.Remove(raw.Name())
		defer raw.Close()
		input = io.TeeReader(input, raw)
	}

	var entries []chunkEntry
	var err error
	if options.goroutines > 1 {
		entries, err = encodeChunksParallel(input, blob, options.goroutines)
	} else {
		entries, err = encodeChunks(input, blob)
	}
	if err != nil {
		return report{}, err
	}

	result := report{BytesIn: diffID.count, Chunks: len(entries), ChunkTableOffset: blob.count}
	table := marshalTable(diffID.count, entries)
	if err := writeSkippable(blob, int64(len(table))); err != nil {
		return report{}, err
	}
	if _, err := blob.Write(table); err != nil {
		return report{}, err
	}
	result.ChunkDigest = fmt.Sprintf("sha512:%x", sha512.Sum512(table))
	if options.verity {
		result.DmverityOffset = blob.count
		if result.RootDigest, err = appendVerity(raw, diffID.count, blob); err != nil {
			return report{}, err
		}
	}
	result.BytesOut = blob.count
	result.DiffID = digestText("sha256", diffID.hash)
	result.Digest = digestText("sha256", blob.hash)
	return result, nil
}

// encodeChunks is the reference's way: one chunk after the other on one thread, through a streaming encoder that starts a
// new frame for each, so that the blob comes out as the reference's byte for byte.
func encodeChunks(input io.Reader, blob *hashWriter) ([]chunkEntry, error) {
	encoder, err := newEncoder()
	if err != nil {
		return nil, err
	}
	var entries []chunkEntry
	var frame bytes.Buffer
	chunk := make([]byte, chunkSize)
	for {
		n, err := readChunk(input, chunk)
		if n == 0 || err != nil {
			return entries, err
		}
		if err := encodeFrame(encoder, chunk[:n], &frame); err != nil {
			return nil, err
		}
		entries = append(entries, chunkEntry{offset: blob.count, sum: sha512.Sum512(frame.Bytes())})
		if _, err := blob.Write(frame.Bytes()); err != nil {
			return nil, err
		}
	}
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
}

// encodeFrame replaces what is in frame by the frame of chunk.
func encodeFrame(encoder *zstd.Encoder, chunk []byte, frame *bytes.Buffer) error {
	frame.Reset()
	encoder.Reset(frame)
	if _, err := encoder.Write(chunk); err != nil {
		return err
	}
	return encoder.Close()
}

// encodeChunksParallel is what the reference could do with little effort: workers goroutines compress and hash frames, the
// main one reads the chunks (and hashes them for the DiffID), another writes the frames in order.
func encodeChunksParallel(input io.Reader, blob *hashWriter, workers int) ([]chunkEntry, error) {
	jobs := make(chan *chunkWork)
	for range workers {
		encoder, err := newEncoder()
		if err != nil {
			return nil, err
		}
		go func() {
			for work := range jobs {
				work.err = encodeFrame(encoder, work.plain, &work.frame)
				work.sum = sha512.Sum512(work.frame.Bytes())
				work.done <- struct{}{}
			}
		}()
	}

	spare := make(chan *chunkWork, 2*workers)
	for range cap(spare) {
		spare <- &chunkWork{plain: make([]byte, chunkSize), done: make(chan struct{}, 1)}
	}
	ordered := make(chan *chunkWork, cap(spare))
	var entries []chunkEntry
	written := make(chan error, 1)
	go func() {
		var failed error
		for work := range ordered {
			<-work.done
			if failed == nil {
				failed = work.err
			}
			if failed == nil {
				entries = append(entries, chunkEntry{offset: blob.count, sum: work.sum})
				_, failed = blob.Write(work.frame.Bytes())
			}
			spare <- work
		}
		written <- failed
	}()

	readErr := feedChunks(input, spare, jobs, ordered)
	close(jobs)
	close(ordered)
	return entries, errors.Join(readErr, <-written)
}

// feedChunks reads input to its end and hands every chunk to the workers and, in the same order, to the writer.
func feedChunks(input io.Reader, spare <-chan *chunkWork, jobs, ordered chan<- *chunkWork) error {
	for {
		work := <-spare
		n, err := readChunk(input, work.plain[:chunkSize])
		if n == 0 || err != nil {
			return err
		}
		work.plain = work.plain[:n]
		jobs <- work
		ordered <- work
	}
}

// readChunk fills chunk as far as the input goes: 0 at its end.
func readChunk(input io.Reader, chunk []byte) (int, error) {
	n, err := io.ReadFull(input, chunk)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
