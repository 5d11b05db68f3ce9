package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/containerd/go-dmverity/pkg/verity"
)

const verityBlock = 4096

// treeParams is the shape of the reference's trees, for dataSize bytes (whole blocks).
func treeParams(hashName string, dataSize int64) verity.Params {
	params := verity.DefaultParams()
	params.HashName = hashName
	params.DataBlockSize = verityBlock
	params.HashBlockSize = verityBlock
	params.DataBlocks = uint64(dataSize / verityBlock)
	params.HashAreaOffset = verityBlock // the superblock has the first block of the hash file
	return params
}

// formatTree writes superblock and tree for the image at dataPath (whole blocks) to hashPath and returns the root digest.
func formatTree(hashName, dataPath, hashPath string, dataSize int64) (string, error) {
	params := treeParams(hashName, dataSize)
	if _, err := rand.Read(params.UUID[:]); err != nil {
		return "", err
	}
	root, err := verity.Create(&params, dataPath, hashPath)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s:%x", hashName, root), nil
}

// padToBlock is size rounded up to whole dm-verity blocks.
func padToBlock(size int64) int64 {
	return (size + verityBlock - 1) / verityBlock * verityBlock
}

// appendVerity pads raw, the temporary copy of the image, builds the tree and writes it to blob as a skippable frame.
func appendVerity(raw *os.File, size int64, blob io.Writer) (string, error) {
	padded := padToBlock(size)
	if err := raw.Truncate(padded); err != nil {
		return "", err
	}
	tree, err := os.CreateTemp("", "bench-tree-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tree.Name())
	defer tree.Close()
	root, err := formatTree("sha512", raw.Name(), tree.Name(), padded)
	if err != nil {
		return "", err
	}
	info, err := tree.Stat()
	if err != nil {
		return "", err
	}
	if err := writeSkippable(blob, info.Size()); err != nil {
		return "", err
	}
	_, err = io.Copy(blob, tree)
	return root, err
}

// merkleFile builds the tree of an image whose size is a multiple of the block size: with go-dmverity, which has no
// threads, or the lowest level alone (62 of 63 blocks with SHA-512) with several goroutines.
func merkleFile(imagePath, hashName string, goroutines int) (report, error) {
	info, err := os.Stat(imagePath)
	if err != nil {
		return report{}, err
	}
	if info.Size() != padToBlock(info.Size()) {
		return report{}, fmt.Errorf("%s: %d bytes are no whole blocks of %d", imagePath, info.Size(), verityBlock)
	}
	if goroutines > 1 {
		return report{BytesIn: info.Size()}, hashLeaves(imagePath, info.Size(), hashName, goroutines)
	}
	tree, err := os.CreateTemp("", "bench-tree-*")
	if err != nil {
		return report{}, err
	}
	defer os.Remove(tree.Name())
	defer tree.Close()
	root, err := formatTree(hashName, imagePath, tree.Name(), info.Size())
	if err != nil {
		return report{}, err
	}
	built, err := tree.Stat()
	if err != nil {
		return report{}, err
	}
	return report{BytesIn: info.Size(), BytesOut: built.Size(), RootDigest: root}, nil
}

// hashLeaves is what Go could do with a goroutine a core: every one takes pieces of 4 MiB and hashes their blocks.
func hashLeaves(imagePath string, size int64, hashName string, goroutines int) error {
	image, err := os.Open(imagePath)
	if err != nil {
		return err
	}
	defer image.Close()
	var next atomic.Int64
	var workers sync.WaitGroup
	failures := make([]error, goroutines)
	for worker := range goroutines {
		workers.Add(1)
		go func() {
			defer workers.Done()
			piece := make([]byte, chunkSize)
			for failures[worker] == nil {
				at := next.Add(chunkSize) - chunkSize
				if at >= size {
					return
				}
				part := piece[:min(chunkSize, size-at)]
				_, failures[worker] = image.ReadAt(part, at)
				hashBlocks(part, hashName)
			}
		}()
	}
	workers.Wait()
	return errors.Join(failures...)
}

func hashBlocks(piece []byte, hashName string) (sum byte) {
	for ; len(piece) > 0; piece = piece[verityBlock:] {
		if hashName == "sha256" {
			digest := sha256.Sum256(piece[:verityBlock])
			sum ^= digest[0]
		} else {
			digest := sha512.Sum512(piece[:verityBlock])
			sum ^= digest[0]
		}
	}
	return sum
}
