package main

import (
	"bufio"
	stdgzip "compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// convertLayers converts several layers, as containerd does: every layer in a goroutine of its own. The blobs go to a
// folder, by the numbers of the layers.
func convertLayers(tarPaths []string, directory string, options encodeOptions) (report, error) {
	results := make([]report, len(tarPaths))
	failures := make([]error, len(tarPaths))
	running := make(chan struct{}, runtime.NumCPU()) // a layer's mkfs.erofs is a process: not fifty at once
	done := make(chan struct{})
	for i, path := range tarPaths {
		go func() {
			running <- struct{}{}
			results[i], failures[i] = convertTar(path, filepath.Join(directory, fmt.Sprint(i)), options)
			<-running
			done <- struct{}{}
		}()
	}
	var total report
	for range tarPaths {
		<-done
	}
	for _, result := range results {
		total.BytesIn += result.BytesIn
		total.BytesOut += result.BytesOut
		total.Chunks += result.Chunks
		total.RootDigest = result.RootDigest
	}
	return total, errors.Join(failures...)
}

// convertTar makes a raw EROFS image of a layer tar, plain, gzip or zstd, with mkfs.erofs and the reference's arguments, in a
// temporary file as the reference does, and encodes that.
func convertTar(tarPath, blobPath string, options encodeOptions) (report, error) {
	image, err := os.CreateTemp("", "bench-image-*")
	if err != nil {
		return report{}, err
	}
	defer os.Remove(image.Name())
	defer image.Close()
	if err := buildImage(tarPath, image.Name(), options.goroutines > 1); err != nil {
		return report{}, err
	}
	result, err := encodeFile(image.Name(), blobPath, options)
	if err != nil {
		return report{}, err
	}
	info, err := os.Stat(tarPath)
	if err != nil {
		return report{}, err
	}
	result.BytesIn = info.Size()
	return result, nil
}

// buildImage runs mkfs.erofs. A compressed tar reaches it decompressed, through a pipe.
func buildImage(tarPath, imagePath string, generous bool) error {
	program := os.Getenv("MKFS_EROFS")
	if program == "" {
		program = "mkfs.erofs"
	}
	mkfs := exec.Command(program, "--tar=f", "--aufs", "--quiet", "-Enoinline_data", "-U", randomUUID(), imagePath)
	file, err := os.Open(tarPath)
	if err != nil {
		return err
	}
	defer file.Close()
	stream, err := decompressed(file, generous)
	if err != nil {
		return fmt.Errorf("%s: %w", tarPath, err)
	}
	if stream == nil {
		mkfs.Args = append(mkfs.Args, tarPath)
	} else {
		mkfs.Stdin = stream
	}
	if output, err := mkfs.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, output)
	}
	return nil
}

// decompressed is nil for a plain tar. The reference inflates with the standard library; klauspost's inflates faster.
func decompressed(file *os.File, generous bool) (io.Reader, error) {
	buffered := bufio.NewReaderSize(file, 1<<20)
	magic, err := buffered.Peek(4)
	if err != nil {
		return nil, err
	}
	switch {
	case magic[0] == 0x1F && magic[1] == 0x8B && generous:
		return gzip.NewReader(buffered)
	case magic[0] == 0x1F && magic[1] == 0x8B:
		return stdgzip.NewReader(buffered)
	case string(magic) == "\x28\xB5\x2F\xFD":
		return zstd.NewReader(buffered)
	}
	return nil, nil
}

// randomUUID is a version 4 UUID in text form.
func randomUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails since Go 1.24
	u[6] = u[6]&0x0F | 0x40
	u[8] = u[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
