import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { rootOnly, titleOf } from '../conformance/support/machine';
import type { Extracted } from '../../src/index';
import { RangeServer } from '../support/range-server';
import { tarBytes } from '../support/tar-bytes';
import { documentOf, runCli } from './run-cli';
import { makeTar, noise, sampleTar, writeLayout } from './sample';
import { at, encodeSample, expectFailure, folder, put, useFolders } from './workspace';

useFolders();

describe('extract', () => {
  test('makes the tree, and says how much there was', async () => {
    const { blob, descriptor } = await encodeSample();
    const flags = ['--descriptor', descriptor];
    const extracted = await documentOf<Extracted>(['extract', blob, at('out'), ...flags]);
    expect(extracted).toEqual({ entries: 10, bytes: 7 + 300_000 + 315_000 });
    expect(await readFile(at('out/usr/bin/tool-too'))).toEqual(noise(300_000, 'tool'));
    const run = await runCli(['extract', blob, at('again'), '/etc', ...flags]);
    expect(run.stdout.toString()).toMatch(/^3 entries, 7 bytes, /);
    expect(run.stderr).toBe('');
    expect(await readdir(at('again'))).toEqual(['etc']);
  });

  test('an image merged, or one of its layers', async () => {
    const upper = tarBytes([{ name: 'etc/.wh.hostname' }, { name: 'etc/motd', content: 'hi' }]);
    await writeLayout(at('src'), [await sampleTar(), upper]);
    await documentOf(['convert', `oci:${at('src')}`, `oci:${at('dst')}`]);
    await documentOf(['extract', `oci:${at('dst')}`, at('all')]);
    expect(await readdir(at('all/etc'))).toEqual(['link', 'motd']);
    await documentOf(['extract', `oci:${at('dst')}`, at('lower'), '--one-layer', '0']);
    expect(await readdir(at('lower/etc'))).toEqual(['hostname', 'link']);
  });

  test('refuses what makes no sense', async () => {
    const tar = await put('layer.tar', await sampleTar());
    expect(await expectFailure(['extract', tar, at('out')], 2, 'USAGE')).toContain('encode');
    await documentOf(['build', tar, at('image')]);
    await expectFailure(['extract', at('image'), folder], 2, 'USAGE');
    expect(await expectFailure(['extract', at('image'), at('out'), '/none'], 1, 'NOT_FOUND')).toContain(
      '/none',
    );
    await expectFailure(['extract', at('image')], 2, 'USAGE');
    expect((await readdir(folder)).sort()).toEqual(['image', 'layer.tar']);
  });

  test.skipIf(rootOnly !== null)(
    titleOf('as another user: without owners and devices', rootOnly),
    async () => {
      const tar = tarBytes([
        { name: 'dev/', type: '5', mode: 0o755 },
        { name: 'dev/null', type: '3', device: [1, 3] },
        { name: 'dev/sda', type: '4', device: [8, 0] },
        { name: 'whiteout', type: '3', device: [0, 0] },
        { name: 'closed/', type: '5', mode: 0o000 },
        { name: 'closed/f', content: 'x', mode: 0o400, uid: 5 },
        { name: 'link', type: '1', target: 'closed/f', mode: 0o400 },
        { name: 'tagged', xattrs: { 'trusted.k': 'v' } },
      ]);
      await documentOf(['build', await put('layer.tar', tar), at('image')]);
      await chmod(at('image'), 0o644);
      await chmod(folder, 0o777);
      const { stdout, stderr, exitCode } = await runCli(['extract', at('image'), at('out'), '--json'], {
        uid: 65_534,
      });
      expect(exitCode, stderr).toBe(0);
      // Everybody may make a device 0:0: what it says is only that a name is hidden.
      expect(JSON.parse(stdout.toString())).toEqual({ entries: 7, bytes: 1 });
      const lines = stderr.trimEnd().split('\n').sort();
      expect(lines).toHaveLength(2);
      expect(lines[0]).toMatch(
        /^warning: \/dev\/null: device not made: Operation not permitted \(and of 1 more\)$/,
      );
      expect(lines[1]).toMatch(/^warning: \/tagged: trusted\.k not restored: Operation not permitted$/);
      expect(await readdir(at('out/dev'))).toEqual([]);
      const owner = { uid: 65_534, gid: 65_534 };
      expect(await stat(at('out/closed'))).toMatchObject({ ...owner, mode: 0o40000 });
      expect(await stat(at('out/closed/f'))).toMatchObject({ ...owner, mode: 0o100400, nlink: 2 });
    },
  );

  test.each(['SIGINT', 'SIGTERM'] as const)('cleans up after %s', async (signal) => {
    const files = Array.from({ length: 20 }, (_, i) => ({
      name: `d${i}/f`,
      content: randomBytes(3_000_000),
    }));
    const args = ['--chunk-size', '64KiB', await put('layer.tar', await makeTar(files)), at('blob')];
    const descriptor = await put('descriptor', JSON.stringify(await documentOf(['encode', ...args])));
    const server = await RangeServer.start(await readFile(at('blob')));
    onTestFinished(() => server.stop());
    // It falls silent after the first files, long before the metadata at the end: no run ends of itself.
    const { length } = server.bytes;
    server.misbehave = ({ range }) =>
      range !== null && range.first > length / 5 && range.first < 0.9 * length;
    await mkdir(at('place'));
    const run = await runCli(
      ['extract', server.url, join(at('place'), 'out'), '--descriptor', descriptor, '--progress', 'json'],
      { signalAt: { pattern: /"phase":"extract"/, signal } },
    );
    expect(run.exitCode, run.stderr).toBe(signal === 'SIGINT' ? 130 : 143);
    expect(await readdir(at('place'))).toEqual([]);
  });
});
