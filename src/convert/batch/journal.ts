import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { failure, fromSystemError } from '../../errors';
import { parseJson } from '../../format/json';
import { syncFolder } from '../../fs/atomic-file';
import { checkRecordVersion } from '../../fs/record-version';
import { native } from '../../native/binding';
import { GroupedAction } from '../../store/layout/grouped-action';

/**
 * What happened to a job of a batch; `key` is the same for the same source, destination and options. A run that is killed leaves
 * jobs that have started and neither done nor failed: they are done again.
 */
type JournalEvent =
  | { event: 'start'; key: string; source: string; destination: string }
  | { event: 'done'; key: string; digest: string | null; sourceDigest: string }
  | { event: 'failed'; key: string; code: string; message: string };

/** The first line. It alone says whose file this is, so it never changes; a later format counts `version` up. */
const format = 'seekable-erofs batch journal';
const version = 1;
const header = `${JSON.stringify({ format, version })}\n`;

/** Ten times what 100 000 jobs need. */
const maxSize = 1 << 30;
const advice = 'remove it, or rename the list';

/**
 * The journal of a batch: the file beside its list that knows what is done. It is only ever appended to, one JSON object a line, and
 * every line is on the disk before the batch goes on; a last line that a crash has torn is dropped. While it is open, it is locked.
 */
export class Journal {
  private tail: Promise<void> = Promise.resolve();
  /** Jobs that end at the same time wait for the disk once. */
  private readonly writing = new GroupedAction<JournalEvent>((events) => this.write(events));
  private broken: unknown;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    /** Digests of the images that are done, by key. */
    private readonly finished: Map<string, string | null>,
  ) {}

  /**
   * Opens the journal at `path`, or begins one; `restart` forgets what is in it.
   * @throws FAILED while another run has it, CORRUPT for a file that is no journal, UNSUPPORTED for one of another version; IO
   */
  static async open(path: string, { restart = false } = {}): Promise<Journal> {
    // O_NOFOLLOW: whoever may write to the folder must not lead us to append to files elsewhere.
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
    const file = await open(path, flags, 0o666).catch((error: unknown) => {
      throw fromSystemError(path, error);
    });
    try {
      if (!native.tryLock(file.fd)) {
        throw failure('FAILED', path, 'another run of this list has it', 'wait for that run, or end it');
      }
      const finished = await replay(file, path, restart);
      await syncFolder(dirname(path));
      return new Journal(path, file, finished);
    } catch (error) {
      await file.close();
      throw fromSystemError(path, error);
    }
  }

  /** The digest of the image that a finished job has made (null where there is none); undefined for a job that isn't done. */
  digestOf(key: string): string | null | undefined {
    return this.finished.get(key);
  }

  /**
   * Resolves when the event is on the disk. After a failure, nothing more is written: lines after a torn one would be lost.
   * @throws IO, NO_SPACE
   */
  append(event: JournalEvent): Promise<void> {
    const written = this.writing.add(event);
    this.tail = written.catch(() => undefined);
    return written;
  }

  /** Waits for what is being written, and lets the next run in. */
  async close(): Promise<void> {
    await this.tail;
    await this.file.close();
  }

  private async write(events: readonly JournalEvent[]): Promise<void> {
    if (this.broken !== undefined) throw fromSystemError(this.path, this.broken);
    try {
      await this.file.appendFile(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
      await this.file.datasync();
    } catch (error) {
      this.broken = error;
      throw fromSystemError(this.path, error);
    }
    for (const event of events) if (event.event === 'done') this.finished.set(event.key, event.digest);
  }
}

/**
 * What the journal at `path` says is done, by key; nothing where there is none. It is neither locked nor changed.
 * @throws CORRUPT, UNSUPPORTED, IO as Journal.open()
 */
export async function finishedJobs(path: string): Promise<Map<string, string | null>> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return (await readWhole(file, path, false)).finished;
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw fromSystemError(path, error);
  }
}

/** Reads the file, cuts off a torn last line, writes the header where it is missing. */
async function replay(file: FileHandle, path: string, restart: boolean): Promise<Map<string, string | null>> {
  const { finished, whole, size, isNew } = await readWhole(file, path, restart);
  if (whole < size) await file.truncate(whole);
  if (isNew || restart) {
    await file.truncate(0);
    await file.appendFile(header);
  }
  await file.datasync();
  return finished;
}

/** What is done, and how much of the file is whole lines. */
async function readWhole(
  file: FileHandle,
  path: string,
  restart: boolean,
): Promise<{ finished: Map<string, string | null>; whole: number; size: number; isNew: boolean }> {
  const { size } = await file.stat();
  if (size > maxSize) throw corrupt(path, `${size} bytes are too many for a journal`);
  const bytes = await file.readFile();
  const whole = bytes.lastIndexOf('\n') + 1;
  const [first, ...lines] = whole === 0 ? [] : bytes.toString('utf8', 0, whole - 1).split('\n');
  // Without a whole line it must be our own beginning: nobody else's file is to be cut off.
  if (first === undefined && !header.startsWith(bytes.toString())) throw corrupt(path, 'it is no journal');
  const finished = first === undefined ? new Map<string, string | null>() : read(path, first, lines, restart);
  return { finished, whole, size: bytes.length, isNew: first === undefined };
}

function read(path: string, first: string, lines: string[], restart: boolean): Map<string, string | null> {
  checkHeader(path, first, restart);
  const finished = new Map<string, string | null>();
  if (restart) return finished;
  for (const [i, line] of lines.entries()) {
    const { event, key, digest } = parseLine(path, line, i + 2);
    if (typeof event !== 'string' || typeof key !== 'string') throw badLine(path, i + 2);
    if (event !== 'done') continue;
    if (typeof digest !== 'string' && digest !== null) throw badLine(path, i + 2);
    finished.set(key, digest);
  }
  return finished;
}

function checkHeader(path: string, line: string, restart: boolean): void {
  const found = parseLine(path, line, 1);
  if (found['format'] !== format) throw corrupt(path, 'it is no journal');
  if (restart) return;
  if (!Number.isSafeInteger(found['version'])) throw badLine(path, 1);
  const hint =
    'go on with the release of seekable-erofs that wrote it, or a later one; --restart converts everything again';
  checkRecordVersion(path, found['version'], version, hint);
}

function parseLine(path: string, line: string, number: number): Record<string, unknown> {
  try {
    const value = parseJson(Buffer.from(line), path);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // The same as JSON of another shape.
  }
  throw number === 1 ? corrupt(path, 'it is no journal') : badLine(path, number);
}

function badLine(path: string, number: number): Error {
  return corrupt(path, `line ${number} is damaged`, '--restart converts everything again');
}

function corrupt(path: string, why: string, hint = advice): Error {
  return failure('CORRUPT', path, why, hint);
}
