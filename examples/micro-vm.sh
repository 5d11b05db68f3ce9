#!/usr/bin/env bash
# Boots a virtual machine whose root disk is a converted layer; dm-verity checks each block of it against the layer's descriptor:
#   seekable-erofs encode layer.tar layer.blob --dm-verity --json > descriptor.json
#   examples/micro-vm.sh layer.blob descriptor.json /sbin/init
# Takes Node.js, qemu-system-x86, busybox-static, kmod and dmsetup; neither root nor KVM. KERNEL is a folder with a kernel's boot/
# and lib/modules/ (of Debian's package linux-image-amd64, unpacked); without it the newest of this machine boots. ACCEL=kvm is faster.
set -euo pipefail
blob=$1 descriptor=$2 init=${3:-/sbin/init} kernel=${KERNEL:-}
export PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The disk: the layer's EROFS image with its dm-verity tree behind it. disk.dmverity says where the tree begins, and its root digest.
seekable-erofs decode "$blob" "$work/disk" --descriptor "$descriptor" --dm-verity >&2
read -r root offset < <(node -p 'const { roothash, hashoffset } = JSON.parse(fs.readFileSync(process.argv[1])); `${roothash} ${hashoffset}`' "$work/disk.dmverity")
block=4096 blocks=$((offset / 4096))
verity="0 $((blocks * block / 512)) verity 1 /dev/vda /dev/vda $block $block $blocks $((blocks + 1)) sha512 $root -"

# The initramfs: Debian's kernel has drivers of disks, EROFS and dm-verity as modules, which something has to load.
mapfile -t kernels < <(ls -v "$kernel"/boot/vmlinuz-*)
release=${kernels[-1]##*/vmlinuz-}
mkdir -p "$work/initramfs"/{bin,dev,lib64,modules,new,proc}
cp "$(command -v busybox)" "$work/initramfs/bin/busybox"
cp "$(command -v dmsetup)" "$work/initramfs/bin/dmsetup"
for library in $(ldd "$(command -v dmsetup)" | grep -o '/[^ ]*'); do cp -L "$library" "$work/initramfs/lib64"; done
number=100
for module in $(for name in virtio_pci virtio_blk crc32c_generic erofs sha512_generic dm-verity; do
  modprobe -d "$kernel/" -S "$release" --show-depends "$name"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'); do
  cp "$module" "$work/initramfs/modules/$((number++))-${module##*/}"
done
cat >"$work/initramfs/init" <<END
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin LD_LIBRARY_PATH=/lib64
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod \$module; done
dmsetup create root --readonly --noudevsync --table '$verity' || exit
mount -t erofs -o ro /dev/dm-0 /new || exit
[ ! -d /new/dev ] || mount --move /dev /new/dev
unset LD_LIBRARY_PATH
exec switch_root /new '$init'
END
chmod +x "$work/initramfs/init"
(cd "$work/initramfs" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs.gz"

# A first program that just ends, in place of turning the machine off, makes the kernel panic, which ends the machine as well.
qemu-system-x86_64 -accel "${ACCEL:-tcg}" -cpu max -m 256 -nic none -display none -monitor none -no-reboot \
  -kernel "${kernels[-1]}" -initrd "$work/initramfs.gz" -append "console=ttyS0 panic=-1 quiet" \
  -drive "file=$work/disk,format=raw,if=virtio,readonly=on" -serial stdio </dev/null
