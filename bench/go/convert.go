package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
)

// convertTar makes a raw EROFS image of a layer tar with mkfs.erofs and the reference's arguments, in a temporary file as
// the reference does, and encodes that.
func convertTar(tarPath, blobPath string, options encodeOptions) (report, error) {
	image, err := os.CreateTemp("", "bench-image-*")
	if err != nil {
		return report{}, err
	}
	defer os.Remove(image.Name())
	defer image.Close()

	program := os.Getenv("MKFS_EROFS")
	if program == "" {
		program = "mkfs.erofs"
	}
	mkfs := exec.Command(program, "--tar=f", "--aufs", "--quiet", "-Enoinline_data",
		"-U", randomUUID(), image.Name(), tarPath)
	if output, err := mkfs.CombinedOutput(); err != nil {
		return report{}, fmt.Errorf("%s: %w: %s", program, err, output)
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

// randomUUID is a version 4 UUID in text form.
func randomUUID() string {
	var u [16]byte
	rand.Read(u[:]) // never fails since Go 1.24
	u[6] = u[6]&0x0F | 0x40
	u[8] = u[8]&0x3F | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
