// A container of an image whose blocks the kernel checks.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { checkNothingLeft, prepared, program, state, test } from './support/guest.mjs';

function run(...args) {
  const flags = ['--verity', 'require', '--state', state];
  return spawnSync(process.execPath, [program, 'run', ...flags, `oci:${prepared('image')}`, ...args], {
    encoding: 'utf8',
  });
}

await test('run prints hello world, from dm-verity', async () => {
  const { status, stdout, stderr } = run(
    '--',
    '/bin/sh',
    '-c',
    'echo "hello world !"; busybox mount | head -1; exit 3',
  );
  assert.match(
    stdout,
    /^hello world !\noverlay on \/ type overlay|^hello world !\nseekable-erofs-\w+ on \/ type overlay/,
    stderr,
  );
  assert.equal(status, 3);
  await checkNothingLeft();
});
