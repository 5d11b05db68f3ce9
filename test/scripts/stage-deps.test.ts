import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'stage-deps-'));
  for (const path of ['scripts', 'node_modules/zstd-napi/deps/zstd/lib'])
    mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"name":"staged","version":"1.0.0"}'); // npm tells what is packed
  for (const path of ['binding.gyp', 'node_modules/zstd-napi/deps/zstd/LICENSE'])
    writeFileSync(join(folder, path), '');
  copyFileSync(resolve(__dirname, '../../scripts/stage-deps.mjs'), join(folder, 'scripts/stage-deps.mjs'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const stage = () =>
  spawnSync(process.execPath, [join(folder, 'scripts/stage-deps.mjs')], { encoding: 'utf8' });

test('nothing is packed without a prebuilt binary', () => {
  const binaries = join(folder, 'prebuilds', `${process.platform}-${process.arch}`);
  for (const makeReady of [() => undefined, () => mkdirSync(binaries, { recursive: true })]) {
    makeReady();
    const { status, stderr } = stage();
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: .*no binary to pack \(run: npm run prebuild\)\n$/);
    expect(existsSync(join(folder, 'deps'))).toBe(false);
  }
  writeFileSync(join(binaries, 'seekable-erofs-native.glibc.node'), '');
  expect(stage()).toMatchObject({ status: 0, stderr: '' });
  expect(existsSync(join(folder, 'deps/zstd/lib'))).toBe(true);
});
