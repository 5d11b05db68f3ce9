#!/usr/bin/env bash
# npm run check:fresh [-- start|test...]: what a user and CI meet on a minimal Debian 12 that has Node.js and git besides. Makes such a machine by
# debootstrap, in namespaces of its own; clones what is committed here into it; runs `npm start` there, then `npm test` (or the one that is named).
# Says what each has installed, how long it took and how it ended. Nothing of it is left. As root; takes 10 GB in $TMPDIR, and the network.
# FRESH_LOGS=DIR keeps all that was printed.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=bookworm
commands=("$@")
[ $# -gt 0 ] || commands=(start test)

fail() {
  echo "error: $1" >&2
  exit "${2:-1}"
}
[ "$(id -u)" -eq 0 ] || fail 'only root can make a machine in a folder' 4
command -v debootstrap >/dev/null || fail 'debootstrap is missing (run: apt-get install debootstrap)' 4
for name in "${commands[@]}"; do
  [[ $name =~ ^(start|test)$ ]] || fail "there is no $name to run (start or test)" 2
done

HOME=$(getent passwd 0 | cut -d: -f6)
export HOME
work=$(mktemp -d "${TMPDIR:-/tmp}/fresh-machine-XXXXXX")
machine=$work/machine
logs=${FRESH_LOGS:-$work}
child=
clean_up() {
  trap '' INT TERM HUP
  [ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true # unshare takes no other while it waits; what it has started dies with it
  wait
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# apart COMMAND... : runs it in namespaces of its own: its processes and mounts end with it, and with this script.
# In the background, as bash would wait for its end before it obeys a signal.
apart() {
  local status=0
  unshare --mount --pid --fork --kill-child "$@" &
  child=$!
  wait "$child" || status=$?
  child=
  return "$status"
}

# This machine's way to package registries: proxies, certificates, settings of apt, pip and npm. None of it belongs to the project.
lend_network() {
  local path
  cp -L /etc/resolv.conf /etc/hosts "$machine/etc/"
  for path in /etc/apt /etc/pip.conf ~/.npmrc ~/.config/pip /etc/ssl/certs /usr/local/share/ca-certificates; do
    [ ! -e "$path" ] || { mkdir -p "$machine${path%/*}" && cp -RL "$path" "$machine${path%/*}/" 2>/dev/null; } || true
  done
  sed -i '/^nodedir=/d' "$machine$HOME/.npmrc" 2>/dev/null || true # a folder of this machine's Node.js
}
mapfile -t network < <(env | grep -iE '^(https?|no|all)_proxy=|^(PIP_(CERT|INDEX_URL|EXTRA_INDEX_URL|DEFAULT_TIMEOUT)|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|GOPROXY|GOSUMDB)=')

# As an archive of nodejs.org is laid out.
lend_node() {
  local prefix
  prefix=$(node -p 'path.dirname(path.dirname(fs.realpathSync(process.execPath)))')
  mkdir -p "$machine"/usr/local/{bin,lib/node_modules,include}
  cp "$prefix/bin/node" "$machine/usr/local/bin/"
  cp -R "$(npm root --global)/npm" "$machine/usr/local/lib/node_modules/"
  [ ! -d "$prefix/include/node" ] || cp -RL "$prefix/include/node" "$machine/usr/local/include/"
  for name in npm npx; do ln -s "../lib/node_modules/npm/bin/$name-cli.js" "$machine/usr/local/bin/$name"; done
}

make_machine() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" 2>/dev/null | sed -n 1p)
  apart debootstrap --variant=minbase --include=git,ca-certificates "$suite" "$machine" ${mirror:+"$mirror"} \
    >"$work/debootstrap.log" 2>&1 || { tail -n 20 "$work/debootstrap.log"; fail 'debootstrap has failed'; }
  lend_network
  lend_node
  chmod 0700 "$machine$HOME"
  git clone --quiet --no-local . "$machine$HOME/project"
}

# inside COMMAND... : runs it as root of the machine, which becomes the root of all mounts, as that of a real one is.
inside() {
  # shellcheck disable=SC2016
  apart bash -c '
    set -e
    machine=$1
    shift
    mount --bind "$machine" "$machine"
    cd "$machine"
    mount -t proc proc proc
    for folder in sys dev; do mount --rbind "/$folder" "$folder"; done
    mount -t tmpfs -o mode=755 tmpfs run
    pivot_root . mnt
    umount -l /mnt
    cd "$HOME/project"
    exec "$@"' inside "$machine" /usr/bin/env -i HOME="$HOME" TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "${network[@]}" "$@"
}

packages() { chroot "$machine" dpkg-query -W -f '${Package} ${Installed-Size}\n' | sort; }

# try NAME : runs `npm NAME`, and adds its verdict.
verdicts=()
all_passed=true
try() {
  local name=$1 status=0 started=$SECONDS before note
  before=$(packages)
  echo "+ npm $name"
  inside npm "$name" </dev/null >"$logs/$name.log" 2>&1 || status=$?
  local seconds=$((SECONDS - started))
  tail -n 60 "$logs/$name.log" | sed 's/^/  | /'
  echo "  installed by apt-get: $(comm -13 <(echo "$before") <(packages) | awk '{ printf "%s ", $1; kib += $2 } END { printf "(%d packages, %d MB)", NR, kib / 1024 }')"
  note="npm $name: exit code $status after $seconds s"
  [ "$name" != test ] || note="$note, $(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/test.log" | tail -n 1)"
  echo "  $note"
  verdicts+=("$note")
  [ "$status" -eq 0 ] || all_passed=false
}

commit=$(git rev-parse --short HEAD)
started=$SECONDS
echo "+ a minimal Debian ($suite) with Node.js $(node --version) and git"
make_machine
echo "  took $((SECONDS - started)) s: $(packages | wc -l) packages, $(du -sm "$machine" | cut -f1) MB"
for name in "${commands[@]}"; do try "$name"; done
printf '\n=== %s on a fresh machine\n' "$commit"
printf '%s\n' "${verdicts[@]}"
$all_passed || { echo 'not so: a fresh machine runs all of it'; exit 1; }
echo 'ok: a fresh machine runs all of it'
