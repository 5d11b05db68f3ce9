#!/usr/bin/env bash
# Feeds mutated inputs to native/test/fuzz/NAME_fuzz.cc, which exercises native/NAME, under ASan and UBSan.
#   scripts/fuzz.sh [SECONDS [NAME...]]          (default: 10 seconds each, all of them)
# libFuzzer is used where clang has it, else the small mutator of native/test/fuzz/mutate_main.cc with gcc.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
shift || true
if [ $# -eq 0 ]; then
  for harness in native/test/fuzz/*_fuzz.cc; do set -- "$@" "$(basename "$harness" _fuzz.cc)"; done
fi

out=$PWD/build-fuzz
mkdir -p "$out"
sanitize=(-fsanitize=address,undefined -fno-sanitize-recover=all -g1)
zstd=$(node scripts/zstd-sources.mjs --include)
hidden=(-DZSTDLIB_VISIBLE= -DZSTDERRORLIB_VISIBLE=)
libraries=(-lz -lpthread)

if echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  clang++ -x c++ - -fsanitize=fuzzer -o "$out/probe" 2>/dev/null; then
  compiler=clang++ c_compiler=clang coverage=(-fsanitize=fuzzer-no-link) driver=(-fsanitize=fuzzer)
else
  compiler=g++ c_compiler=gcc coverage=(-fsanitize-coverage=trace-pc) driver=(native/test/fuzz/mutate_main.cc)
fi
compile=("$compiler" -std=c++20 -O1 "${sanitize[@]}" "${hidden[@]}" -Inative -I"$zstd")

# Objects outlive a run: what has not changed since is not compiled again (headers are compared as a whole).
newest_header=$(find native "$zstd" -name '*.h' -printf '%T@ %p\n' | sort -rn | head -n 1 | cut -d' ' -f2-)
object_of() {
  local source=$1 object
  object="$out/$compiler-$(echo "$source" | tr / _).o"
  if [ ! "$object" -nt "$source" ] || [ ! "$object" -nt "$newest_header" ]; then
    case "$source" in
      *.cc) "${compile[@]}" "${coverage[@]}" -c "$source" -o "$object" ;;
      *) "$c_compiler" -w -O2 "${hidden[@]}" -DXXH_NAMESPACE=ZSTD_ -DZSTD_TRACE=0 -c "$source" -o "$object" ;;
    esac
  fi
  objects+=("$object")
}

seeds_of() {
  local corpus="native/test/fuzz/corpus/$1" seeds="$out/$1-seeds"
  mkdir -p "$seeds"
  if [ -d "$corpus" ]; then cp "$corpus"/* "$seeds"; fi
  for tar in test/golden/tar/*.tar.gz; do
    if [ "$1" = inflate ]; then cp "$tar" "$seeds"; else gunzip -c "$tar" >"$seeds/$(basename "$tar" .gz)"; fi
  done
  # The mutator chooses blindly; huge seeds only slow it down.
  find "$seeds" -size +64k -delete
}

for name in "$@"; do
  objects=()
  for source in native/base/*.cc native/"$name"/*.cc native/test/fuzz/"$name"_fuzz.cc; do object_of "$source"; done
  if [ "$name" = inflate ]; then
    while read -r source; do object_of "$source"; done < <(node scripts/zstd-sources.mjs)
  fi
  "${compile[@]}" "${driver[@]}" "${objects[@]}" "${libraries[@]}" -o "$out/$name"
  seeds_of "$name"
  echo "fuzzing $name for $seconds s"
  if [ "${driver[0]}" = -fsanitize=fuzzer ]; then
    (cd "$out" && "./$name" -max_total_time="$seconds" -print_final_stats=1 "$name-seeds" 2>&1 | tail -n 8)
  else
    (cd "$out" && "./$name" "$seconds" "$name-seeds"/*)
  fi
  echo "ok: $name survives"
done
