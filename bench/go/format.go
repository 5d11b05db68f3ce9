package main

import (
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
)

// The container of the blob: see docs/format.
const (
	chunkSize       = 4 << 20
	skippableMagic  = 0x184D2A50
	skippableHeader = 8
	tableMagic      = 0xCDE4EC67
	tableVersion    = 1
	tableHeader     = 23
	hashSHA512      = 1
	tableEntry      = 8 + sha512.Size
)

// chunkEntry says where one chunk's frame starts in the blob and what it hashes to.
type chunkEntry struct {
	offset int64
	sum    [sha512.Size]byte
}

// marshalTable is the payload of the chunk table's skippable frame.
func marshalTable(imageSize int64, entries []chunkEntry) []byte {
	table := make([]byte, 0, tableHeader+len(entries)*tableEntry)
	table = binary.LittleEndian.AppendUint32(table, tableMagic)
	table = binary.LittleEndian.AppendUint32(table, tableVersion)
	table = binary.LittleEndian.AppendUint64(table, uint64(imageSize))
	table = binary.LittleEndian.AppendUint32(table, chunkSize)
	table = append(table, hashSHA512, 0, 0)
	for i := range entries {
		table = binary.LittleEndian.AppendUint64(table, uint64(entries[i].offset))
		table = append(table, entries[i].sum[:]...)
	}
	return table
}

// unmarshalTable is the inverse of marshalTable, for blobs of this program or of seekable-erofs with SHA-512 entries.
func unmarshalTable(table []byte) (imageSize int64, size int64, entries []chunkEntry, err error) {
	if len(table) < tableHeader || binary.LittleEndian.Uint32(table) != tableMagic ||
		binary.LittleEndian.Uint32(table[4:]) != tableVersion || table[20] != hashSHA512 {
		return 0, 0, nil, errors.New("no chunk table of version 1 with SHA-512 here")
	}
	imageSize = int64(binary.LittleEndian.Uint64(table[8:]))
	size = int64(binary.LittleEndian.Uint32(table[16:]))
	rest := table[tableHeader:]
	if imageSize < 0 || size == 0 || len(rest)%tableEntry != 0 ||
		(imageSize-1)/size+1 != int64(len(rest)/tableEntry) && imageSize != 0 {
		return 0, 0, nil, errors.New("the chunk table's sizes contradict each other")
	}
	for ; len(rest) > 0; rest = rest[tableEntry:] {
		entry := chunkEntry{offset: int64(binary.LittleEndian.Uint64(rest))}
		copy(entry.sum[:], rest[8:])
		entries = append(entries, entry)
	}
	return imageSize, size, entries, nil
}

// writeSkippable writes the frame header for a payload of size bytes.
func writeSkippable(out io.Writer, size int64) error {
	if size > math.MaxUint32 {
		return fmt.Errorf("%d bytes don't fit a skippable frame", size)
	}
	header := binary.LittleEndian.AppendUint32(nil, skippableMagic)
	header = binary.LittleEndian.AppendUint32(header, uint32(size))
	_, err := out.Write(header)
	return err
}

// hashWriter counts and hashes what passes through it to out.
type hashWriter struct {
	out   io.Writer
	hash  hash.Hash
	count int64
}

func (w *hashWriter) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	w.hash.Write(p[:n])
	w.count += int64(n)
	return n, err
}

func digestText(algorithm string, h hash.Hash) string {
	return fmt.Sprintf("%s:%x", algorithm, h.Sum(nil))
}
