import { writeFile } from 'node:fs/promises';
import { isatty } from 'node:tty';
import { failure, fromSystemError } from '../../errors';
import { layersOf } from '../../image/image-layers';
import { openImageSet, type Image } from '../../image/image-set';
import type { MergedTree } from '../../image/merged-tree';
import { withImageFiles, withView } from '../../image/open-view';
import { parseReference } from '../../oci/reference';
import { openInputFile } from '../../source/input-file';
import { openSource } from '../../store/open';
import { containerConfig } from './config';
import { ContainerFolder } from './folder';
import { checkLimits, containerResources, hasLimits, type ContainerLimits } from './limits';
import { checkProgram } from './program';
import { runContainer, type SignalRelay } from './process';
import { clearAway } from './repair';
import { containerSettings, type ContainerSettings } from './settings';
import { readAccounts, resolveUser, type ContainerUser } from './user';
import { mountWith, type MountOptions } from '../mount';
import { findRuntime, runtimeHint } from './runtime';
import { MountState } from '../state';
import type { MountedLayer } from '../state-records';
import { requireRoot } from '../kernel/system-call';
import { checkSubjects } from '../../image/subject';
import { checkOptions } from '../../options';

/** What runImage() takes. */
export interface RunOptions extends Omit<MountOptions, 'rw'>, ContainerLimits {
  /** Default: the container gets no signals of this process. */
  relaySignals?: SignalRelay | undefined;
}

/** How a container ended. */
export interface RunResult {
  /** Of its process; 128 + N after signal N. */
  exitCode: number;
  layers: MountedLayer[];
}

/** What is read of an image to run it. */
interface ImageToRun {
  settings: ContainerSettings;
  user: ContainerUser;
  layers: MountedLayer[];
}

/** What is run, and where it is mounted. */
interface Task {
  refOrPath: string;
  command: readonly string[];
  folder: ContainerFolder;
  options: RunOptions;
}

/**
 * Runs `command` (empty: what the image says) in a throw-away container of an image, by an installed crun or runc: a writable overlay in
 * memory over the mounted image, the image's environment, folder and user, a network of its own that leads nowhere, no new privileges,
 * Docker's seccomp filter, this process's stdin, stdout and stderr. Nothing is left of it, whatever the end.
 * @throws NO_PROGRAM and NOT_EXECUTABLE of the command; MACHINE without root or a runtime, or without cgroups for limits; USAGE without a command; CORRUPT for a config that nobody can run; as mountImage().
 */
export async function runImage(
  refOrPath: string,
  command: readonly string[] = [],
  options: RunOptions = {},
): Promise<RunResult> {
  checkOptions('runImage', options);
  checkSubjects([refOrPath], options);
  checkLimits(options);
  requireRoot('run', 'a container');
  const runtime = await findRuntime({ limited: hasLimits(options) });
  if (runtime === null) throw failure('MACHINE', 'run', 'neither runc nor crun is installed', runtimeHint);
  const { lazy = false } = options;
  const prepared = lazy ? null : await readImage(refOrPath, command, options);
  const terminal = isatty(0) && isatty(1);
  const folder = await ContainerFolder.create(await MountState.open(options.state));
  try {
    const limits = await containerResources(folder.id, options);
    const task = { refOrPath, command, folder, options };
    const { settings, user, layers } =
      prepared === null ? await mountLazily(task) : await mountRead(task, prepared);
    const { id: hostname, rootfs } = folder;
    const config = containerConfig({ settings, user, rootfs, hostname, terminal, limits });
    await writeFile(folder.config, JSON.stringify(config)).catch((error: unknown) => {
      throw fromSystemError(folder.config, error);
    });
    return { exitCode: await runContainer(runtime, folder, { ...options, terminal }), layers };
  } finally {
    await clearAway(folder, options);
  }
}

/** An image that is fetched whole: whether it can be run is known before. */
async function readImage(refOrPath: string, command: readonly string[], options: RunOptions) {
  const image = await readManifest(refOrPath, options);
  const settings = containerSettings(image?.config.config, command, refOrPath);
  const user = await withView(refOrPath, options, ({ tree }) => userOf(tree, settings, refOrPath));
  return { image, settings, user };
}

async function mountRead(
  { refOrPath, folder, options }: Task,
  { image, ...read }: Awaited<ReturnType<typeof readImage>>,
): Promise<ImageToRun> {
  const { layers } = await mountWith(refOrPath, folder.rootfs, { ...options, rw: folder.rw });
  checkSame(refOrPath, image, layers);
  return { ...read, layers };
}

/** An image that comes as it is read: it is opened once, and looked at through the files that the kernel is given. */
async function mountLazily({ refOrPath, command, folder, options }: Task): Promise<ImageToRun> {
  let settings: ContainerSettings | undefined;
  let user: ContainerUser | undefined;
  const { layers } = await mountWith(
    refOrPath,
    folder.rootfs,
    { ...options, rw: folder.rw },
    {
      onConfig: (config) => {
        settings = containerSettings(config?.config, command, refOrPath);
      },
      onContents: async (files) => {
        user = await withImageFiles(files, (tree) => userOf(tree, settings!, refOrPath));
      },
    },
  );
  return { settings: settings!, user: user!, layers };
}

/** Who runs the program, which is there and can be run by them. */
async function userOf(tree: MergedTree, settings: ContainerSettings, what: string): Promise<ContainerUser> {
  const user = resolveUser(settings.user, await readAccounts(tree), what);
  await checkProgram(tree, settings, user);
  return user;
}

/** Manifest and config of an image; null of a layer alone. */
async function readManifest(refOrPath: string, options: RunOptions): Promise<Image | null> {
  const reference = parseReference(refOrPath);
  // That it is there is said before what it lacks.
  if (reference.transport === 'file' && reference.path !== '-')
    await (await openInputFile(reference.path, options)).close();
  if (reference.transport === 'file' || reference.transport === 'http') return null;
  if ('path' in reference && reference.path === '-')
    throw failure('USAGE', refOrPath, "standard input is the container's", 'put the archive into a file');
  const { store, reference: name } = await openSource(refOrPath, options);
  try {
    const { platform } = options;
    const platforms = platform === undefined ? undefined : [platform];
    return (await openImageSet(store, name, { platforms, feature: 'erofs' })).images[0]!;
  } finally {
    await store.close();
  }
}

/** A tag may be moved between the reading of the config and the mount. */
function checkSame(what: string, image: Image | null, layers: readonly MountedLayer[]): void {
  if (image === null) return;
  const known = new Set(layersOf(image).map(({ diffId }) => diffId));
  if (layers.every(({ diffId }) => known.has(diffId))) return;
  throw failure('FAILED', what, 'it became another image just now', 'run it again');
}
