#!/usr/bin/env bash
# Runs the parsers of untrusted bytes under libFuzzer, ASan and UBSan (docs/fuzzing.md).
#   scripts/fuzz.sh [SECONDS [NAME...]]          (default: 10 seconds each, all of them)
# The seeds are native/test/fuzz/corpus/NAME/ and what test/golden/ has; what is found on the way stays in build-fuzz/NAME-found/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
shift || true
if [ $# -eq 0 ]; then
  for harness in native/test/fuzz/*_fuzz.cc; do set -- "$@" "$(basename "$harness" _fuzz.cc)"; done
fi

out=$PWD/build-fuzz
mkdir -p "$out"
compiler=$(command -v clang++-14 || command -v clang++ || echo clang++)
echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  "$compiler" -x c++ - -fsanitize=fuzzer -o "$out/probe" || {
  echo 'error: clang with libFuzzer is missing (run: apt-get install clang-14 libclang-rt-14-dev)' >&2
  exit 4
}

zstd=$(node scripts/zstd-sources.mjs --include)
sanitize=(-fsanitize=address,undefined -fno-sanitize-recover=all)
hidden=(-DZSTDLIB_VISIBLE= -DZSTDERRORLIB_VISIBLE=)
compile=("$compiler" -std=c++20 -O1 -g1 "${sanitize[@]}" "${hidden[@]}" -Inative -I"$zstd")
compile_c=("${compiler/clang++/clang}" -w -O1 -g1 "${hidden[@]}" -DXXH_NAMESPACE=ZSTD_ -DZSTD_TRACE=0)

# zstd_flags SOURCE : the decoder is tested too, and lets wrong checksums pass so that mutated frames are decoded at all.
zstd_flags() {
  case "$1" in
    */compress/*) ;;
    *) echo -fsanitize=address,fuzzer-no-link -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION ;;
  esac
}

# Objects outlive a run: what has not changed since is not compiled again (headers and this script are compared as a whole).
# sed reads all of its input: `head` would end sort with SIGPIPE, and this script without a word.
newest=$(find native "$zstd" "$0" \( -name '*.h' -o -name fuzz.sh \) -printf '%T@ %p\n' | sort -rn | sed -n 1p | cut -d' ' -f2-)
object_of() { echo "$out/$(echo "$1" | tr / _).o"; }
compile_one() {
  local source=$1 object
  object=$(object_of "$source")
  if [ "$object" -nt "$source" ] && [ "$object" -nt "$newest" ]; then return; fi
  case "$source" in
    *.cc) "${compile[@]}" -fsanitize=fuzzer-no-link -c "$source" -o "$object" ;;
    # shellcheck disable=SC2046 # several flags
    *) "${compile_c[@]}" $(zstd_flags "$source") -c "$source" -o "$object" ;;
  esac
}

# at_once COMMAND : runs the function for each line of the input, as many at a time as there are cores; fails if one fails.
at_once() {
  local line failed=0
  while read -r line; do
    [ "$(jobs -rp | wc -l)" -lt "$(nproc)" ] || wait -n || failed=1
    "$1" "$line" &
  done
  while [ -n "$(jobs -p)" ]; do wait -n || failed=1; done
  return "$failed"
}

# sources_of NAME : what a harness is linked with.
sources_of() {
  printf '%s\n' native/base/*.cc "native/test/fuzz/$1_fuzz.cc"
  case "$1" in
    tar | pax) printf '%s\n' native/tar/*.cc ;;
    tree)
      printf '%s\n' native/tar/*.cc native/erofs/tree.cc native/erofs/xattr.cc
      printf 'native/layer/%s.cc\n' entry_inode finish_tree name_index path resolve tar_to_tree tree_builder warnings whiteout
      ;;
    frame) printf '%s\n' native/zstd/frame.cc && node scripts/zstd-sources.mjs ;;
    inflate) printf '%s\n' native/inflate/*.cc && node scripts/zstd-sources.mjs ;;
  esac
}

# golden_seeds NAME : fills a folder with inputs made of the test vectors.
golden_seeds() {
  local seeds="$out/$1-golden"
  mkdir -p "$seeds" "$out/$1-found"
  case "$1" in
    inflate) cp test/golden/tar/*.tar.gz "$seeds" ;;
    tar)
      for tar in test/golden/tar/*.tar.gz; do gunzip -c "$tar" >"$seeds/$(basename "$tar" .gz)"; done
      ;;
  esac
}

fuzz() {
  local name=$1 objects=() source
  while read -r source; do objects+=("$(object_of "$source")"); done < <(sources_of "$name")
  "${compile[@]}" -fsanitize=fuzzer "${objects[@]}" -lz -lpthread -o "$out/$name"
  golden_seeds "$name"
  local options=(-max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1)
  if [ "$name" = tar ] || [ "$name" = pax ]; then options+=(-dict=native/test/fuzz/tar.dict); fi
  if ! "$out/$name" "${options[@]}" -artifact_prefix="$out/$name-" \
    "$out/$name-found" "native/test/fuzz/corpus/$name" "$out/$name-golden" >"$out/$name.log" 2>&1; then
    tail -n 60 "$out/$name.log"
    echo "error: $name fails; run build-fuzz/$name with the file named above" >&2
    return 1
  fi
  local figures
  figures=$(grep -E '^#[0-9]+.*(INITED|DONE)|^stat::(number|average|peak)' "$out/$name.log")
  printf 'fuzzed %s for %s s\n%s\nok: %s survives\n' "$name" "$seconds" "$figures" "$name" # in one piece: another one runs beside it
}

for name in "$@"; do sources_of "$name"; done | sort -u | at_once compile_one
printf '%s\n' "$@" | at_once fuzz
