import { afterEach, expect, test, vi } from 'vitest';
import { Output, toFailure, warningLine } from '../../src/cli/output';
import { SeekableErofsError, exitCodes, failure, type ErrorCode } from '../../src/errors';
import { Capture, systemError } from './capture';

function setUp(
  mode: { json?: boolean; quiet?: boolean } = {},
  stdout = new Capture(),
  stderr = new Capture(),
) {
  return { stdout, stderr, output: new Output({ stdout, stderr }, { json: false, quiet: false, ...mode }) };
}

afterEach(() => {
  vi.unstubAllEnvs();
});

test('a report is text, or its document alone', async () => {
  const report = { document: { a: 1 }, text: ['data'], summary: ['about it'] };
  const plain = setUp();
  await plain.output.report(report);
  expect(plain.stdout.text).toBe('data\nabout it\n');
  const json = setUp({ json: true });
  await json.output.report(report);
  expect(json.stdout.text).toBe('{"a":1}\n');
  const quiet = setUp({ quiet: true });
  await quiet.output.report(report);
  expect(quiet.stdout.text).toBe('data\n');
  expect(plain.stderr.text + json.stderr.text + quiet.stderr.text).toBe('');
});

test('an archive on stdout sends the text to stderr', async () => {
  const { output, stdout, stderr } = setUp();
  await output.report({ document: {}, text: ['data'], summary: ['about it'], stdoutTaken: true });
  expect(stdout.text).toBe('');
  expect(stderr.text).toBe('data\nabout it\n');
});

test('a failure is one line on stderr', async () => {
  const { output, stdout, stderr } = setUp();
  expect(await output.fail(failure('CORRUPT', 'la\nyer', 'bad magic', 'try \x1b[1m another'))).toBe(3);
  expect(stderr.text).toBe('error: la\\x0ayer: bad magic (try \\x1b[1m another)\n');
  expect(stdout.text).toBe('');
});

test('with --json the failure is a document too', async () => {
  const { output, stdout, stderr } = setUp({ json: true });
  expect(await output.fail(failure('NOT_FOUND', 'x', 'no such file or directory'))).toBe(1);
  expect(JSON.parse(stdout.text)).toEqual({
    error: { code: 'NOT_FOUND', message: 'x: no such file or directory' },
  });
  expect(stderr.text).toBe('error: x: no such file or directory\n');
});

test.each(Object.keys(exitCodes) as ErrorCode[])('%s ends with its exit code', async (code) => {
  expect(await setUp().output.fail(failure(code, 'a', 'b'))).toBe(exitCodes[code]);
});

test('an unknown exception is a single line, and its stack on request only', async () => {
  const error = new TypeError('x is not\na function', { cause: new Error('the cause') });
  const usual = setUp();
  expect(await usual.output.fail(error)).toBe(1);
  expect(usual.stderr.lines).toHaveLength(1);
  expect(usual.stderr.text).toMatch(/^error: internal error: x is not\\x0aa function \(/);
  vi.stubEnv('SEEKABLE_EROFS_DEBUG', '1');
  const debugging = setUp();
  await debugging.output.fail(error);
  expect(debugging.stderr.text).toContain('output.test.ts');
  expect(debugging.stderr.text).toContain('caused by Error: the cause');
});

test('system errors and aborts get their codes', () => {
  expect(toFailure(systemError('ENOSPC', 'no space left on device')).code).toBe('NO_SPACE');
  expect(toFailure(Object.assign(new Error('x'), { name: 'AbortError' })).code).toBe('CANCELLED');
  expect(toFailure('a string')).toMatchObject({ code: 'FAILED', why: 'a string' });
  const own = failure('USAGE', 'a', 'b');
  expect(toFailure(own)).toBe(own);
});

test('a reader that left is no failure', async () => {
  const { output } = setUp({}, new Capture({ refusal: systemError('EPIPE', 'broken pipe') }));
  await expect(output.report({ document: {}, text: ['x'] })).resolves.toBeUndefined();
  await expect(
    output.report({ document: {}, text: ['after the stream was destroyed'] }),
  ).resolves.toBeUndefined();
});

test('a full disk behind stdout is a failure', async () => {
  const { output } = setUp({}, new Capture({ refusal: systemError('ENOSPC', 'no space left on device') }));
  const error = await output.report({ document: {}, text: ['x'] }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(SeekableErofsError);
  expect(error).toMatchObject({ code: 'NO_SPACE', what: 'standard output' });
});

test('a closed stderr changes no exit code', async () => {
  const { output } = setUp({}, new Capture(), new Capture({ refusal: systemError('EPIPE', 'broken pipe') }));
  expect(await output.fail(failure('CORRUPT', 'a', 'b'))).toBe(3);
});

test('colours only on a terminal, and not with NO_COLOR', () => {
  vi.stubEnv('NO_COLOR', '');
  vi.stubEnv('TERM', 'xterm');
  expect(warningLine(new Capture({ isTTY: true }), 'x')).toBe('\x1b[33mwarning:\x1b[0m x');
  expect(warningLine(new Capture(), 'x')).toBe('warning: x');
  vi.stubEnv('NO_COLOR', '1');
  expect(warningLine(new Capture({ isTTY: true }), 'x')).toBe('warning: x');
  vi.stubEnv('NO_COLOR', '');
  vi.stubEnv('TERM', 'dumb');
  expect(warningLine(new Capture({ isTTY: true }), 'x')).toBe('warning: x');
});
