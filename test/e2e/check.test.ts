import { describe, expect, test } from 'vitest';
import { documentOf, runCli, runJson } from './run-cli';
import { makeTar } from './sample';
import { at, encodeSample, expectFailure, folder, keys, put, useFolders } from './workspace';

useFolders();

interface Checked {
  ok: boolean;
  entries: number;
  differences: { path: string; field: string; expected: unknown; actual: unknown }[];
}

describe('check', () => {
  test('says that a conversion lost nothing', async () => {
    const { blob, descriptor } = await encodeSample('--dm-verity');
    const args = ['check', at('layer.tar'), blob, '--descriptor', descriptor];
    expect(await documentOf<Checked>(args)).toEqual({
      ok: true,
      entries: 10,
      config: [],
      notCompared: [],
      differences: [],
    });
    const run = await runCli(args);
    expect(run).toMatchObject({ exitCode: 0, stderr: '' });
    expect(run.stdout.toString()).toMatch(/^no difference: 10 entries, .* MB\/s, .* s\n$/);
    expect((await runCli([...args, '--quiet'])).stdout.toString()).toBe('');
  });

  test('names what it lost, with exit code 3 and the document', async () => {
    const { blob, descriptor } = await encodeSample();
    const other = await put('other.tar', await makeTar([{ name: 'etc/hostname', content: 'Sample\n' }]));
    const args = ['check', other, blob, '--descriptor', descriptor];
    const { document, ...run } = await runJson<Checked>(args);
    expect(run.exitCode).toBe(3);
    expect(keys(document)).toEqual(['config', 'differences', 'entries', 'notCompared', 'ok']);
    expect(document).toMatchObject({ ok: false, entries: 3 });
    expect(document.differences).toContainEqual({
      path: '/etc/hostname',
      field: 'content',
      expected: '0x53 at offset 0',
      actual: '0x73 at offset 0',
    });
    expect(document.differences).toContainEqual({
      path: '/usr',
      field: 'extra',
      expected: null,
      actual: 'dir',
    });
    const text = await runCli(args);
    expect(text.exitCode).toBe(3);
    expect(text.stdout.toString()).toContain(
      '/etc/hostname: content is 0x73 at offset 0, not 0x53 at offset 0\n/etc/link: extra (symlink)\n',
    );
    const count = document.differences.length;
    expect(text.stderr).toBe(`error: ${blob}: ${count} differences from ${other} in 3 entries\n`);
  });

  test('refuses what can not be compared', async () => {
    const tar = await put('layer.tar', await makeTar([{ name: 'a', content: 'a' }]));
    await expectFailure(['check', tar, tar], 2, 'USAGE');
    await expectFailure(['check', tar, `oci:${folder}`], 2, 'USAGE');
    await expectFailure(['check', tar, 'missing'], 1, 'NOT_FOUND');
  });
});
