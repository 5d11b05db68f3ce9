import { Mutex } from 'async-mutex';
import { join } from 'node:path';
import { StatusError } from '../grpc-server';
import type { DoorLog } from '../door-log';
import type { StoredImage } from '../content-client';
import type { LayerOrigin, PulledImage, PulledImages } from '../pulled-images';
import type { WireMount } from '../wire';
import type { SnapshotDatabase } from './database';
import { parseFilters } from './filter';
import type { SnapshotFolders } from './folders';
import type { LayerMounts } from './layer-mounts';
import { mountList } from './mount-list';
import { PullAhead, type MountedLayer } from './pull-ahead';
import { label, type Snapshot, type Usage } from './snapshot';
import { usageOf } from './usage';

/** What a snapshotter works with. */
interface SnapshotterParts {
  database: SnapshotDatabase;
  folders: SnapshotFolders;
  mounts: Pick<LayerMounts, 'ensure' | 'remove'>;
  images: Pick<PulledImages, 'find'>;
  /**
   * Asks containerd which image has a layer of which it does not say that: those of profile "erofs-image-spec" are no layers to it there. Nothing
   * when it is not known, several where it may be of several.
   */
  ask: (namespace: string, chainId: string) => Promise<StoredImage[]>;
  /** Of decoded layers and stores of lazy ones, for their sizes. */
  content: string;
  log: DoorLog;
}

/** A snapshot to be made. */
export interface NewSnapshot {
  kind: 'ACTIVE' | 'VIEW';
  key: string;
  parent: string;
  labels: Record<string, string>;
}

/**
 * containerd's snapshots. A layer of ours is there without being unpacked: it is mounted lazily when containerd asks for it, and containerd is told
 * that it exists. Other layers get a folder that containerd unpacks them to. A container gets one overlay of its layers.
 * What is in the database was done before; what was done and is not there, cleanup() undoes.
 */
export class Snapshotter {
  private readonly changing = new Mutex();
  /** Layers that are being made available, by their names and parents. */
  private readonly arriving = new Map<string, Promise<boolean>>();
  /** Numbers of snapshots that are being made. */
  private readonly making = new Set<number>();
  private readonly ahead: PullAhead;

  constructor(private readonly parts: SnapshotterParts) {
    this.ahead = new PullAhead(parts.mounts, parts.database, parts.log);
  }

  /** @throws ALREADY_EXISTS for a layer that does not have to be unpacked: that is the news for containerd */
  async prepare(wanted: NewSnapshot): Promise<WireMount[]> {
    this.checkNew(wanted);
    const target = wanted.labels[label.target];
    if (wanted.kind === 'ACTIVE' && target !== undefined && (await this.provide(target, wanted)))
      throw new StatusError('ALREADY_EXISTS', `snapshot ${target} is there already`);
    const top = this.parts.database.get(wanted.parent)?.origin;
    // No image ends with such a layer.
    if (target === undefined && top?.layer === null) throw isElsewhere(wanted.parent, top.image);
    const id = this.parts.database.newId();
    this.making.add(id);
    try {
      await this.parts.folders.make(id, await this.rootBelow(wanted.parent));
      const { kind, key: name, parent, labels } = wanted;
      const now = Date.now();
      const snapshot = {
        name,
        id,
        parent,
        kind,
        labels,
        createdAt: now,
        updatedAt: now,
        origin: null,
        usage: null,
      };
      await this.changing.runExclusive(async () => {
        this.checkNew(wanted);
        await this.parts.database.write({ put: snapshot });
      });
      this.parts.log.event(kind === 'VIEW' ? 'view' : 'prepare', { key: name, parent });
      return await this.mountsOf(snapshot);
    } catch (error) {
      if (this.parts.database.get(wanted.key)?.id !== id) await this.parts.folders.remove(id);
      throw error;
    } finally {
      this.making.delete(id);
    }
  }

  async mounts(key: string): Promise<WireMount[]> {
    const snapshot = this.need(key);
    if (snapshot.kind === 'COMMITTED')
      throw new StatusError('FAILED_PRECONDITION', `snapshot ${key} is neither active nor a view`);
    return this.mountsOf(snapshot);
  }

  /** @param parent of a snapshot that was prepared without one; else empty */
  async commit(
    key: string,
    { name, labels, parent }: { name: string; labels: Record<string, string>; parent: string },
  ): Promise<void> {
    const { database, folders, log } = this.parts;
    const usage = await usageOf(folders.layer(this.need(key).id));
    await this.changing.runExclusive(async () => {
      const snapshot = this.need(key);
      if (snapshot.kind !== 'ACTIVE')
        throw new StatusError('FAILED_PRECONDITION', `snapshot ${key} is not active`);
      if (database.get(name) !== undefined)
        throw new StatusError('ALREADY_EXISTS', `snapshot ${name} is there already`);
      if (parent !== '' && snapshot.parent !== '' && parent !== snapshot.parent)
        throw new StatusError('INVALID_ARGUMENT', `snapshot ${key} has another parent than ${parent}`);
      const below = parent === '' ? snapshot.parent : parent;
      if (below !== '') this.needCommitted(below);
      const committed = {
        ...snapshot,
        name,
        kind: 'COMMITTED',
        labels,
        parent: below,
        usage,
        updatedAt: Date.now(),
      } as const;
      await database.write({ remove: key, put: committed });
      await folders.removeWork(snapshot.id);
    });
    log.event('commit', { key, name, bytes: usage.size });
  }

  /** Its space is free when this resolves. */
  async remove(key: string): Promise<void> {
    const { database, log } = this.parts;
    const snapshot = await this.changing.runExclusive(async () => {
      const found = this.need(key);
      for (const { parent, name } of database.all())
        if (parent === key)
          throw new StatusError('FAILED_PRECONDITION', `snapshot ${key} has a child: ${name}`);
      await database.write({ remove: key });
      return found;
    });
    log.event('remove', { key });
    await this.removeFolders(snapshot.id, snapshot.origin !== null);
  }

  stat(key: string): Snapshot {
    return this.need(key);
  }

  /** Labels are all that can be changed: those that `paths` name, all of them without any. */
  async update(name: string, labels: Record<string, string>, paths: readonly string[]): Promise<Snapshot> {
    return this.changing.runExclusive(async () => {
      const snapshot = this.need(name);
      const changed = {
        ...snapshot,
        labels: changedLabels(snapshot.labels, labels, paths),
        updatedAt: Date.now(),
      };
      await this.parts.database.write({ put: changed });
      return changed;
    });
  }

  list(filters: readonly string[]): Snapshot[] {
    const matches = parseFilters(filters);
    return [...this.parts.database.all()].filter((snapshot) => matches((path) => memberOf(snapshot, path)));
  }

  /** What it takes on disk by itself, without those below. */
  async usage(key: string): Promise<Usage> {
    const { id, kind, usage, origin } = this.need(key);
    const { folders, content } = this.parts;
    if (origin === null) return kind === 'COMMITTED' && usage !== null ? usage : usageOf(folders.layer(id));
    if (origin.key === null) return { size: 0, inodes: 0 };
    const [whole, part] = await Promise.all(
      [join(content, origin.key), join(content, 'lazy', origin.key)].map(usageOf),
    );
    return { size: Math.max(whole!.size, part!.size), inodes: 1 };
  }

  /** Removes what is on disk and no snapshot has: what killed processes left. */
  async cleanup(): Promise<void> {
    const known = new Set([...this.parts.database.all()].map(({ id }) => id));
    for (const id of await this.parts.folders.ids()) {
      if (known.has(id) || this.making.has(id) || this.ahead.has(id)) continue;
      this.parts.log.event('cleanup', { id });
      await this.removeFolders(id, true);
    }
  }

  /** Whether a layer is there without being unpacked. It is mounted then. */
  private async provide(target: string, wanted: NewSnapshot): Promise<boolean> {
    const place = JSON.stringify([target, wanted.parent]);
    const arriving = this.arriving.get(place);
    if (arriving !== undefined) return arriving;
    const providing = this.provideFirst(target, wanted).finally(() => this.arriving.delete(place));
    this.arriving.set(place, providing);
    return providing;
  }

  private async provideFirst(target: string, wanted: NewSnapshot): Promise<boolean> {
    const known = this.knownLayer(target, wanted.parent);
    // What has no files may be a layer with some in another image: only its manifest tells.
    if (known !== null && known.origin.layer !== null) {
      await this.parts.mounts.ensure(known.id, known.origin);
      return true;
    }
    const began = performance.now();
    const found = await this.find(target, wanted);
    if (found === null) return false;
    const { image, layer } = await this.ahead.take(found, (mounted) =>
      this.keepLayer(target, wanted, mounted),
    );
    const ms = Math.round(performance.now() - began);
    this.parts.log.event('lazy layer', { name: target, image, layer: layer ?? 'none', ms });
    return true;
  }

  private knownLayer(target: string, parent: string) {
    for (const { id, kind, labels, origin, parent: below } of this.parts.database.all()) {
      const isIt = kind === 'COMMITTED' && below === parent && labels[label.target] === target;
      if (isIt && origin !== null) return { id, origin };
    }
    return null;
  }

  private async keepLayer(
    target: string,
    { parent, labels }: NewSnapshot,
    { id, origin, key }: MountedLayer,
  ): Promise<void> {
    const { database } = this.parts;
    const now = Date.now();
    await this.changing.runExclusive(async () => {
      if (parent !== '') this.needCommitted(parent);
      const name = database.get(target) === undefined ? target : `${target}-${id}`;
      const layer = { origin: { ...origin, key }, usage: null };
      const times = { createdAt: now, updatedAt: now };
      await database.write({ put: { name, id, parent, kind: 'COMMITTED', labels, ...times, ...layer } });
    });
  }

  /** Null of a layer that has to be unpacked. */
  private async find(target: string, { key, labels, parent }: NewSnapshot): Promise<LayerOrigin[] | null> {
    const diffId = labels[label.diffId];
    if (diffId === undefined) return null;
    const named = imageOf(labels);
    const candidates = named === null ? await this.parts.ask(namespaceOf(key), target) : [named];
    const image = await this.firstFound(candidates, diffId);
    if (image === null) return null;
    const { layers } = image;
    const from = layers.findIndex((known) => known.diffId === diffId);
    this.checkBelow(parent, layers.slice(0, from));
    if (layers[from]!.origin === null) return null;
    return layers.slice(from).flatMap(({ origin }) => origin ?? []);
  }

  /** ChainIDs don't tell a layer from the same bytes in role `device`: an image must not be put on a snapshot that is one in another image. */
  private checkBelow(parent: string, layers: PulledImage['layers']): void {
    for (const [i, { name, origin }] of this.chainOf(parent).reverse().entries()) {
      const expected = layers[i]?.origin;
      if (origin?.layer === null && expected?.layer !== null) throw isElsewhere(name, origin.image);
    }
  }

  private async firstFound(candidates: readonly StoredImage[], diffId: string): Promise<PulledImage | null> {
    let fault: unknown;
    for (const image of candidates) {
      try {
        return await this.parts.images.find({ ...image, diffId });
      } catch (error) {
        fault ??= error;
      }
    }
    if (fault !== undefined) throw fault as Error;
    return null;
  }

  private async mountsOf({ id, kind, parent }: Snapshot): Promise<WireMount[]> {
    const { folders } = this.parts;
    const { lower, data } = await this.foldersBelow(parent);
    const own = folders.layer(id);
    return mountList({
      lower,
      data,
      upper: kind === 'VIEW' ? null : own,
      work: folders.work(id),
      empty: own,
    });
  }

  /** The folders of a chain of layers, the uppermost first, mounted. A layer that comes twice is seen in its upper place only. */
  private async foldersBelow(top: string): Promise<{ lower: string[]; data: string[] }> {
    const chain = this.chainOf(top);
    const seen = new Set<string>();
    const seenFirst = chain.filter(({ origin }) => {
      if (origin === null) return true;
      if (origin.key === null || seen.has(origin.key)) return false;
      seen.add(origin.key);
      return true;
    });
    const mounting = seenFirst.map(async ({ id, origin }) => origin && this.parts.mounts.ensure(id, origin));
    const failed = (await Promise.allSettled(mounting)).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const foldersOf = (role: LayerOrigin['role']): string[] =>
      seenFirst.filter(({ origin }) => origin?.role === role).map(({ id }) => this.parts.folders.layer(id));
    return { lower: foldersOf(undefined), data: foldersOf('data') };
  }

  private async rootBelow(parent: string): Promise<string | null> {
    return parent === '' ? null : ((await this.foldersBelow(parent)).lower[0] ?? null);
  }

  private chainOf(top: string): Snapshot[] {
    const chain: Snapshot[] = [];
    for (let name = top; name !== ''; name = chain.at(-1)!.parent) chain.push(this.needCommitted(name));
    return chain;
  }

  private async removeFolders(id: number, isMounted: boolean): Promise<void> {
    if (isMounted) await this.parts.mounts.remove(id);
    await this.parts.folders.remove(id);
  }

  private checkNew({ key, parent }: NewSnapshot): void {
    if (key === '') throw new StatusError('INVALID_ARGUMENT', 'a snapshot needs a key');
    if (this.parts.database.get(key) !== undefined)
      throw new StatusError('ALREADY_EXISTS', `snapshot ${key} is there already`);
    if (parent !== '') this.needCommitted(parent);
  }

  private need(name: string): Snapshot {
    const found = this.parts.database.get(name);
    if (found === undefined) throw new StatusError('NOT_FOUND', `there is no snapshot ${name}`);
    return found;
  }

  private needCommitted(name: string): Snapshot {
    const found = this.need(name);
    if (found.kind === 'COMMITTED') return found;
    throw new StatusError('INVALID_ARGUMENT', `snapshot ${name} is not committed: it can't be a parent`);
  }
}

function isElsewhere(name: string, image: string): StatusError {
  const why = `is a layer without files of ${image}, and has files here: remove that image first`;
  return new StatusError('FAILED_PRECONDITION', `snapshot ${name} ${why}`);
}

/** What containerd says of a layer that it takes for one. */
function imageOf(labels: Record<string, string>): StoredImage | null {
  const [reference, manifest] = [labels[label.image], labels[label.manifest]];
  return reference === undefined || manifest === undefined ? null : { reference, manifest };
}

/** Keys begin with the namespace of who asks. */
function namespaceOf(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')));
}

function changedLabels(
  known: Record<string, string>,
  wanted: Record<string, string>,
  paths: readonly string[],
): Record<string, string> {
  if (paths.length === 0 || paths.includes('labels')) return wanted;
  const changed = { ...known };
  for (const path of paths) {
    if (!path.startsWith('labels.')) throw new StatusError('INVALID_ARGUMENT', `${path} can't be changed`);
    const name = path.slice('labels.'.length);
    if (wanted[name] === undefined) Reflect.deleteProperty(changed, name);
    else changed[name] = wanted[name];
  }
  return changed;
}

function memberOf(snapshot: Snapshot, [first, ...more]: readonly string[]): string | undefined {
  switch (first) {
    case 'name':
      return snapshot.name;
    case 'parent':
      return snapshot.parent;
    case 'kind':
      return snapshot.kind.toLowerCase();
    case 'labels':
      return snapshot.labels[more.join('.')];
    default:
      return undefined;
  }
}
