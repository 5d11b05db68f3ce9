import { mkdir, stat } from 'node:fs/promises';
import { failure, fromSystemError } from '../errors';
import { makeRoom } from '../lazy/cache-room';
import { native } from '../native/binding';
import { whyNoDmVerity } from './kernel/dm-control';
import { verityArguments } from './kernel/dm-verity';
import { canMountFile } from './kernel/erofs';
import type { LayerRole } from '../image/composition';
import { withImageFiles, type ImageFiles } from '../image/open-view';
import { openMountSource } from './mount-source';
import type { LayerChoice, MountSource, MountSourceOptions, PreparedLayer } from './source-layer';
import { explainRefusal, imageFiles, joinDevices, mountedOf } from './joined-devices';
import { LayerSetUp, type MountableLayer, type Perform } from './layer-set-up';
import { LazyLayers } from './lazy-layers';
import { mountsAt, readMounts } from '../fs/mountinfo';
import { mountOverlay } from './kernel/overlay';
import { mountKey } from '../lazy/layer-key';
import { recordRequest } from './recording';
import type { RecordRequest } from '../lazy/trace-recorder';
import {
  backingOf,
  decideVerity,
  mountKind,
  planMount,
  type MountPlan,
  type TreeTrust,
  type VerityMode,
  type VerityPolicy,
} from './plan';
import { resultOf, type MountResult } from './mounts';
import type { ImageConfig } from '../oci/types';
import { MountState, resolveTarget } from './state';
import type { MountRecord } from './state-records';
import { call, requireRoot } from './kernel/system-call';
import { isOurs, undoMount } from './unmount';
import { WritableFolder } from './upper';
import { checkSubjects } from '../image/subject';
import { checkOptions } from '../options';

/** Its copy keeps what the mount has: read-only, nosuid, nodev. */
const bindFlag = 4096;

/** What mountImage() takes. */
export interface MountOptions extends MountSourceOptions {
  /**
   * Whether the kernel checks the blocks of layers that have a dm-verity tree, as they are read. Default `auto`: yes, or this program checks
   * the whole tree before mounting where the kernel can't, and warns. `require`: yes, or it fails. `off`: no.
   */
  verity?: VerityPolicy | undefined;
  /** Makes the mount writable: what is written goes to `upper` in this folder, which is kept; `work` is the kernel's. */
  rw?: string | undefined;
  /** Folder with what is mounted; default: `/run/seekable-erofs`, and decoded layers in `/var/lib/seekable-erofs`. */
  state?: string | undefined;
  /** dm-verity checks each block of data once only. */
  checkAtMostOnce?: boolean | undefined;
  /** More optional arguments of the dm-verity target, e.g. `ignore_zero_blocks`. */
  verityOptions?: string | undefined;
}

/** How a mount does its steps, and what it asks of the kernel. */
interface MountParts extends LayerChoice {
  perform: Perform;
  /** Whether the kernel mounts this image without a loop device. */
  canMountFile: (file: string) => Promise<boolean>;
  /** Told of the image's config before anything is mounted; null of a layer alone. What this, or the next, throws fails the mount. */
  onConfig: (config: ImageConfig | null) => void;
  /** Told of the files with the images of all layers when they can be read; the mount goes on meanwhile. */
  onContents: (files: ImageFiles) => Promise<void>;
}

const usualParts: MountParts = {
  perform: (_name, step) => step(),
  canMountFile,
  onConfig: () => undefined,
  onContents: () => Promise.resolve(),
};

/**
 * Mounts an image, or a layer, at the folder `target` (made if its parent is there): read-only unless `rw`, nosuid and nodev. Every layer is
 * decoded and checked before, and kept afterwards as long as there is room. Mounts of one layer share its devices. What a crash leaves,
 * unmountImage() or repairMounts() undo; a failure leaves nothing of the mount. MACHINE without root or what else the machine lacks, FAILED when `require` is asked of a layer without a tree and when
 * something is mounted there by us already; MISMATCH, CORRUPT and UNVERIFIED for layers that are not what they should be.
 */
export async function mountImage(
  refOrPath: string,
  target: string,
  options: MountOptions = {},
): Promise<MountResult> {
  checkOptions('mountImage', options);
  checkSubjects([refOrPath], options);
  return mountWith(refOrPath, target, options);
}

/** mountImage() with options that were checked, and with `parts` in place of the usual ones. */
export async function mountWith(
  refOrPath: string,
  target: string,
  options: MountOptions,
  parts: Partial<MountParts> = {},
): Promise<MountResult> {
  const extra = checkedArguments(options);
  requireRoot(target);
  const state = await MountState.open(options.state);
  const image = await openMountSource(refOrPath, { ...options, onlyLayer: parts.onlyLayer }, state);
  let writable: WritableFolder | null = null;
  try {
    const recording = await recordRequest(refOrPath, image, options);
    const path = await resolveTarget(target);
    if (options.rw !== undefined) writable = await WritableFolder.open(options.rw);
    const mounting = new Mounting({
      state,
      target: path,
      options,
      parts: { ...usualParts, ...parts },
      extra,
      writable,
      image,
      recording,
    });
    const result = await state.lockedTarget(path, () => mounting.run(), { signal: options.signal });
    return result!;
  } finally {
    await writable?.close();
    await image.close();
  }
}

function checkedArguments({ verity, verityOptions, checkAtMostOnce }: MountOptions): string[] {
  const extra = verityArguments(verityOptions, checkAtMostOnce);
  if (verity === 'off' && extra.length > 0)
    throw failure('USAGE', 'dm-verity options', 'there are some, but dm-verity is off');
  return extra;
}

/** What a mount is made of, found and checked before its target is locked. */
interface MountingInputs {
  state: MountState;
  /** Absolute, without symbolic links. */
  target: string;
  options: MountOptions;
  parts: MountParts;
  /** Optional arguments of the dm-verity target. */
  extra: readonly string[];
  /** Where changes go; null for a read-only mount. */
  writable: WritableFolder | null;
  image: MountSource;
  /** The trace to write; null: reads are not recorded. */
  recording: RecordRequest | null;
}

/** One mount being made, from the first entry in the journal to the last. The target is locked. */
class Mounting {
  private readonly lazy: LazyLayers;

  constructor(private readonly given: MountingInputs) {
    this.lazy = new LazyLayers(given.state, given.options);
  }

  async run(): Promise<MountResult> {
    this.given.parts.onConfig(this.given.image.config);
    const record = await this.describe();
    await this.clearPlace();
    try {
      await this.step('record', () => this.begin(record));
      const contents = await joinDevices(this.given.image, record, await this.prepareEach(record));
      const files = imageFiles(record, contents);
      if (files.data.length > 0)
        await withImageFiles(files, (tree) => tree.checkData(this.given.options.signal));
      const looking = this.given.parts.onContents(files);
      looking.catch(() => undefined); // told of below, when nothing is being mounted any more
      const setUp = this.given.state.locked(() => this.setUp(record, contents), this.given.options.signal);
      await setUp.catch(async (error: unknown) => {
        await explainRefusal(this.given.image, record, contents);
        throw error;
      });
      await looking;
    } catch (error) {
      await undoMount(this.given.state, record).catch((left: unknown) => {
        this.warn(`not all of its mount could be undone: ${(left as Error).message}`);
      });
      throw error;
    } finally {
      await this.lazy.close();
    }
    await makeRoom(this.given.state.cachePlaces).catch((error: unknown) => {
      this.warn(`no room was made in the cache: ${(error as Error).message}`);
    });
    return resultOf(record);
  }

  /** What each layer gets under the policy, and by which key others find it. */
  private async describe(): Promise<MountRecord> {
    const { layers } = this.given.image;
    const { verity = 'auto' } = this.given.options;
    const wantsKernel = verity !== 'off' && layers.some(({ tree }) => tree === 'vouched');
    const whyNot = wantsKernel ? await whyNoDmVerity() : null;
    const described = layers.map(({ name, role, devices, diffId, tree, rootDigest, files, lazy }) => {
      const decided = this.decide(name, tree, whyNot);
      // A layer that is not here can't be checked whole; its chunks are checked as they come.
      const mode = decided === 'userspace' && lazy !== null ? 'none' : decided;
      const extra = mode === 'kernel' ? this.given.extra : [];
      const key = mountKey({
        diffId,
        rootDigest: mode === 'kernel' ? rootDigest : null,
        // Nobody else's reads are to be recorded, nor what the page cache has for others.
        extra: this.isRecorded(role) ? [...extra, `recorded ${this.given.recording!.id}`] : extra,
        // The same bytes are another file, and mounted once more, where they have another role or other devices.
        files: [...files, ...(role === 'lower' ? [] : [role]), ...devices.map((device) => device.diffId)],
      });
      return { diffId, device: '', verity: mode, ...(role !== 'lower' && { role }), key };
    });
    if (described.some(({ verity: mode }) => mode === 'userspace')) {
      const why = `not block by block at each read: ${whyNot!}`;
      this.warn(`dm-verity trees are checked whole, before mounting, ${why}`);
    }
    const kind = mountKind(mountedOf(described), this.given.writable !== null);
    const source = this.given.state.overlayName(this.given.target);
    const place = { target: this.given.target, madeTarget: false, kind, source, mounted: false };
    return { ...place, rw: this.given.writable?.path ?? null, layers: described };
  }

  /** Who checks a layer under the policy; warns where that is nobody though it has a tree. */
  private decide(layer: string, tree: TreeTrust, whyNot: string | null): VerityMode {
    const { mode, warning } = decideVerity(layer, this.given.options.verity ?? 'auto', tree, whyNot);
    if (warning !== undefined) this.warn(warning);
    return mode;
  }

  /** Warns, with the name of the image and not of the target: `run` mounts at a folder that its user never sees. */
  private warn(text: string): void {
    const { name } = this.given.image;
    this.given.options.onWarning?.(text.startsWith(`${name}: `) ? text : `${name}: ${text}`);
  }

  /** What a crash left of an earlier mount is undone; one that is there is none of ours to undo. */
  private async clearPlace(): Promise<void> {
    const earlier = await this.given.state.readMount(this.given.target);
    if (earlier === null) return;
    const mounts = await readMounts();
    const here = mountsAt(mounts, this.given.target);
    if (earlier.mounted && here.some((mount) => isOurs(this.given.state, earlier, mount, mounts)))
      throw failure(
        'FAILED',
        this.given.target,
        'an image is mounted there already',
        `umount ${this.given.target} first`,
      );
    await undoMount(this.given.state, earlier);
  }

  private async begin(record: MountRecord): Promise<void> {
    const status = await stat(this.given.target).catch(() => null);
    record.madeTarget = status === null;
    if (status?.isDirectory() === false) throw failure('USAGE', this.given.target, 'it is no folder');
    await this.given.state.locked(async () => {
      await this.refuseSharedUpper(record);
      await this.given.state.writeMount(record);
    }, this.given.options.signal);
    if (!record.madeTarget) return;
    await mkdir(this.given.target).catch((error: unknown) => {
      record.madeTarget = false;
      throw fromSystemError(this.given.target, error);
    });
  }

  /** The kernel would let two mounts write to one folder, with results that it leaves open. */
  private async refuseSharedUpper({ rw }: MountRecord): Promise<void> {
    const other = rw !== null && (await this.given.state.mounts()).find((mount) => mount.rw === rw);
    if (other) throw failure('FAILED', other.rw!, `${other.target} writes to it`, 'give another folder');
  }

  /** Lazy layers side by side, since they wait for the network; others in turn. */
  private async prepareEach({ layers }: MountRecord): Promise<Map<string, MountableLayer>> {
    const contents = new Map<string, MountableLayer>();
    const underWay: Promise<void>[] = [];
    for (const [i, { key, verity, diffId }] of layers.entries()) {
      if (layers.findIndex((other) => other.key === key) < i) continue;
      const layer = this.given.image.layers[i]!;
      const makeContent = async (): Promise<PreparedLayer> => {
        if (layer.lazy === null) return layer.prepare(this.given.state, key, verity);
        const known = await layer.cached(this.given.state, key, verity);
        const record = this.isRecorded(layer.role) ? this.given.recording! : undefined;
        const content = known ?? (await this.lazy.content({ key, diffId, mode: verity, record }, layer.lazy));
        if (content.isFromDisk) await layer.lazy.ask();
        return content;
      };
      const making = this.step(`content ${underWay.length}`, makeContent).then((content) => {
        if (content.unvouchedTree === true && layer.tree === 'absent')
          this.decide(layer.name, 'unvouched', null);
        contents.set(key, { ...content, extra: this.given.extra });
        const done = contents.size;
        this.given.options.onProgress?.({ phase: 'mount', done, total: layers.length, unit: 'layers' });
      });
      making.catch(() => undefined); // told of below, after the others
      underWay.push(making);
      if (layer.lazy === null) await making;
    }
    const failed = (await Promise.allSettled(underWay)).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    return contents;
  }

  /** Whether reads of a layer are recorded: of devices nobody could say which files they were of. */
  private isRecorded(role: LayerRole): boolean {
    return this.given.recording !== null && role !== 'device';
  }

  /** The state is locked. */
  private async setUp(record: MountRecord, contents: ReadonlyMap<string, MountableLayer>): Promise<void> {
    const layers = mountedOf(record.layers);
    const fileBacked = await this.canMountFiles(layers.map(({ key }) => contents.get(key)!));
    const plan = planMount(layers, { writable: record.rw !== null, fileBacked });
    const setUps = new Map<string, LayerSetUp>();
    for (const { key, mode } of layers) {
      const content = contents.get(key)!;
      const backing = backingOf(mode, fileBacked);
      setUps.set(key, new LayerSetUp(this.given.state, key, content, backing, this.given.parts.perform));
    }
    try {
      for (const setUp of setUps.values()) await this.step('layer', () => setUp.begin());
      await this.perform(plan, record, setUps, contents);
    } finally {
      for (const setUp of setUps.values()) await setUp.close();
    }
  }

  private async perform(
    plan: MountPlan,
    record: MountRecord,
    setUps: Map<string, LayerSetUp>,
    contents: ReadonlyMap<string, MountableLayer>,
  ): Promise<void> {
    for (const step of plan.steps) {
      if (this.given.options.signal?.aborted === true)
        throw failure('CANCELLED', this.given.target, 'cancelled');
      if (!('key' in step)) {
        await this.step(step.kind, () => this.attach(plan, record));
        continue;
      }
      const setUp = setUps.get(step.key)!;
      if (setUp.isMounted) continue;
      await this.step(step.kind, () => setUp[step.kind]());
      if (step.kind === 'erofs') await setUp.close();
    }
    for (const layer of record.layers)
      layer.device = setUps.get(layer.key)?.device ?? contents.get(layer.key)!.files[0]!;
    record.mounted = true;
    await this.step('done', () => this.given.state.writeMount(record));
  }

  /** What is seen at the target: one layer as it is, or an overlay of all. */
  private async attach({ kind, lower, data }: MountPlan, { source }: MountRecord): Promise<void> {
    const { target } = this.given;
    const place = (key: string): string => this.given.state.mountPoint(key);
    const folders = lower.map(place);
    if (kind === 'overlay') {
      const upper = await this.given.writable?.prepare(folders[0]!);
      await mountOverlay({ source, lower: folders, data: data.map(place), upper, target });
      return;
    }
    const bind = { source: folders[0]!, target, type: '', flags: bindFlag, data: '' };
    call(target, () => {
      native.sys.mount(bind);
    });
  }

  private async canMountFiles(contents: readonly MountableLayer[]): Promise<boolean> {
    const plain = contents.find(({ verity }) => verity === null);
    return plain === undefined || this.given.parts.canMountFile(plain.files[0]!);
  }

  private step<T>(name: string, run: () => Promise<T>): Promise<T> {
    return this.given.parts.perform(name, run);
  }
}
