// On the host, not in the VM of the other tests: examples/micro-vm.sh boots a machine of its own from a converted layer.
//   node micro-vm.mjs KERNEL, the folder of an unpacked kernel
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { makeTar } from './support/layers.mjs';

const root = resolve(import.meta.dirname, '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'micro-vm-'));
const at = (name) => join(folder, name);
const env = { ...process.env, PATH: `${at('bin')}:${process.env.PATH}`, KERNEL: process.argv[2] };

/** Says where it runs, and turns the machine off as a real one does. */
const init = `#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
echo "started from $(busybox cat /etc/name)"
busybox grep ' / ' /proc/mounts
busybox poweroff -f
`;

async function prepare() {
  mkdirSync(at('bin'));
  symlinkSync(join(root, 'dist/cli/main.js'), at('bin/seekable-erofs'));
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  const tar = await makeTar([
    ...['bin', 'sbin', 'dev', 'proc', 'etc'].map((name) => ({
      name: `${name}/`,
      type: 'directory',
      mode: 0o755,
    })),
    { name: 'bin/busybox', content: readFileSync(busybox), mode: 0o755 },
    { name: 'sbin/init', content: Buffer.from(init), mode: 0o755 },
    { name: 'etc/name', content: Buffer.from('a layer\n'), mode: 0o644 },
  ]);
  writeFileSync(at('layer.tar'), tar);
  const encode = ['encode', 'layer.tar', 'layer.blob', '--dm-verity', '--json'];
  writeFileSync(at('descriptor.json'), execFileSync('seekable-erofs', encode, { cwd: folder, env }));
}

/** It ends by itself, or is ended long after it should have. */
function boot() {
  const args = [join(root, 'examples/micro-vm.sh'), 'layer.blob', 'descriptor.json'];
  return spawnSync('timeout', ['300', 'bash', ...args], { cwd: folder, env, encoding: 'utf8' });
}

try {
  await prepare();
  const { stdout, stderr, status } = boot();
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  assert.match(stdout, /^started from a layer\r?$/m);
  assert.match(stdout, /^\/dev\/dm-0 \/ erofs ro,/m);
  console.log('ok: a layer boots as the root disk of a micro-VM, behind dm-verity');
  const blob = readFileSync(at('layer.blob'));
  blob[blob.length >> 1] ^= 1;
  writeFileSync(at('layer.blob'), blob);
  const changed = boot();
  assert.equal(changed.status, 3, `${changed.stdout}\n${changed.stderr}`);
  assert.doesNotMatch(changed.stdout, /started/);
  console.log('ok: a changed layer is not booted');
} finally {
  rmSync(folder, { recursive: true });
}
