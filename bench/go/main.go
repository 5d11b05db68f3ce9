// Command bench performs, one step after another, the work that the Go reference (containerd pull request 12764)
// does on a layer. The benchmarks under bench/ time it next to this project's own commands.
//
// It was written anew from docs/format, not taken from the pull request, and its blobs are the reference's byte for byte
// (but for the random UUID). Where time could be lost for no gain it takes the cheaper way (no content store, one decoder
// for all chunks), so that a comparison never flatters this project.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `usage: bench COMMAND [flags] FILE…

  encode  [-dm-verity] IMAGE BLOB      raw EROFS image to seekable blob
  frames  IMAGE                        compression alone
  decode  -table OFFSET BLOB [IMAGE]   seekable blob to raw image (discarded without IMAGE); every frame is checked, and also
          [-digest D] [-diff-id D]     the blob, the image,
          [-verity OFFSET -root D]     and the dm-verity tree
  merkle  [-hash NAME] IMAGE           the dm-verity tree alone
  convert [-dm-verity] TAR… OUT        mkfs.erofs (of PATH, or $MKFS_EROFS), then encode; TAR plain, gzip or zstd; OUT is a blob,
                                       or with several layers a folder
  read    -table OFFSET [-count N] [-size N] BLOB   random reads, each of a chunk that is checked and decoded anew

All but read take -goroutines N (default 1: as the reference). Each prints one line of JSON.
`

// report is the line that every command prints. Digests are "algorithm:hex".
type report struct {
	Seconds          float64 `json:"seconds"`
	BytesIn          int64   `json:"bytes_in"`
	BytesOut         int64   `json:"bytes_out"`
	DiffID           string  `json:"diff_id,omitempty"`
	Digest           string  `json:"digest,omitempty"`
	Chunks           int     `json:"chunks,omitempty"`
	ChunkTableOffset int64   `json:"chunk_table_offset,omitempty"`
	ChunkDigest      string  `json:"chunk_digest,omitempty"`
	DmverityOffset   int64   `json:"dmverity_offset,omitempty"`
	RootDigest       string  `json:"root_digest,omitempty"`
	P50              float64 `json:"p50,omitempty"` // seconds
	P99              float64 `json:"p99,omitempty"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command given\n%s", usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	var options encodeOptions
	flags.BoolVar(&options.verity, "dm-verity", false, "append the dm-verity payload")
	flags.IntVar(&options.goroutines, "goroutines", 1, "chunks to work on at once (the reference: 1)")
	var checks decodeOptions
	flags.Int64Var(&checks.table, "table", -1, "offset of the chunk table's skippable frame")
	flags.StringVar(&checks.digest, "digest", "", "of the blob")
	flags.StringVar(&checks.diffID, "diff-id", "", "of the image")
	flags.Int64Var(&checks.verity, "verity", -1, "offset of the dm-verity payload's skippable frame")
	flags.StringVar(&checks.root, "root", "", "root digest of the dm-verity tree")
	hashName := flags.String("hash", "sha512", "of the dm-verity tree")
	count := flags.Int("count", 100, "random reads")
	size := flags.Int("size", 4096, "bytes of a read")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	files := flags.Args()
	checks.goroutines = options.goroutines

	start := time.Now()
	var result report
	var err error
	switch {
	case args[0] == "encode" && len(files) == 2:
		result, err = encodeFile(files[0], files[1], options)
	case args[0] == "frames" && len(files) == 1:
		result, err = compressFrames(files[0], options.goroutines)
	case args[0] == "decode" && (len(files) == 1 || len(files) == 2) && checks.table >= 0:
		result, err = decodeFile(files[0], files[1:], checks)
	case args[0] == "merkle" && len(files) == 1:
		result, err = merkleFile(files[0], *hashName, options.goroutines)
	case args[0] == "convert" && len(files) == 2:
		result, err = convertTar(files[0], files[1], options)
	case args[0] == "convert" && len(files) > 2:
		result, err = convertLayers(files[:len(files)-1], files[len(files)-1], options)
	case args[0] == "read" && len(files) == 1 && checks.table >= 0:
		result, err = readRandom(files[0], checks.table, *count, *size)
	default:
		return fmt.Errorf("wrong command line\n%s", usage)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	result.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(result)
}
