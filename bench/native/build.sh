#!/usr/bin/env bash
# Links parts.cc and inflate.cc with the objects that the addon was made of, so that the raw limits run the very same machine code.
#   bench/native/build.sh FOLDER     makes FOLDER/parts and FOLDER/inflate.node (after npm run build)
set -euo pipefail
out=$(realpath "$1")
cd "$(dirname "$0")/../.."
objects=build/Release/obj.target
[ -d $objects/seekable_erofs/native ] || {
  echo 'error: the addon was not compiled here (run: npm run build:native)' >&2
  exit 1
}
# objects_of FOLDERS: by the list of sources, for a build folder keeps objects of files that are gone.
objects_of() { grep -E "^native/($1)/" native/sources.txt | sed -E "s#(.*)\\.cc#$objects/seekable_erofs/\\1.o#"; }
mapfile -t core < <(objects_of 'base|hash|verity|zstd')
mapfile -t zstd < <(find $objects/zstd -name '*.o')
flags=(-std=c++20 -O2 -Wall -Wextra -Wno-restrict -Inative)
zstd_flags=("-I$(node scripts/zstd-sources.mjs --include)" -DZSTDLIB_VISIBLE= -DZSTD_STATIC_LINKING_ONLY)
crypto=()
if echo '#include <openssl/sha.h>' | g++ -E -x c++ - >/dev/null 2>&1; then crypto=(-lcrypto); fi

g++ "${flags[@]}" "${zstd_flags[@]}" bench/native/parts.cc "${core[@]}" "${zstd[@]}" -o "$out/parts.new" -Wl,--gc-sections -pthread "${crypto[@]}"

# node-gyp took the headers from beside Node, or fetched them.
headers=$(node -p 'const p = require("path"); [p.join(p.dirname(process.execPath), "../include/node"),
  p.join(require("os").homedir(), ".cache/node-gyp", process.versions.node, "include/node")]
  .find((path) => require("fs").existsSync(p.join(path, "zlib.h"))) ?? ""')
[ -n "$headers" ] || {
  echo "error: no headers of Node $(node --version) beside it or in ~/.cache/node-gyp" >&2
  exit 1
}
mapfile -t inflate < <(objects_of 'base|hash|inflate|zstd')
g++ "${flags[@]}" -shared -fPIC -fvisibility=hidden "-I$headers" bench/native/inflate.cc "${inflate[@]}" "${zstd[@]}" -o "$out/inflate.node.new" -Wl,--gc-sections -pthread

mv "$out/parts.new" "$out/parts"
mv "$out/inflate.node.new" "$out/inflate.node"
