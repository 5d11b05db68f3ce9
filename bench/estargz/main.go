// Command estargz makes an eStargz layer of a tar with the defaults of stargz-snapshotter's library.
//
//	estargz TAR OUT
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: estargz TAR OUT")
	}
	tar, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer tar.Close()
	info, err := tar.Stat()
	if err != nil {
		return err
	}
	blob, err := estargz.Build(io.NewSectionReader(tar, 0, info.Size()))
	if err != nil {
		return err
	}
	defer blob.Close()
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	written, err := io.Copy(out, blob)
	if err != nil {
		return err
	}
	fmt.Printf("{\"bytes_out\":%d}\n", written)
	return out.Close()
}
