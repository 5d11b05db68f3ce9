// Writes a layer as apko does with --format=erofs, of a file system in memory: no package is installed, and nothing is fetched.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"strings"

	apkfs "chainguard.dev/apko/pkg/apk/fs"
	"chainguard.dev/apko/pkg/build"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	fs := apkfs.NewMemFS()
	for _, dir := range []string{"etc", "usr/bin", "usr/lib", "many"} {
		must(fs.MkdirAll(dir, 0o755))
	}
	text := strings.Repeat("a line of a text\n", 700)
	files := map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/os-release": "ID=example\n",
		"usr/bin/tool": text, "usr/lib/block": text[:4096], "usr/lib/more": text[:4097], "usr/lib/less": text[:4095], "usr/lib/empty": "",
	}
	for name, content := range files {
		must(fs.WriteFile(name, []byte(content), 0o644))
	}
	for i := 0; i < 90; i++ {
		must(fs.WriteFile("many/a name of some length "+strings.Repeat("x", i), nil, 0o600))
	}
	must(fs.Chmod("usr/bin/tool", 0o755|os.ModeSetuid))
	must(fs.Chown("usr/lib/more", 1000, 70000))
	must(fs.Symlink("tool", "usr/bin/link"))
	must(fs.Link("usr/lib/less", "usr/lib/hard"))
	must(fs.SetXattr("usr/bin/tool", "user.note", []byte("kept")))
	ctx := context.Background()
	bc, err := build.New(ctx, fs, build.WithFormat("erofs"), build.WithExtraBuildRepos([]string{"./repository"}), build.WithBuildDate("2023-11-14T22:13:20Z"), build.WithTempDir(os.TempDir()))
	must(err)
	_, layer, err := bc.ImageLayoutToLayer(ctx)
	must(err)
	mediaType, _ := layer.MediaType()
	diffID, _ := layer.DiffID()
	log.Println(mediaType, diffID)
	out, err := layer.Uncompressed()
	must(err)
	file, err := os.Create(os.Args[1])
	must(err)
	_, err = io.Copy(file, out)
	must(err)
	must(file.Close())
}
