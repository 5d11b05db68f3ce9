#!/usr/bin/env bash
# npm run test:vm: mounts with dm-verity under Debian's kernel, ours and stock containerd's, in a virtual machine (this machine's kernel may lack it, and
# root), and the example that boots a machine from a layer. Prints a line `ok: …` for each test, or `SKIP: reason` where no such machine can be had. Takes `npm run build`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

[ "$(uname -m)" = x86_64 ] || { echo "SKIP: the virtual machine's root is this machine's, so it must be x86-64"; exit 0; }
# A shell of its own: what can't be installed ends it.
(
  need_programs qemu-system-x86_64=qemu-system-x86 depmod=kmod mke2fs=e2fsprogs veritysetup=cryptsetup-bin dmsetup=dmsetup runc=runc
  need_packages busybox-static
) || { echo 'SKIP: what the virtual machine needs is missing, and can not be installed'; exit 0; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
node test/vm/support/prepare.mjs "$folder" "$(command -v busybox)"
scripts/vm-run.sh -m 2048 -t 1500 -s "$folder" node /snap/package/test/vm/support/all.mjs
node test/vm/micro-vm.mjs "${XDG_CACHE_HOME:-$HOME/.cache}/seekable-erofs-vm/default/kernel"
