import { spawn, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { failure, SeekableErofsError } from '../../errors';
import type { ResourceOptions } from '../../job';
import { resourcesOf } from '../resources';

const oldest = { major: 1, minor: 8 };
const installHint =
  'install erofs-utils 1.8 or newer, or let $MKFS_EROFS name its mkfs.erofs; or leave out --mkfs';
/** More of what the program says is not kept: one line of it is shown. */
const keptOutput = 16 << 10;

/** What goes into the program, and the file that it inherits as descriptor 3. */
interface ProgramFiles {
  input: AsyncIterable<Uint8Array>;
  target: { fd: number };
}

/** How a program ended, and the beginning of what it printed on both streams. */
interface ProgramEnd {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  output: string;
}

/** The path under which the program finds the file that it inherits. */
export const inheritedFile = '/proc/self/fd/3';

/**
 * The installed mkfs.erofs: $MKFS_EROFS, else the one on PATH. It is run to learn its version. MACHINE when there is none, or an older one
 * than 1.8, which builds no tars as containerd needs it.
 */
export async function findMkfs(options: ResourceOptions): Promise<string> {
  const { MKFS_EROFS: named = '' } = process.env;
  const program = named === '' ? 'mkfs.erofs' : named;
  const { output } = await runProgram(program, ['--version'], options);
  // Old versions print theirs and then complain about the flag.
  const [, version, major, minor] = /^mkfs\.erofs\b[^\d\n]*((\d+)\.(\d+)\S*)/m.exec(output) ?? [];
  if (version === undefined) throw failure('MACHINE', program, 'it does not tell its version', installHint);
  const isOld =
    Number(major) < oldest.major || (Number(major) === oldest.major && Number(minor) < oldest.minor);
  if (isOld) throw failure('MACHINE', program, `it is version ${version}`, installHint);
  return program;
}

/** Runs the program to its end. FAILED with the line that says why when it fails; MACHINE when it can't be run; errors of its input. */
export async function runMkfs(
  program: string,
  args: string[],
  files: ProgramFiles,
  options: ResourceOptions,
): Promise<void> {
  const { exitCode, signal, output } = await runProgram(program, args, options, files);
  if (exitCode === 0) return;
  const end = signal === null ? `exit code ${exitCode!}` : `killed by ${signal}`;
  throw failure('FAILED', program, [end, ...firstComplaint(output, program)].join(': '));
}

/** The first line that is neither the program's greeting nor a warning, without its own marks. */
function firstComplaint(output: string, program: string): string[] {
  const isNoise = (line: string): boolean => /^(\s*$|<[WIDN]>|mkfs\.erofs [^:]*$)/.test(line);
  const [line] = output.split('\n').filter((text) => !isNoise(text));
  if (line === undefined) return [];
  const marks = [/^<E>\s*/, /^erofs:\s*/];
  const text = line.startsWith(`${program}: `) ? line.slice(program.length + 2) : line;
  return [marks.reduce((rest, mark) => rest.replace(mark, ''), text).trim()];
}

async function runProgram(
  program: string,
  args: string[],
  options: ResourceOptions,
  files?: ProgramFiles,
): Promise<ProgramEnd> {
  const { signal } = options;
  throwIfAborted(signal, program);
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe', ...(files === undefined ? [] : [files.target.fd])],
    env: environmentOf(options),
  });
  const kill = (): void => {
    child.kill('SIGKILL'); // what it writes are unnamed files: nothing to tidy up
    // Where the program is a script, what that runs may keep these open.
    for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  };
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const [end, fault] = await Promise.all([endOf(child, program), feed(child.stdin!, files?.input, kill)]);
    throwIfAborted(signal, program);
    if (fault !== null) throw fault;
    return end;
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

/** Its temporary files go where ours go, and an image depends on nothing but the tar and the options. */
function environmentOf(options: ResourceOptions): NodeJS.ProcessEnv {
  return { ...process.env, SOURCE_DATE_EPOCH: undefined, TMPDIR: resourcesOf(options).tmpDir };
}

/** Hands over all input. A program may end before it has read everything: that is no fault, its exit code tells. */
async function feed(
  stdin: Writable,
  input: ProgramFiles['input'] | undefined,
  kill: () => void,
): Promise<SeekableErofsError | null> {
  try {
    await pipeline(input ?? [], stdin);
  } catch (error) {
    if (error instanceof SeekableErofsError) {
      kill(); // else it would build an image of the part that it has got
      return error;
    }
  }
  return null;
}

function endOf(child: ChildProcess, program: string): Promise<ProgramEnd> {
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < keptOutput) output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on('error', ({ code = '', message }: NodeJS.ErrnoException) => {
      const why = { ENOENT: 'not found', EACCES: 'it is no program that may be run' }[code] ?? message;
      reject(failure('MACHINE', program, why, installHint));
    });
    child.on('close', (exitCode, signal) => {
      resolve({ exitCode, signal, output });
    });
  });
}

function throwIfAborted(signal: AbortSignal | undefined, program: string): void {
  if (signal?.aborted === true) throw failure('CANCELLED', program, 'cancelled');
}
