// Has the kernel mount a converted image, layer over layer, and runs programs out of it.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { changedText } from './machine-image.mjs';

// In a mount namespace of its own: whatever happens, the mounts end with the shell.
// A file mounts directly since Linux 6.12, and through a loop device before; mount(8) takes what there is.
const script = `
set -eu
work=$1 count=$2 node=$3 added=$4
lower=
i=0
while [ "$i" -lt "$count" ]; do
  mount -t erofs -o ro "$work/layer-$i.erofs" "$work/mount-$i" || mount -t erofs -o ro,loop "$work/layer-$i.erofs" "$work/mount-$i"
  lower="$work/mount-$i\${lower:+:$lower}"
  i=$((i + 1))
done
mount -t overlay overlay -o "ro,lowerdir=$lower" "$work/merged"
chroot "$work/merged" /bin/sh -c 'echo "a shell runs out of an EROFS image, process $$"' >&2
chroot "$work/merged" "$node" "/$added" >&2
chroot "$work/merged" "$node" -p "JSON.stringify({changed: fs.readFileSync('/$5', 'utf8'), deleted: fs.existsSync('/$6')})"
`;

/** `blobs` as describeLayout returns them, `made` as writeMachineImage did. */
export function runConverted({ cli, work, blobs, made }) {
  const obstacle = whyNot();
  if (obstacle !== null) {
    console.log(`\nNot mounted: ${obstacle}.`);
    return;
  }
  console.log(`\nDecoding the ${blobs.length} layers, mounting them with the kernel:`);
  for (const [i, { path, descriptor }] of blobs.entries()) {
    const file = join(work, `descriptor-${i}.json`);
    writeFileSync(file, JSON.stringify(descriptor));
    const args = ['decode', path, join(work, `layer-${i}.erofs`), '--descriptor', file, '--quiet'];
    execFileSync(process.execPath, [cli, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
    mkdirSync(join(work, `mount-${i}`));
  }
  mkdirSync(join(work, 'merged'));
  const args = [work, blobs.length, process.execPath, made.added, made.changed, made.deleted].map(String);
  const printed = execFileSync('unshare', ['--mount', 'sh', '-c', script, 'run-converted', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { changed, deleted } = JSON.parse(printed);
  if (changed !== changedText) throw new Error(`/${made.changed} is not what the third layer wrote`);
  if (deleted) throw new Error(`/${made.deleted} is there, though the third layer deleted it`);
  console.log(`/${made.changed} is the changed one, /${made.deleted} is gone. Unmounted.`);
}

/** What keeps this machine from mounting; null if nothing does. */
function whyNot() {
  if (process.getuid() !== 0) return 'mounting needs root';
  const { status } = spawnSync('unshare', ['--mount', 'true']);
  if (status !== 0) return 'this root may not mount (a container without CAP_SYS_ADMIN?)';
  for (const filesystem of ['erofs', 'overlay']) {
    spawnSync('modprobe', [filesystem]); // where it is a module, or where there is no modprobe: the next line tells
    const { status: absent } = spawnSync('grep', ['-qw', filesystem, '/proc/filesystems']);
    if (absent !== 0) return `the kernel has no ${filesystem}`;
  }
  return null;
}
