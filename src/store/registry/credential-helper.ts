import { spawn } from 'node:child_process';
import { failure, SeekableErofsError } from '../../errors';
import { parseJsonObject, type JsonObject } from '../../oci/json';
import type { AuthEntry } from './auth-file';

const maxAnswer = 1 << 20;
/** A helper may ask its user. */
const maxWait = 120_000;

/**
 * Asks `docker-credential-NAME` for the credentials of `server`, which it is told on standard input. null when it has none, `absent` when
 * it is not installed. What it prints is never repeated in an error.
 * @throws USAGE for a name that is none, IO when the helper fails, CORRUPT for an answer that is none.
 */
export async function credentialsFromHelper(
  name: string,
  server: string,
  file: string,
): Promise<AuthEntry | 'absent' | null> {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name)) {
    throw failure('USAGE', file, 'it names a credential helper that can be none', 'letters, digits, . _ -');
  }
  const program = `docker-credential-${name}`;
  const answer = await run(program, server);
  if (answer === 'absent') return answer;
  if (answer.exitCode !== 0) {
    if (/credentials not found/i.test(answer.output)) return null;
    const why = `the credential helper ends with ${answer.exitCode ?? 'a signal'}`;
    throw failure('IO', program, why, `try: echo ${server} | ${program} get`);
  }
  return parseAnswer(answer.output, program);
}

function parseAnswer(output: string, program: string): AuthEntry | null {
  let object: JsonObject;
  try {
    object = parseJsonObject(Buffer.from(output), program);
  } catch {
    throw failure('CORRUPT', program, 'the credential helper does not print a JSON object');
  }
  const { Username: username, Secret: secret } = object;
  if (typeof username !== 'string' || typeof secret !== 'string') {
    throw failure('CORRUPT', program, 'the credential helper prints no Username and Secret');
  }
  if (secret === '') return null;
  return username === '<token>' ? { identityToken: secret } : { login: { username, password: secret } };
}

async function run(
  program: string,
  input: string,
): Promise<{ output: string; exitCode: number | null } | 'absent'> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], { stdio: ['pipe', 'pipe', 'ignore'], timeout: maxWait });
    const pieces: Buffer[] = [];
    let size = 0;
    child.stdin.on('error', () => undefined); // it may end without reading
    child.stdin.end(`${input}\n`);
    child.stdout.on('data', (piece: Buffer) => {
      pieces.push(piece);
      size += piece.length;
      if (size > maxAnswer) child.kill('SIGKILL');
    });
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') resolve('absent');
      else reject(new SeekableErofsError('IO', { what: program, why: 'it can not be run', cause }));
    });
    child.on('close', (exitCode) => {
      resolve({ output: Buffer.concat(pieces).toString(), exitCode });
    });
  });
}
