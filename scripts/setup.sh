# Sourced by start.sh and test.sh, in the project's folder: brings a machine to where the project is built.
# Steps that were done before are skipped.

fail() {
  echo "error: $1" >&2
  exit "${2:-1}"
}

check_node() {
  command -v node >/dev/null && command -v npm >/dev/null || fail 'Node.js 20 or later with npm is missing (see nodejs.org)' 4
  node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
    fail "Node.js $(node --version) is too old (20 or later is needed)" 4
}

# doing WHAT COMMAND... : says what is done, and how long it took.
doing() {
  local what=$1 started=$SECONDS
  shift
  echo "+ $what"
  "$@" || return
  echo "  took $((SECONDS - started)) s"
}

# quietly COMMAND... : shows the end of what it printed, if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" -eq 0 ] || tail -n 60 "$log" >&2
  rm "$log"
  return "$status"
}

# counting TOTAL COMMAND... : says how many object files in build/ are made while the command runs; on a terminal in one line.
counting() {
  local total=$1 begun status=0 counter
  shift
  begun=$(mktemp)
  count_objects "$total" "$begun" &
  counter=$!
  # Not in the background, where Ctrl-C would not reach it.
  "$@" || status=$?
  kill "$counter" 2>/dev/null && wait "$counter" 2>/dev/null || true
  [ ! -t 1 ] || printf '\r\033[K'
  rm "$begun"
  return "$status"
}

count_objects() {
  local made shown=-1
  while kill -0 $$ 2>/dev/null; do
    made=$(find build -name '*.o' -newer "$2" 2>/dev/null | wc -l)
    if [ -t 1 ]; then
      printf '\r  %d of %d files' "$made" "$1"
    elif [ "$made" -gt 0 ] && [ $((made / 20)) -ne "$shown" ]; then
      printf '  %d of %d files\n' "$made" "$1"
      shown=$((made / 20))
    fi
    sleep 1
  done
}

# need_packages PACKAGE... : installs the Debian packages that are missing, as root; else names the line to run, exit code 4.
need_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  local line="apt-get install -y --no-install-recommends ${missing[*]}"
  [ "$(id -u)" -eq 0 ] || fail "this machine lacks ${missing[*]} (run: sudo $line)" 4
  command -v apt-get >/dev/null || fail "this machine lacks ${missing[*]}, and has no apt-get" 4
  export DEBIAN_FRONTEND=noninteractive
  doing "$line" install_packages "$line" || fail "could not install ${missing[*]} (run: $line)" 4
}

# The package lists of a fresh machine or of an old image don't know the packages' places: fetch them, once.
install_packages() {
  $1 >/dev/null 2>&1 || { apt-get update -qq && $1 >/dev/null; }
}

# need_programs PROGRAM=PACKAGE... : as need_packages, but content with a program of any origin.
need_programs() {
  local packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || packages+=("${pair#*=}")
  done
  [ ${#packages[@]} -eq 0 ] || need_packages "${packages[@]}"
}

need_npm_packages() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && return
  doing 'npm ci' npm ci --no-audit --no-fund
}

# newer_than FILE PATH... : whether anything in the paths changed after FILE.
newer_than() {
  local file=$1
  shift
  [ ! -e "$file" ] || [ -n "$(find "$@" -newer "$file" -type f -print -quit)" ]
}

# build [prebuild] : compiles what is older than its sources; with `prebuild` it is the binary that is released for this machine. Programs that run
# from here meanwhile keep the addon and the dist/ that they have.
build() {
  # node-gyp fetches headers unless it is told where they are; many installations of Node have them.
  local prefix
  prefix=$(node -p 'path.dirname(path.dirname(process.execPath))')
  if [ -z "${npm_config_nodedir:-}" ] && [ -f "$prefix/include/node/node_version.h" ]; then
    export npm_config_nodedir=$prefix
  fi
  local addon=build/Release/seekable_erofs.node script=${1:-build:native} arch
  arch=$(node -p process.arch)
  [ "$script" = build:native ] || addon=prebuilds/linux-$arch/seekable-erofs-native.glibc.node
  if newer_than "$addon" native binding.gyp scripts/zig-requirements.txt node_modules/.package-lock.json; then
    local total=$(($(wc -l <native/sources.txt) + $(node scripts/zstd-sources.mjs | wc -l)))
    doing "npm run $script: compiles the addon, which takes minutes" counting "$total" quietly npm run --silent "$script" ${1:+-- "linux-$arch-glibc"} ||
      fail 'the addon does not compile'
    [ "$script" != build:native ] || touch "$addon" # make leaves it as it is when nothing has changed
  fi
  if [ "$script" = prebuild ]; then # what the tests load is what is packed
    mkdir -p build/Release
    cp "$addon" build/Release/new.node && mv build/Release/new.node build/Release/seekable_erofs.node
  fi
  if newer_than dist/index.mjs src tsconfig.json tsconfig.build.json scripts/entry-points.mjs scripts/man-page.mjs; then
    doing 'npm run build:ts' npm run --silent build:ts
  fi
}
