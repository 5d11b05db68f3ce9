import { readdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { SeekableErofsError, failure } from '../../errors';
import type { MergedNode, MergedTree } from '../../image/merged-tree';
import { lookUp } from '../../erofs/tree-lookup';
import { defaultPath } from './config';
import type { ContainerSettings } from './settings';
import type { ContainerUser } from './user';
import { programInterpreter, type Interpreter } from './program-format';

/** What the container has mounted over the image: nothing is known of it. */
const mountedOver = /^\/(proc|dev|sys)(\/|$)/;
const binfmt = '/proc/sys/fs/binfmt_misc';

/**
 * Looks for the program that a container is to run, as the runtime and the kernel will.
 * @throws NO_PROGRAM when there is none, NOT_EXECUTABLE when it is no program that `user` may execute on this machine
 */
export async function checkProgram(
  tree: MergedTree,
  { args, env, cwd }: ContainerSettings,
  user: ContainerUser,
): Promise<void> {
  const name = args[0]!;
  const isPath = name.includes('/');
  const paths = isPath
    ? [posix.resolve(cwd, name)]
    : foldersOf(env).map((folder) => posix.join(folder, name));
  if (paths.some((path) => mountedOver.test(path))) return;
  for (const path of paths) {
    const node = await find(tree, path);
    if (node === null) continue;
    const why = whyNotExecutable(node, user);
    if (why === null) return checkFormat(tree, path, node);
    if (isPath) throw failure('NOT_EXECUTABLE', name, why);
  }
  throw isPath
    ? failure('NO_PROGRAM', name, 'there is no such program in the image')
    : failure(
        'NO_PROGRAM',
        name,
        `there is no such program in the image's PATH, ${foldersOf(env).join(':')}`,
      );
}

/** Relative ones are not looked into, as runtimes have it. */
function foldersOf(env: readonly string[]): string[] {
  const own = env.find((variable) => variable.startsWith('PATH='))?.slice('PATH='.length);
  return (own ?? defaultPath).split(':').filter((folder) => folder.startsWith('/'));
}

async function find(tree: MergedTree, path: string): Promise<MergedNode | null> {
  try {
    return (await lookUp(tree, Buffer.from(path), true)).node;
  } catch (error) {
    if (error instanceof SeekableErofsError && ['NOT_FOUND', 'FAILED'].includes(error.code)) return null;
    throw error;
  }
}

function whyNotExecutable(
  { inode: { type, mode, ...owner } }: MergedNode,
  user: ContainerUser,
): string | null {
  if (type !== 'file') return `it is a ${type === 'dir' ? 'folder' : type}, not a program`;
  const isExecutable = (mode & executeBits(owner, user)) !== 0;
  return isExecutable ? null : 'permission denied: it has no execute bit for the user';
}

/** The bits of which one must be set: the first class that a user is in counts, and for root any of them. */
function executeBits(
  owner: { uid: number; gid: number },
  { uid, gid, additionalGids }: ContainerUser,
): number {
  if (uid === 0) return 0o111;
  if (uid === owner.uid) return 0o100;
  return [gid, ...additionalGids].includes(owner.gid) ? 0o010 : 0o001;
}

async function checkFormat(tree: MergedTree, path: string, node: MergedNode): Promise<void> {
  if (mayTakeOthers(await readdir(binfmt).catch(() => []))) return;
  const { size } = node.inode;
  const read = (offset: number, length: number): Promise<Buffer> =>
    tree.read(node, Math.min(offset, size), Math.max(0, Math.min(length, size - offset)));
  const found: Interpreter = await programInterpreter(read, process.arch);
  if ('why' in found) throw failure('NOT_EXECUTABLE', path, found.why);
  const { interpreter } = found;
  if (interpreter === null || !interpreter.startsWith('/') || mountedOver.test(interpreter)) return;
  if ((await find(tree, interpreter)) === null)
    throw failure('NOT_EXECUTABLE', path, `its interpreter, ${interpreter}, is not in the image`);
}

/** Whether the kernel was told of interpreters for files of other formats. */
function mayTakeOthers(names: readonly string[]): boolean {
  return names.some((name) => name !== 'register' && name !== 'status');
}
