import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { programInterpreter } from '../../../src/mount/container/program-format';

const of = (bytes: Buffer, arch: string = process.arch) =>
  programInterpreter((offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)), arch);

test.each([
  ['#!/bin/sh\n', '/bin/sh'],
  ['#! \t/usr/bin/env python3', '/usr/bin/env'],
])('a script: %j', async (text, interpreter) => {
  expect(await of(Buffer.from(text))).toEqual({ interpreter });
});

test.each(['', '#!', '#!\n/bin/sh', 'text', '\x7fELF', ' #!/bin/sh'])('%j is no program', async (text) => {
  expect(await of(Buffer.from(text))).toEqual({
    why: expect.stringContaining('exec format error') as string,
  });
});

test('an ELF program of this machine, and of another one', async () => {
  const program = readFileSync(process.execPath);
  expect(await of(program)).toEqual({ interpreter: expect.stringMatching(/^\/.*ld/) as string });
  const other = process.arch === 'x64' ? 'arm64' : 'x64';
  expect(await of(program, other)).toEqual({ why: expect.stringContaining('architecture') as string });
  expect(await of(program, 'unheard-of')).toHaveProperty('interpreter');
});

test('headers that point anywhere are no reason to fail, or to read much', async () => {
  const whole = readFileSync(process.execPath);
  const head = Buffer.from(whole.subarray(0, 4096));
  for (let at = 32; at < 40; at++) head[at] = 0xff;
  expect(await of(head)).toEqual({ interpreter: null });
  for (let seed = 0; seed < 2000; seed++) {
    const bytes = Buffer.from(whole.subarray(0, 1024));
    bytes[16 + ((seed * 7919) % 500)]! ^= seed % 255;
    await of(bytes);
  }
});
