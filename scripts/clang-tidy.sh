#!/usr/bin/env bash
# Checks the C++ sources, their tests excepted, by .clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$(command -v clang-tidy-14 || command -v clang-tidy || true)
if [ -z "$program" ]; then
  if [ "${CI:-}" = true ]; then
    echo "error: clang-tidy is missing" >&2
    exit 1
  fi
  echo "note: clang-tidy is not installed, so the length of C++ functions was not checked (CI does)" >&2
  exit 0
fi

# What the compiler has to say it says in the build (-w).
export FLAGS="-std=c++20 -w -DNAPI_VERSION=9 -DNAPI_CPP_EXCEPTIONS -Inative -I$(node scripts/zstd-sources.mjs --include) \
  -Inode_modules/node-addon-api -Inode_modules/node-api-headers/include"
find native -name '*.cc' -not -path 'native/test/*' -print0 |
  xargs -0 -n 4 -P "$(nproc)" sh -c '"$0" --quiet "$@" -- $FLAGS' "$program" 2> >(grep -v 'warnings\? generated' >&2)
