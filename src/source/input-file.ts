import { pipeline } from 'node:stream/promises';
import { failure, fromSystemError, SeekableErofsError } from '../errors';
import { spaceGuard } from '../fs/disk-space';
import { writeChunks } from '../fs/fd-chunks';
import { openTemporary } from '../fs/temporary';
import type { ResourceOptions } from '../job';
import { openFileSource, type FileSource } from './file';
import { isDirectory } from '../fs/open-regular';
import { imageMeantBy } from '../image-name';

/** An unnamed temporary file of what `fill` writes to its descriptor. */
export async function spooledFile(
  name: string,
  { tmpDir, signal }: ResourceOptions,
  fill: (fd: number, signal: AbortSignal | undefined) => Promise<void>,
): Promise<FileSource> {
  const temporary = await openTemporary(tmpDir);
  try {
    await fill(temporary.fd, signal);
    // A descriptor of its own: the file has no other name.
    return await openFileSource(`/proc/self/fd/${temporary.fd}`, name);
  } catch (error) {
    throw fromSystemError(name, error);
  } finally {
    await temporary.close();
  }
}

/** Writes what is unpacked to a temporary file, as long as its disk has room. */
export class SpoolEnd {
  /** What ended the writing: pipeline() may reject with what that did to the stream before. */
  fault: unknown;

  constructor(
    private readonly fd: number,
    private readonly name: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  readonly write = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    try {
      await writeChunks(this.fd, this.guarded(chunks), this.signal);
    } catch (error) {
      this.fault = error;
      throw error;
    }
  };

  private async *guarded(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    const guard = spaceGuard(this.fd, this.name);
    for await (const piece of pieces) {
      await guard(piece.length);
      yield piece;
    }
  }
}

let isTaken = false;

/** All of standard input, as a file for random access. USAGE when it was read before, since it is there once. */
async function openStandardInput(options: ResourceOptions): Promise<FileSource> {
  if (isTaken) throw failure('USAGE', 'standard input', 'it is named twice', 'give `-` once, and a file');
  isTaken = true;
  return spooledFile('standard input', options, copyInput);
}

/** A file that was named by a user: `-` is standard input. Errors as openFileSource() and openStandardInput(). */
export function openNamedFile(path: string, options: ResourceOptions): Promise<FileSource> {
  return path === '-' ? openStandardInput(options) : openFileSource(path);
}

/** The same of a layer: where there is none, the error names the image that may have been meant. */
export async function openInputFile(path: string, options: ResourceOptions): Promise<FileSource> {
  try {
    return await openNamedFile(path, options);
  } catch (error) {
    if (!(error instanceof SeekableErofsError)) throw error;
    const image = imageMeantBy(path);
    const { code, why } = error;
    if (code === 'NOT_FOUND' && image !== undefined)
      throw failure(code, path, why, `a bare path is a layer; ${image} if it is an image in a registry`);
    if (why === isDirectory)
      throw failure(code, path, why, `a bare path is a layer; oci:${path} if it is an image layout`);
    throw error;
  }
}

async function copyInput(fd: number, signal: AbortSignal | undefined): Promise<void> {
  const end = new SpoolEnd(fd, 'standard input', signal);
  await pipeline(process.stdin, end.write, { signal }).catch((error: unknown) => {
    throw end.fault ?? error;
  });
}
