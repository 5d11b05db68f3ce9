import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { documentOf, runCli } from './run-cli';
import { makeTar, noise, sampleTar } from './sample';
import { at, encodeSample, folder, keys, put, useFolders } from './workspace';

useFolders();

describe('what goes where', () => {
  test('text: the digest first, about it below, and with --quiet the digest alone', async () => {
    const { encoded } = await encodeSample();
    const args = ['encode', at('layer.tar'), at('layer.blob'), '--chunk-size', '64KiB'];
    const usual = await runCli(args);
    expect(usual.stdout.toString().split('\n')[0]).toBe(encoded.digest);
    expect(usual.stdout.toString()).toContain(encoded.diffId);
    const quiet = await runCli([...args, '--quiet']);
    expect(quiet.stdout.toString()).toBe(`${encoded.digest}\n`);
    expect(usual.stderr + quiet.stderr).toBe('');
  });

  test('inspect prints ten chunks, or all', async () => {
    const tar = await put('layer.tar', await sampleTar());
    await documentOf(['encode', tar, at('blob'), '--chunk-size', '4KiB']);
    const some = await runCli(['inspect', at('blob')]);
    expect(some.stdout.toString()).toMatch(/\n +\d+ more \(--chunks all\)\n/);
    const all = await runCli(['inspect', at('blob'), '--chunks', 'all']);
    expect(all.stdout.toString().split('\n').length).toBeGreaterThan(100);
  });

  test('--progress json: every line of stderr is an object with the four members', async () => {
    await put('layer.tar', await sampleTar());
    const args = ['encode', 'layer.tar', 'blob', '--progress', 'json'];
    const { stderr, exitCode } = await runCli(args, { cwd: folder });
    expect(exitCode).toBe(0);
    const events = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.length).toBeGreaterThan(0);
    for (const event of events) {
      expect(event).toMatchObject({
        phase: expect.any(String) as string,
        done: expect.any(Number) as number,
        total: expect.any(Number) as number,
        unit: expect.stringMatching(/^(bytes|layers|images)$/) as string,
      });
    }
  });

  test('a reader of stdout that leaves is no error', async () => {
    const tar = await put('layer.tar', await makeTar([{ name: 'f', content: noise(4 << 20, 'f') }]));
    await documentOf(['encode', tar, at('blob'), '--chunk-size', '4KiB']);
    const run = await runCli(['inspect', at('blob'), '--json'], { closeStdoutAfter: 1 });
    expect(run.exitCode).toBe(0);
    expect(run.stderr).not.toContain('error');
  });

  test('a full disk behind stdout is exit 1', async () => {
    const tar = await put('layer.tar', await sampleTar());
    const program = resolve(__dirname, '../../dist/cli/main.js');
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', '"$0" "$1" inspect "$2" --json >/dev/full', process.execPath, program, tar],
      { encoding: 'utf8' },
    );
    expect(stderr).toMatch(/error: standard output: no space left on device/);
    expect(status).toBe(1);
  });

  test('doctor reports and succeeds', async () => {
    const document = await documentOf<{ ok: boolean; checks: object[] }>(['doctor']);
    expect(keys(document)).toEqual(['checks', 'ok']);
    expect(document.checks.length).toBeGreaterThan(0);
    for (const check of document.checks) expect(keys(check)).toEqual(['detail', 'hint', 'name', 'status']);
  });
});
