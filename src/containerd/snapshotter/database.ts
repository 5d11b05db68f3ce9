import { ClassicLevel } from 'classic-level';
import { mkdir } from 'node:fs/promises';
import { failure, fromSystemError } from '../../errors';
import { checkRecordVersion } from '../../fs/record-version';
import type { Snapshot } from './snapshot';

/** To be raised when records change; earlier ones are read as well. */
const version = 2;
const versionKey = 'version';
const lastIdKey = 'last-id';
const prefix = 'snapshot:';

/** What is changed at once: all of it, or nothing, also when the process is killed meanwhile. */
interface Change {
  put?: Snapshot | undefined;
  /** Name of a snapshot. */
  remove?: string | undefined;
}

/**
 * The snapshots, on disk: docs/adr/0020-snapshots-are-kept-in-leveldb.md. One process has it open at a time. All of it is in memory as well, for
 * reading: a node has some thousand.
 */
export class SnapshotDatabase {
  private constructor(
    private readonly level: ClassicLevel,
    private readonly known: Map<string, Snapshot>,
    private lastId: number,
  ) {}

  /** @throws FAILED when another process has it open, UNSUPPORTED when a newer program wrote it, CORRUPT, IO */
  static async open(folder: string): Promise<SnapshotDatabase> {
    await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      throw fromSystemError(folder, error);
    });
    const level = new ClassicLevel(folder);
    await level.open().catch((error: unknown) => {
      throw openFailure(folder, error);
    });
    try {
      return await SnapshotDatabase.read(folder, level);
    } catch (error) {
      await level.close();
      throw error;
    }
  }

  private static async read(folder: string, level: ClassicLevel): Promise<SnapshotDatabase> {
    const found = await level.get(versionKey);
    checkRecordVersion(folder, found === undefined ? undefined : Number(found), version);
    if (found !== `${version}`) await level.put(versionKey, `${version}`, { sync: true });
    const known = new Map<string, Snapshot>();
    for await (const [key, value] of level.iterator({ gte: prefix, lt: `${prefix}\uffff` })) {
      known.set(key.slice(prefix.length), JSON.parse(value) as Snapshot);
    }
    const lastId = Number((await level.get(lastIdKey)) ?? 0);
    return new SnapshotDatabase(level, known, Math.max(lastId, ...[...known.values()].map(({ id }) => id)));
  }

  get(name: string): Snapshot | undefined {
    return this.known.get(name);
  }

  all(): Iterable<Snapshot> {
    return this.known.values();
  }

  /** A number that no snapshot has had; it counts as given once a snapshot with it is written. */
  newId(): number {
    return ++this.lastId;
  }

  /** On disk when it resolves, and seen by readers then. */
  async write(...changes: Change[]): Promise<void> {
    const batch = this.level.batch();
    for (const { put, remove } of changes) {
      if (remove !== undefined) batch.del(prefix + remove);
      if (put !== undefined) batch.put(prefix + put.name, JSON.stringify(put));
    }
    batch.put(lastIdKey, `${this.lastId}`);
    await batch.write({ sync: true }).catch((error: unknown) => {
      throw failure('IO', 'database of snapshots', (error as Error).message);
    });
    for (const { put, remove } of changes) {
      if (remove !== undefined) this.known.delete(remove);
      if (put !== undefined) this.known.set(put.name, put);
    }
  }

  async close(): Promise<void> {
    await this.level.close();
  }
}

function openFailure(folder: string, error: unknown): Error {
  const { code = '', message } = ((error as Error).cause ?? error) as { code?: string; message: string };
  if (code === 'LEVEL_LOCKED')
    return failure('FAILED', folder, 'another server has the snapshots open', 'end that first');
  if (code === 'LEVEL_CORRUPTION') return failure('CORRUPT', folder, message);
  return failure('IO', folder, message);
}
