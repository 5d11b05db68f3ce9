import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Header, type Pack } from 'tar-stream';
import { fromSystemError } from '../../errors';
import { writeAtomically, type AtomicFileOptions } from '../../fs/atomic-file';
import { readChunks, writeChunks } from '../../fs/fd-chunks';
import { writeToStandardOutput } from '../../fs/output-file';

/** A file of an archive, or without content a folder. */
export interface TarMember {
  name: string;
  /** Bytes, or `size` bytes of an open file from `offset`. */
  content?: Uint8Array | { fd: number; offset: number; size: number };
}

type FileHeader = Partial<Header> & Pick<Header, 'name'>;

/**
 * Writes a tar to `path`, atomically and in the place of none of `inputs`, or to standard output (`-`). Owners, modes and times are constant, so that equal
 * members give equal bytes.
 */
export async function writeTar(
  path: string,
  members: TarMember[],
  { signal, inputs }: { signal?: AbortSignal | undefined } & AtomicFileOptions,
): Promise<void> {
  if (path === '-')
    return writeMembers(members, 'standard output', (chunks) => writeToStandardOutput(chunks, signal));
  await writeAtomically(
    path,
    ({ fd }) => writeMembers(members, path, (chunks) => writeChunks(fd, chunks, signal)),
    { inputs },
  );
}

async function writeMembers(
  members: TarMember[],
  name: string,
  write: (chunks: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const archive = pack();
  // Whatever destroys the archive is reported by one of the two promises below.
  archive.on('error', () => undefined);
  const adding = addMembers(archive, members).catch((error: unknown) => {
    archive.destroy(error as Error);
    throw error;
  });
  // Its type leaves the iterator out.
  const chunks = archive as unknown as AsyncIterable<Uint8Array>;
  // Both must have ended before the caller may close the files.
  for (const result of await Promise.allSettled([write(chunks), adding])) {
    if (result.status === 'rejected') throw fromSystemError(name, result.reason);
  }
}

async function addMembers(archive: Pack, members: TarMember[]): Promise<void> {
  for (const { name, content } of members) {
    if (content === undefined) archive.entry(header(name, 'directory', 0));
    else if (content instanceof Uint8Array) archive.entry(header(name, 'file', content.length), content);
    // Without bytes there is nothing that would end a stream.
    else if (content.size === 0) archive.entry(header(name, 'file', 0), new Uint8Array());
    else await addFile(archive, header(name, 'file', content.size), content);
  }
  archive.finalize();
}

async function addFile(
  archive: Pack,
  fileHeader: FileHeader,
  { fd, offset, size }: { fd: number; offset: number; size: number },
): Promise<void> {
  const bytes = readChunks(fd, offset + size, fileHeader.name, offset);
  await pipeline(Readable.from(bytes), archive.entry(fileHeader));
}

function header(name: string, type: 'file' | 'directory', size: number): FileHeader {
  return { name, type, size, mode: type === 'file' ? 0o644 : 0o755, mtime: new Date(0), uid: 0, gid: 0 };
}
