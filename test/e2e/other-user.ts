import { spawnSync } from 'node:child_process';
import { constants, cpSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll } from 'vitest';

const root = resolve(__dirname, '../..');

/** What runs the program: node and main.js. */
export type Command = [node: string, program: string];

const ownCommand: Command = [process.execPath, join(root, 'dist/cli/main.js')];

let copy: string | undefined;
afterAll(async () => {
  if (copy !== undefined) await rm(copy, { recursive: true });
  copy = undefined;
});

/** The command for a user who may have no way into this checkout, or to this node: a copy of both then. */
export function commandOf(uid: number | undefined): Command {
  if (uid === undefined || isReachable(ownCommand, uid)) return ownCommand;
  copy ??= copyProgram();
  const command: Command = [join(copy, 'node'), join(copy, 'dist/cli/main.js')];
  if (!isReachable(command, uid)) throw new Error(`user ${uid} can not run ${command.join(' ')}`);
  return command;
}

function isReachable(command: Command, uid: number): boolean {
  const [node, program] = command;
  return spawnSync(node, [program, '--version'], { uid, gid: uid, cwd: '/' }).status === 0;
}

interface Lock {
  packages: Record<string, { dev?: boolean }>;
}

/** Copies what a user's installation has. */
function copyProgram(): string {
  const folder = mkdtempSync(join(tmpdir(), 'other-user-'));
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const modules = Object.entries(packages).filter(([path, { dev }]) => path !== '' && dev !== true);
  const addon = 'build/Release/seekable_erofs.node';
  for (const path of ['package.json', 'dist', addon, ...modules.map(([path]) => path)]) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    cpSync(join(root, path), join(folder, path), { recursive: true });
  }
  copyFileSync(process.execPath, join(folder, 'node'), constants.COPYFILE_FICLONE);
  const { status, stderr } = spawnSync('chmod', ['-R', 'a+rX', folder], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return folder;
}
