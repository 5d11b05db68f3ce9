package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/go-dmverity/pkg/verity"
	"github.com/klauspost/compress/zstd"
)

// decodeOptions say what is checked. The zero value but for table checks every frame against the table; with the others
// the decoder checks what this project's does.
type decodeOptions struct {
	table      int64  // offset of the chunk table's skippable frame
	digest     string // of the blob, "sha256:hex"; "": not compared
	diffID     string // of the image, "sha256:hex"; "": not compared
	verity     int64  // offset of the dm-verity payload's skippable frame; -1: not checked
	root       string // "sha512:hex", of that tree
	goroutines int
}

// decodeFile checks every frame of the blob against its table, decompresses it and hashes the image, which is written to
// imagePaths[0], if there is one, or else to a temporary file where the tree needs one.
func decodeFile(blobPath string, imagePaths []string, options decodeOptions) (report, error) {
	blob, err := os.Open(blobPath)
	if err != nil {
		return report{}, err
	}
	defer blob.Close()
	info, err := blob.Stat()
	if err != nil {
		return report{}, err
	}
	file, remove, err := openImage(imagePaths, options.verity >= 0)
	if err != nil {
		return report{}, err
	}
	defer remove()
	out := io.Writer(io.Discard)
	if file != nil {
		defer file.Close()
		out = file
	}
	image := &hashWriter{out: out, hash: sha256.New()}
	digest := make(chan error, 1)
	go func() { digest <- checkBlobDigest(blob, info.Size(), options.digest) }()
	if options.goroutines == 1 { // as the reference: one after the other
		if err := <-digest; err != nil {
			return report{}, err
		}
		digest <- nil
	}
	chunks, err := decode(blob, info.Size(), options, image)
	if err := errors.Join(err, <-digest); err != nil {
		return report{}, err
	}
	diffID := digestText("sha256", image.hash)
	if options.diffID != "" && options.diffID != diffID {
		return report{}, fmt.Errorf("the image is %s, not %s", diffID, options.diffID)
	}
	if options.verity >= 0 {
		if err := checkTree(blob, info.Size(), file, image.count, options); err != nil {
			return report{}, err
		}
	}
	return report{BytesIn: info.Size(), BytesOut: image.count, Chunks: chunks, DiffID: diffID}, nil
}

// openImage opens where the image goes, nil for nowhere, and says how to get rid of it if it is temporary.
func openImage(paths []string, needed bool) (*os.File, func(), error) {
	if len(paths) == 1 {
		file, err := os.Create(paths[0])
		return file, func() {}, err
	}
	if !needed {
		return nil, func() {}, nil
	}
	file, err := os.CreateTemp("", "bench-decoded-*")
	if err != nil {
		return nil, func() {}, err
	}
	return file, func() { os.Remove(file.Name()) }, nil
}

// checkBlobDigest hashes the whole blob, unless there is nothing to compare it with.
func checkBlobDigest(blob io.ReaderAt, size int64, want string) error {
	if want == "" {
		return nil
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(sum, io.NewSectionReader(blob, 0, size), make([]byte, 1<<20)); err != nil {
		return err
	}
	if got := digestText("sha256", sum); got != want {
		return fmt.Errorf("the blob is %s, not %s", got, want)
	}
	return nil
}

// checkTree compares the image with the dm-verity tree in the blob, and that with the root digest, by go-dmverity, which
// wants both in files. It pads the image to whole blocks for that.
func checkTree(blob io.ReaderAt, blobSize int64, image *os.File, size int64, options decodeOptions) error {
	tree, err := os.CreateTemp("", "bench-tree-*")
	if err != nil {
		return err
	}
	defer os.Remove(tree.Name())
	defer tree.Close()
	payload, err := skippablePayload(blob, blobSize, options.verity)
	if err != nil {
		return fmt.Errorf("dm-verity: %w", err)
	}
	if _, err := io.Copy(tree, payload); err != nil {
		return err
	}
	root, err := hex.DecodeString(strings.TrimPrefix(options.root, "sha512:"))
	if err != nil {
		return fmt.Errorf("root digest: %w", err)
	}
	padded := padToBlock(size)
	if err := image.Truncate(padded); err != nil {
		return err
	}
	params := treeParams("sha512", padded)
	if err := verity.Verify(&params, image.Name(), tree.Name(), root); err != nil {
		return err
	}
	return image.Truncate(size)
}

// frameAt is one frame of a blob on its way to the image.
type frameAt struct {
	index  int
	packed []byte
	plain  []byte
	err    error
	done   chan struct{}
}

// decode writes the image of a blob of blobSize bytes and returns its number of chunks. With several goroutines these
// check and decompress frames ahead of the one that hashes and writes.
func decode(blob io.ReaderAt, blobSize int64, options decodeOptions, image *hashWriter) (int, error) {
	opened, err := openBlob(blob, blobSize, options.table)
	if err != nil {
		return 0, err
	}
	if options.goroutines == 1 {
		frame := &frameAt{}
		decoder, err := newDecoder()
		if err != nil {
			return 0, err
		}
		defer decoder.Close()
		for i := range opened.entries {
			if err := opened.decodeFrame(decoder, i, frame); err != nil {
				return 0, err
			}
			if _, err := image.Write(frame.plain); err != nil {
				return 0, err
			}
		}
		return len(opened.entries), nil
	}
	return len(opened.entries), opened.decodeParallel(options.goroutines, image)
}

// decodeParallel has workers goroutines decode frames and writes them in order.
func (b *openedBlob) decodeParallel(workers int, image *hashWriter) error {
	jobs := make(chan *frameAt)
	ordered := make(chan *frameAt, 2*workers)
	spare := make(chan *frameAt, 2*workers)
	for range cap(spare) {
		spare <- &frameAt{done: make(chan struct{}, 1)}
	}
	for range workers {
		decoder, err := newDecoder()
		if err != nil {
			return err
		}
		defer decoder.Close()
		go func() {
			for frame := range jobs {
				frame.err = b.decodeFrame(decoder, frame.index, frame)
				frame.done <- struct{}{}
			}
		}()
	}
	go func() {
		for i := range b.entries {
			frame := <-spare
			frame.index = i
			jobs <- frame
			ordered <- frame
		}
		close(jobs)
		close(ordered)
	}()
	var failed error
	for frame := range ordered {
		<-frame.done
		if failed == nil {
			failed = frame.err
		}
		if failed == nil {
			_, failed = image.Write(frame.plain)
		}
		spare <- frame
	}
	return failed
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
}

// openedBlob is a blob whose table was read.
type openedBlob struct {
	blob      io.ReaderAt
	entries   []chunkEntry
	imageSize int64
	chunkSize int64
	end       int64 // of the last frame
}

func openBlob(blob io.ReaderAt, blobSize, tableOffset int64) (*openedBlob, error) {
	table, err := readTable(blob, blobSize, tableOffset)
	if err != nil {
		return nil, err
	}
	imageSize, size, entries, err := unmarshalTable(table)
	if err != nil {
		return nil, err
	}
	return &openedBlob{blob: blob, entries: entries, imageSize: imageSize, chunkSize: size, end: tableOffset}, nil
}

// decodeFrame leaves the bytes of chunk i in frame.plain, after checking its frame against the table.
func (b *openedBlob) decodeFrame(decoder *zstd.Decoder, i int, frame *frameAt) error {
	entry, end := b.entries[i], b.end
	if i+1 < len(b.entries) {
		end = b.entries[i+1].offset
	}
	if entry.offset < 0 || end <= entry.offset || end > b.end {
		return fmt.Errorf("frame %d: offsets %d to %d don't rise below the table", i, entry.offset, end)
	}
	frame.packed = append(frame.packed[:0], make([]byte, end-entry.offset)...)
	if _, err := b.blob.ReadAt(frame.packed, entry.offset); err != nil {
		return fmt.Errorf("frame %d: %w", i, err)
	}
	if sum := sha512.Sum512(frame.packed); !bytes.Equal(sum[:], entry.sum[:]) {
		return fmt.Errorf("frame %d: SHA-512 differs from the table's", i)
	}
	var err error
	if frame.plain, err = decoder.DecodeAll(frame.packed, frame.plain[:0]); err != nil {
		return fmt.Errorf("frame %d: %w", i, err)
	}
	if int64(len(frame.plain)) != min(b.chunkSize, b.imageSize-int64(i)*b.chunkSize) {
		return fmt.Errorf("frame %d: %d bytes are not its chunk's length", i, len(frame.plain))
	}
	return nil
}

// readTable is the payload of the chunk table's skippable frame at offset.
func readTable(blob io.ReaderAt, blobSize, offset int64) ([]byte, error) {
	payload, err := skippablePayload(blob, blobSize, offset)
	if err != nil {
		return nil, fmt.Errorf("chunk table: %w", err)
	}
	return io.ReadAll(payload)
}

// skippablePayload reads what is in the skippable frame at offset.
func skippablePayload(blob io.ReaderAt, blobSize, offset int64) (io.Reader, error) {
	header := make([]byte, skippableHeader)
	if _, err := blob.ReadAt(header, offset); err != nil {
		return nil, err
	}
	size := int64(binary.LittleEndian.Uint32(header[4:]))
	if binary.LittleEndian.Uint32(header)&^0xF != skippableMagic || size > blobSize-offset-skippableHeader {
		return nil, errors.New("no skippable frame at its offset")
	}
	return io.NewSectionReader(blob, offset+skippableHeader, size), nil
}
