package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"

	"github.com/containerd/go-dmverity/pkg/verity"
)

const verityBlock = 4096

// formatTree writes superblock and tree for the image at dataPath (whole blocks) to hashPath and returns the root digest.
func formatTree(dataPath, hashPath string, dataSize int64) (string, error) {
	params := verity.DefaultParams()
	params.HashName = "sha512"
	params.DataBlockSize = verityBlock
	params.HashBlockSize = verityBlock
	params.DataBlocks = uint64(dataSize / verityBlock)
	params.HashAreaOffset = verityBlock // the superblock has the first block of the hash file
	if _, err := rand.Read(params.UUID[:]); err != nil {
		return "", err
	}
	root, err := verity.Create(&params, dataPath, hashPath)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("sha512:%x", root), nil
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
	root, err := formatTree(raw.Name(), tree.Name(), padded)
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

// merkleFile builds the tree of an image whose size is a multiple of the block size.
func merkleFile(imagePath string) (report, error) {
	info, err := os.Stat(imagePath)
	if err != nil {
		return report{}, err
	}
	if info.Size() != padToBlock(info.Size()) {
		return report{}, fmt.Errorf("%s: %d bytes are no whole blocks of %d", imagePath, info.Size(), verityBlock)
	}
	tree, err := os.CreateTemp("", "bench-tree-*")
	if err != nil {
		return report{}, err
	}
	defer os.Remove(tree.Name())
	defer tree.Close()
	root, err := formatTree(imagePath, tree.Name(), info.Size())
	if err != nil {
		return report{}, err
	}
	built, err := tree.Stat()
	if err != nil {
		return report{}, err
	}
	return report{BytesIn: info.Size(), BytesOut: built.Size(), RootDigest: root}, nil
}
