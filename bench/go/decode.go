package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// decodeFile checks every frame of the blob against its table, decompresses it and hashes the image.
func decodeFile(blobPath string, imagePaths []string, tableOffset int64) (report, error) {
	blob, err := os.Open(blobPath)
	if err != nil {
		return report{}, err
	}
	defer blob.Close()
	info, err := blob.Stat()
	if err != nil {
		return report{}, err
	}
	out := io.Writer(io.Discard)
	if len(imagePaths) == 1 {
		file, err := os.Create(imagePaths[0])
		if err != nil {
			return report{}, err
		}
		defer file.Close()
		out = file
	}
	image := &hashWriter{out: out, hash: sha256.New()}
	chunks, err := decode(blob, info.Size(), tableOffset, image)
	if err != nil {
		return report{}, err
	}
	return report{
		BytesIn: info.Size(), BytesOut: image.count, Chunks: chunks,
		DiffID: digestText("sha256", image.hash),
	}, nil
}

// decode writes the image of a blob of blobSize bytes and returns its number of chunks.
func decode(blob io.ReaderAt, blobSize, tableOffset int64, image *hashWriter) (int, error) {
	table, err := readTable(blob, blobSize, tableOffset)
	if err != nil {
		return 0, err
	}
	imageSize, size, entries, err := unmarshalTable(table)
	if err != nil {
		return 0, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return 0, err
	}
	defer decoder.Close()
	var frame, plain []byte
	for i, entry := range entries {
		end := tableOffset
		if i+1 < len(entries) {
			end = entries[i+1].offset
		}
		if entry.offset < 0 || end <= entry.offset || end > tableOffset {
			return 0, fmt.Errorf("frame %d: offsets %d to %d don't rise below the table", i, entry.offset, end)
		}
		frame = append(frame[:0], make([]byte, end-entry.offset)...)
		if _, err := blob.ReadAt(frame, entry.offset); err != nil {
			return 0, fmt.Errorf("frame %d: %w", i, err)
		}
		if sum := sha512.Sum512(frame); !bytes.Equal(sum[:], entry.sum[:]) {
			return 0, fmt.Errorf("frame %d: SHA-512 differs from the table's", i)
		}
		if plain, err = decoder.DecodeAll(frame, plain[:0]); err != nil {
			return 0, fmt.Errorf("frame %d: %w", i, err)
		}
		if int64(len(plain)) != min(size, imageSize-image.count) {
			return 0, fmt.Errorf("frame %d: %d bytes are not its chunk's length", i, len(plain))
		}
		if _, err := image.Write(plain); err != nil {
			return 0, err
		}
	}
	return len(entries), nil
}

// readTable is the payload of the skippable frame at offset.
func readTable(blob io.ReaderAt, blobSize, offset int64) ([]byte, error) {
	header := make([]byte, skippableHeader)
	if _, err := blob.ReadAt(header, offset); err != nil {
		return nil, fmt.Errorf("chunk table: %w", err)
	}
	size := int64(binary.LittleEndian.Uint32(header[4:]))
	if binary.LittleEndian.Uint32(header)&^0xF != skippableMagic || size > blobSize-offset-skippableHeader {
		return nil, errors.New("chunk table: no skippable frame at its offset")
	}
	table := make([]byte, size)
	_, err := blob.ReadAt(table, offset+skippableHeader)
	return table, err
}
