import { SeekableErofsError, failure } from '../errors';

/** Who checks a mounted layer's blocks: the kernel as they are read, this program before it was mounted, or nobody but its digest. */
export type VerityMode = 'kernel' | 'userspace' | 'none';

/** What the kernel mounts a layer from. */
export type Backing = 'file' | 'loop' | 'verity';

/** The check that is asked for. `auto`: by the kernel if it can, else by this program; `require`: by the kernel, or the mount fails; `off`: none. */
export type VerityPolicy = 'auto' | 'require' | 'off';

/** Who vouches for a layer's dm-verity tree: a trusted root digest, nobody, or there is no tree. */
export type TreeTrust = 'vouched' | 'unvouched' | 'absent';

/** What can be had of one layer under a policy. */
interface VerityDecision {
  mode: VerityMode;
  warning?: string;
}

/**
 * What a policy makes of a layer's tree.
 * @param whyNot why the kernel can't check blocks; null when it can
 * @throws FAILED under `require` when there is no tree to trust, MACHINE when only the kernel is in the way
 */
export function decideVerity(
  what: string,
  policy: VerityPolicy,
  tree: TreeTrust,
  whyNot: string | null,
): VerityDecision {
  if (policy === 'off') return { mode: 'none' };
  if (policy === 'require') {
    if (tree === 'absent')
      throw failure('FAILED', what, 'has no dm-verity tree', 'convert it with --dm-verity');
    if (tree === 'unvouched') throw failure('FAILED', what, unvouched, 'give its --descriptor');
    if (whyNot !== null) throw lacksDmVerity(what, whyNot);
    return { mode: 'kernel' };
  }
  if (tree === 'unvouched')
    return { mode: 'none', warning: `${what}: ${unvouched}: it is mounted without it` };
  if (tree === 'absent') return { mode: 'none' };
  return { mode: whyNot === null ? 'kernel' : 'userspace' };
}

const unvouched = 'no descriptor vouches for its dm-verity tree';

function lacksDmVerity(what: string, whyNot: string): SeekableErofsError {
  return failure('MACHINE', what, `the kernel has no dm-verity: ${whyNot}`, 'modprobe dm-verity, as root');
}

/** One thing to be done; what undoes it is known by its kind and its key. */
type Step = { kind: 'loop' | 'verity' | 'erofs'; key: string } | { kind: 'bind' | 'overlay' };

/** What is seen at the target: one layer as it is, or an overlay of layers. */
export type MountKind = 'erofs' | 'overlay';

/** A layer that is mounted. */
export interface PlannedLayer {
  key: string;
  mode: VerityMode;
  /** Absent of a lower layer. */
  role?: 'data' | undefined;
}

/** The kind of a mount of these layers. Files of an image with data-only layers are overlayfs's to find. */
export function mountKind(
  layers: readonly Pick<PlannedLayer, 'key' | 'role'>[],
  writable: boolean,
): MountKind {
  const isPlain = layers.every(({ role }) => role === undefined) && !writable;
  return isPlain && new Set(layers.map(({ key }) => key)).size === 1 ? 'erofs' : 'overlay';
}

/** How an image is mounted. */
export interface MountPlan {
  kind: MountKind;
  /** Keys of different layers, the uppermost first. */
  lower: string[];
  /** Keys of data-only layers, in the order in which they are asked. */
  data: string[];
  steps: Step[];
}

/**
 * What to do for layers (the lowest first) that lie in files. A layer that comes twice is seen in its upper place only: all that the lower
 * one has is shadowed, and overlayfs refuses a folder that it has already.
 */
export function planMount(
  layers: readonly PlannedLayer[],
  { writable, fileBacked }: { writable: boolean; fileBacked: boolean },
): MountPlan {
  const keysOf = (role: PlannedLayer['role']): string[] =>
    layers.filter((layer) => layer.role === role).map(({ key }) => key);
  const lower = [...new Set(keysOf(undefined).reverse())];
  const data = [...new Set(keysOf('data'))];
  const kind = mountKind(layers, writable);
  const steps: Step[] = [...[...lower].reverse(), ...data].flatMap((key) => {
    const { mode } = layers.find((layer) => layer.key === key)!;
    return stepsOf(backingOf(mode, fileBacked)).map((step) => ({ kind: step, key }));
  });
  return { kind, lower, data, steps: [...steps, { kind: kind === 'erofs' ? 'bind' : 'overlay' }] };
}

/** dm-verity needs a block device. */
export function backingOf(mode: VerityMode, fileBacked: boolean): Backing {
  if (mode === 'kernel') return 'verity';
  return fileBacked ? 'file' : 'loop';
}

function stepsOf(backing: Backing): ('loop' | 'verity' | 'erofs')[] {
  if (backing === 'file') return ['erofs'];
  return backing === 'loop' ? ['loop', 'erofs'] : ['loop', 'verity', 'erofs'];
}
