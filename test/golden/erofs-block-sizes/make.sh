#!/bin/bash
# Makes the images anew: MKFS_EROFS=mkfs.erofs make.sh (1.9.3; as root, which the files are to belong to).
set -eu
cd "$(dirname "$0")"
source=$(mktemp -d)
python3 make-source.py "$source/tree"
make() { # NAME OPTION…
  "${MKFS_EROFS:-mkfs.erofs}" --quiet -T1700000000 -U 00112233-4455-6677-8899-aabbccddeeff "${@:2}" "$source/image" "$source/tree"
  gzip -9n < "$source/image" > "$1.erofs.gz"
  rm "$source/image"
}
for size in 512 1024 2048 4096; do
  make "plain-$size" "-b$size"
  make "chunks-$size" "-b$size" "--chunksize=$((2 * size))"
  for algorithm in lz4 lzma deflate zstd; do
    make "$algorithm-$size" "-b$size" "-z$algorithm"
  done
done
for size in 1024 2048; do
  make "lz4hc-$size" "-b$size" -zlz4hc
  make "lz4-big-$size" "-b$size" -zlz4 -C16384
  make "lz4-fragments-$size" "-b$size" -zlz4 -Efragments
  make "lz4hc-tails-$size" "-b$size" -zlz4hc -Eztailpacking
  make "zstd-dedupe-$size" "-b$size" -zzstd -C16384 -Ededupe
  make "deflate-all-fragments-$size" "-b$size" -zdeflate -C16384 -Eall-fragments
done
rm -r "$source"
