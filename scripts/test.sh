#!/usr/bin/env bash
# npm test: everything that must hold, in order; ends with the line `N passed, N failed`.
#   scripts/test.sh [STEP...]      only these steps (their names are in the summary)
# A step that can't run is a failure, unless it prints `SKIP: reason`. What was skipped, and why, is said at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

reports=$(mktemp -d)
background=
trap '[ -z "$background" ] || kill -- "-$background" 2>/dev/null; rm -rf "$reports"' EXIT
total_passed=0 total_failed=0 summary=() failures=() skips=()
wanted=("$@")

# add NAME PASSED FAILED [NOTE]
add() {
  total_passed=$((total_passed + $2))
  total_failed=$((total_failed + $3))
  summary+=("$(printf '%-16s %5d passed %4d failed  %s' "$1" "$2" "$3" "${4:-}")")
}

# step NAME KIND COMMAND... : runs a command and adds up what it did. KIND is vitest or gtest (the command writes $REPORT, or $REPORT.0, $REPORT.1…),
# or script (each line `ok: ...` is a test passed, and the exit code at least one).
step() {
  local name=$1 kind=$2 log="$reports/$1.log" status passed failed skipped names line started=$SECONDS
  shift 2
  if [ ${#wanted[@]} -gt 0 ] && [[ " ${wanted[*]} " != *" $name "* ]]; then return; fi
  printf '\n=== %s\n' "$name"
  export REPORT="$reports/$name.json"
  timeout --kill-after=10 900 "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  [ "$status" -ne 124 ] || echo "error: $name took longer than 15 minutes"
  local note="$((SECONDS - started)) s"
  if [ "$kind" = script ]; then
    passed=$(grep -c '^ok: ' "$log")
    skipped=$(grep -c '^SKIP: ' "$log")
    while read -r line; do skips+=("$name: $line"); done < <(sed -n 's/^SKIP: //p' "$log")
    if [ "$skipped" -gt 0 ]; then
      note="$note, skipped"
    elif [ "$status" -eq 0 ] && [ "$passed" -eq 0 ]; then
      passed=1
    fi
    [ "$status" -eq 0 ] || failures+=("$name:" "$(tail -n 15 "$log")")
    add "$name" "$passed" $((status != 0)) "$note"
    return
  fi
  read -r passed failed skipped < <(node scripts/test-report.mjs counts "$kind" "$REPORT"* 2>/dev/null)
  # Without a report, or with an exit code that the report does not explain, something else broke.
  if [ -z "${passed:-}" ]; then
    passed=0 failed=1 note="$note, no report"
  elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1 note="$note, exit code $status"
  fi
  if [ "${skipped:-0}" -gt 0 ]; then
    note="$note, $skipped skipped"
    while read -r line; do skips+=("$name: $line"); done < <(node scripts/test-report.mjs skipped "$kind" "$REPORT"*)
  fi
  if [ "$failed" -gt 0 ]; then
    # A report has no name of what ended the program, as a sanitizer does.
    names=$(node scripts/test-report.mjs failures "$kind" "$REPORT"* 2>/dev/null)
    failures+=("$name:" "${names:-$(tail -n 15 "$log")}")
  fi
  add "$name" "$passed" "$failed" "$note"
}

# begin NAME COMMAND... : starts a wanted step's command in the background; its output and exit code go to files of that name.
begin() {
  local name=$1
  shift
  if [ ${#wanted[@]} -gt 0 ] && [[ " ${wanted[*]} " != *" $name "* ]]; then return; fi
  # In a group of its own, so that all of it can be ended.
  set -m
  (
    "$@" >"$reports/$name.out" 2>&1
    echo $? >"$reports/$name.status"
  ) &
  background=$!
  set +m
}

vitest_step() {
  local name=$1
  shift
  step "$name" vitest bash -c 'node_modules/.bin/vitest run --reporter=default --reporter=json --outputFile.json="$REPORT" "$@"' vitest "$@"
}

# What failed is said once more at the end: a log of this length is read from there.
finish() {
  if [ ${#failures[@]} -gt 0 ]; then
    printf '\n=== failures\n'
    printf '%s\n' "${failures[@]}"
  fi
  printf '\n=== skipped on this machine\n'
  printf '%s\n' "${skips[@]:-nothing}"
  printf '\n=== summary\n'
  printf '%s\n' "${summary[@]}"
  printf '\n%d passed, %d failed\n' "$total_passed" "$total_failed"
  [ "$total_failed" -eq 0 ]
}

check_node
need_programs g++=g++ make=make python3=python3 cmake=cmake ninja=ninja-build nm=binutils zstd=zstd mkfs.erofs=erofs-utils \
  fsck.erofs=erofs-utils clang-format=clang-format clang-tidy=clang-tidy setfattr=attr veritysetup=cryptsetup-bin \
  docker-registry=docker-registry redis-server=redis-server skopeo=skopeo openssl=openssl zsh=zsh fish=fish chromium=chromium
[ -x /usr/bin/time ] || need_packages time
python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip # brings the compiler of the released binary
need_packages libgtest-dev libssl-dev zlib1g-dev clang-14 libclang-rt-14-dev
# Only containers need these; without them those steps say why they are skipped.
[ "$(id -u)" -ne 0 ] || need_programs runc=runc umoci=umoci
{ need_npm_packages && build prebuild; } || {
  add build 0 1
  finish
  exit 1
}
add build 1 0

begin vm bash scripts/test-vm.sh # emulates one core for minutes: beside the next steps, of which most have a core to spare
step lint script npm run --silent lint
step types script node_modules/.bin/tsc --noEmit
step docs script node_modules/.bin/typedoc --emit none --logLevel Warn
vitest_step unit --exclude 'test/{conformance,e2e,fuzz,soak}/**'
step core gtest bash -c 'scripts/test-native.sh asan "$REPORT"'
vitest_step fuzz test/fuzz
step libfuzzer script bash scripts/fuzz.sh 10
vitest_step conformance test/conformance
vitest_step soak test/soak # a tenth of what npm run test:soak does
vitest_step cli test/e2e
for file in test/conformance/*.mjs; do
  [ ! -e "$file" ] || step "$(basename "$file" .mjs)" script node "$file"
done
step vm script bash -c 'until [ -e "$1.status" ]; do sleep 1; done; cat "$1.out"; exit "$(cat "$1.status")"' vm "$reports/vm"
step start script node scripts/start.mjs
step package script node scripts/check-package.mjs --prebuilt --compile
step containerd script node test/e2e/containerd.mjs
step containerd-doors script node test/e2e/containerd-doors.mjs
step containerd-differ script node test/e2e/containerd-differ.mjs
step containerd-cache script node test/e2e/containerd-cache.mjs
step containerd-cache-forms script node test/e2e/containerd-cache-forms.mjs
finish
