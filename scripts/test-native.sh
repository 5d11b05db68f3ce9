#!/usr/bin/env bash
# Builds the core and its GoogleTests with cmake-js in a folder of their own, and runs them, in as many processes as there are cores.
#   scripts/test-native.sh plain|asan [REPORT]      the reports are REPORT.0, REPORT.1…
set -euo pipefail
cd "$(dirname "$0")/.."
mode=${1:-}
report=$(realpath -m "${2:-build-$mode/core_test.json}")

case "$mode" in
  plain) flags=(--config Release --CDCMAKE_CXX_FLAGS_RELEASE="-O3 -DNDEBUG -Wno-restrict") ;; # gcc 12 is wrong about std::string
  # -O1: at -O0 the hash kernels take minutes under the sanitizers.
  asan) flags=(--config Debug --CDSANITIZE=address,undefined --CDCMAKE_CXX_FLAGS_DEBUG="-O1 -g1") ;;
  *)
    echo "usage: $0 plain|asan [REPORT.json]" >&2
    exit 2
    ;;
esac

echo "compiling the C++ tests ($mode) …"
started=$SECONDS
for action in configure build; do
  node_modules/.bin/cmake-js "$action" --log-level warn --out "build-$mode" --target core_test "${flags[@]}"
done
echo "took $((SECONDS - started)) s"
program=$(find "build-$mode" -name core_test -type f -perm -u+x -print -quit)
# A test asks for more memory than there is, to see NO_MEMORY.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

export GTEST_TOTAL_SHARDS=$(nproc)
for shard in $(seq 0 $((GTEST_TOTAL_SHARDS - 1))); do
  GTEST_SHARD_INDEX=$shard "$program" --gtest_brief=1 --gtest_output="json:$report.$shard" &
  shards+=($!)
done
status=0
for shard in "${shards[@]}"; do wait "$shard" || status=$?; done
exit "$status"
