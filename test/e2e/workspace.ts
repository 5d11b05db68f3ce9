import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { documentOf, runJson } from './run-cli';
import { sampleTar } from './sample';

/** What `encode --json` prints. */
export interface Encoded {
  mediaType: string;
  digest: string;
  size: number;
  annotations: Record<string, string>;
  diffId: string;
  uncompressedSize: number;
  chunkSize: number;
  chunks: number;
}

export interface ErrorDocument {
  error: { code: string; message: string };
}

/** The names of an object's members, sorted. */
export const keys = (value: object): string[] => Object.keys(value).sort();

let root: string;
let number = 0;

/** The folder of the running test, new for each. */
export let folder: string;

/** Gives each test of the calling file its own folder. */
export function useFolders(): void {
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'cli-e2e-'));
    await chmod(root, 0o755);
  });
  afterAll(() => rm(root, { recursive: true }));
  beforeEach(async () => {
    folder = join(root, `${number++}`);
    await mkdir(folder);
  });
}

/** A path in the test's folder. */
export const at = (name: string): string => join(folder, name);

/** Writes a file in the test's folder and returns its path. */
export async function put(name: string, bytes: Buffer | string): Promise<string> {
  await writeFile(at(name), bytes);
  return at(name);
}

/** Encodes the sample layer: its blob, its descriptor, and the descriptor's file. */
export async function encodeSample(
  ...flags: string[]
): Promise<{ blob: string; descriptor: string; encoded: Encoded }> {
  const tar = await put('layer.tar', await sampleTar());
  const blob = at('layer.blob');
  const encoded = await documentOf<Encoded>(['encode', tar, blob, '--chunk-size', '64KiB', ...flags]);
  return { blob, descriptor: await put('descriptor.json', JSON.stringify(encoded)), encoded };
}

/** Checks what every failure owes: its exit code, one error line, a document with the code. Returns the message. */
export async function expectFailure(args: string[], exitCode: number, code: string): Promise<string> {
  const { document, ...run } = await runJson<ErrorDocument>(args, { cwd: folder });
  expect({ exitCode: run.exitCode, code: document.error.code }, run.stderr).toEqual({ exitCode, code });
  expect(keys(document)).toEqual(['error']);
  expect(keys(document.error)).toEqual(['code', 'message']);
  expect(run.stderr).toBe(`error: ${document.error.message}\n`);
  expect(document.error.message).toMatch(/^.+: .+$/);
  return document.error.message;
}
