#!/usr/bin/env bash
# Runs a program as root under Debian's kernel, in a virtual machine that is thrown away. Needs no root and no KVM.
#
#   scripts/vm-run.sh [-v] [-m MIB] [-t SECONDS] [-k PACKAGE] [-s DIR] PROGRAM [ARGUMENT...]
#
#   -v  print the kernel's log too          -m  memory (1024)         -t  time limit (300)
#   -k  the kernel's package (default: what linux-image-amd64 depends on)
#   -s  a copy of DIR on a disk of its own, writable at /snap: ext4 under a real block device
#
# The guest's root is this machine's, read-only (9p) under a tmpfs: programs, node and this checkout are at their places,
# and what the guest writes is gone when it ends. /run and /dev/shm are tmpfs, /sys/fs/cgroup is cgroup2; modprobe works.
# PROGRAM starts in the current folder; its output is printed as it comes, its exit code is ours.
# 124: the time limit; 125: the guest never got as far as PROGRAM (the kernel's log is printed then).
# Takes qemu-system-x86, busybox-static, kmod, e2fsprogs (-s), and an apt that knows its packages for the first kernel; that
# is unpacked under ${XDG_CACHE_HOME:-~/.cache}/seekable-erofs-vm (400 MB), not installed.
set -euo pipefail
usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}
memory=1024 limit=300 package='' snapshot='' verbose=''
while getopts vm:t:k:s: option; do
  case $option in
    v) verbose=1 ;;
    m) memory=$OPTARG ;;
    t) limit=$OPTARG ;;
    k) package=$OPTARG ;;
    s) snapshot=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || usage
program=$(command -v "$1") || { echo "vm-run: there is no program $1" >&2; exit 2; }
program=$(realpath "$program")
shift
cache=${XDG_CACHE_HOME:-$HOME/.cache}/seekable-erofs-vm/${package:-default}
mkdir -p "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What a mount needs, and what the guest needs to see its root; their dependencies come by themselves. A kernel that has one
# built in, or not any more, has no file for it.
modules='virtio_pci virtio_blk 9p 9pnet_virtio crc32c_generic ext4 overlay fuse loop erofs dm-verity
  sha256_generic sha256-ssse3 sha512_generic sha512-ssse3'

# The kernel, unpacked under a name of its own first: a download that was cut short leaves nothing. Lists of packages may be
# missing or old; root can get new ones.
prepare_kernel() {
  [ ! -d "$cache/kernel" ] || return 0
  fetch_kernel 2>"$work/apt.log" ||
    { [ "$(id -u)" -eq 0 ] && apt-get update -qq 2>>"$work/apt.log" && fetch_kernel 2>>"$work/apt.log"; } ||
    { cat "$work/apt.log" >&2; echo 'vm-run: apt has no kernel for the virtual machine (is linux-image-amd64 in its lists?)' >&2; exit 125; }
  local folders=("$work"/kernel/lib/modules/*) new
  PATH=$PATH:/usr/sbin:/sbin depmod -b "$work/kernel" "${folders##*/}"
  new=$(mktemp -d "$cache/new.XXXXXX")
  cp -r "$work/kernel" "$new/kernel"
  rm -r "$work/kernel"
  mv -T "$new/kernel" "$cache/kernel" 2>/dev/null || true # another run was quicker
  rm -rf "$new"
}

fetch_kernel() {
  local name=$package
  [ -n "$name" ] || name=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && /linux-image-/ { print $2; exit }')
  rm -rf "$work/download" "$work/kernel"
  mkdir "$work/download"
  (cd "$work/download" && apt-get download -qq "$name" >&2 && dpkg-deb -x ./*.deb "$work/kernel")
}

# The files of the modules, each after those that it depends on.
module_files() {
  local name
  for name in $modules; do
    PATH=$PATH:/usr/sbin:/sbin modprobe -d "$cache/kernel" -S "$release" --show-depends "$name" 2>/dev/null || true
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# The initramfs: busybox, the modules in the order in which they are loaded, and two scripts: `init` finds the root and
# goes there, `start` is what runs then.
prepare_initramfs() {
  [ ! "$cache/initramfs.gz" -nt "$0" ] || return 0
  local root=$work/initramfs number=100 file
  mkdir -p "$root"/{bin,dev,proc,sys,host,rw,new,modules}
  cp "$(command -v busybox)" "$root/bin/busybox"
  for file in $(module_files); do cp "$file" "$root/modules/$((number++))-${file##*/}"; done
  cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module 2>/dev/kmsg; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host || poweroff -f
mount -t tmpfs rw /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work root /new || poweroff -f
for name in proc sys dev run ctl; do mkdir -p /new/$name; done
for name in proc sys dev; do mount --move /$name /new/$name; done
mount -t tmpfs run /new/run
cp /bin/busybox /start /new/run
mount -t 9p -o trans=virtio,version=9p2000.L ctl /new/ctl || poweroff -f
exec switch_root /new /run/busybox sh /run/start
INIT
  # This is process 1: when it ended, the kernel would panic.
  cat >"$root/start" <<'START'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
busybox=/run/busybox
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/shm /dev/pts /sys/fs/cgroup
$busybox mount -t devpts pts /dev/pts
$busybox mount -t tmpfs shm /dev/shm
$busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
if [ -b /dev/vda ]; then mkdir -p /snap; $busybox mount -t ext4 /dev/vda /snap; fi
mkdir -p /lib/modules
ln -sfn "$(cat /ctl/modules)" /lib/modules/$($busybox uname -r)
$busybox ip link set lo up
$busybox stty -F /dev/ttyS1 raw -echo
/bin/sh /ctl/command </dev/null >/dev/ttyS1 2>&1
echo $? >/ctl/status
$busybox sync
$busybox poweroff -f
START
  chmod +x "$root/init"
  (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$cache/initramfs.$$"
  mv "$cache/initramfs.$$" "$cache/initramfs.gz"
}

prepare_kernel
kernels=("$cache"/kernel/boot/vmlinuz-*)
release=${kernels##*/vmlinuz-}
prepare_initramfs

# What the guest and we tell each other; a folder of its own, since the guest may write to it.
mkdir "$work/ctl"
echo "$cache/kernel/lib/modules/$release" >"$work/ctl/modules"
{
  printf 'export HOME=%q PATH=%q\n' "$HOME" /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  printf 'cd %q || exit 125\nexec' "$PWD"
  printf ' %q' "$program" "$@"
  echo
} >"$work/ctl/command"
disk=()
if [ -n "$snapshot" ]; then
  size=$(($(du -sm "$snapshot" | cut -f1) * 5 / 4 + 256))
  PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -d "$snapshot" "$work/snapshot" "${size}M" >&2
  disk=(-drive "file=$work/snapshot,format=raw,if=virtio,cache=unsafe")
fi

status=0
timeout --foreground "$limit" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory" -nic none -display none -no-reboot \
  -kernel "${kernels[0]}" -initrd "$cache/initramfs.gz" -append 'console=ttyS0 panic=-1 quiet' \
  -serial "file:$work/console" -serial stdio "${disk[@]}" \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
  -virtfs "local,path=$work/ctl,mount_tag=ctl,security_model=none" </dev/null || status=$?
[ -z "$verbose" ] || cat "$work/console" >&2
if [ -s "$work/ctl/status" ]; then exit "$(cat "$work/ctl/status")"; fi
if [ "$status" -eq 124 ]; then
  echo "vm-run: over the time limit of $limit s" >&2
  exit 124
fi
cat "$work/console" >&2
exit 125
