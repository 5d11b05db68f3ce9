import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { failure, fromSystemError } from '../../errors';
import type { Policy } from './policy';

const leastLength = 16;

/** What requests must show: the secret of the policy's file, or of SEEKABLE_EROFS_HOOK_SECRET; null of a policy that is open. USAGE without one. */
export async function readSecret(
  { secretFile, isOpen }: Policy,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string | null> {
  if (isOpen) return null;
  const secret =
    secretFile === undefined
      ? env['SEEKABLE_EROFS_HOOK_SECRET']
      : await readFile(secretFile, 'utf8').catch((error: unknown) => {
          throw fromSystemError(secretFile, error);
        });
  const text = secret?.trim() ?? '';
  if (text.length >= leastLength) return text;
  const why = text === '' ? 'there is no secret' : `a secret of ${text.length} characters can be guessed`;
  throw failure('USAGE', 'hooks', why, '"secret-file" in the policy, or SEEKABLE_EROFS_HOOK_SECRET');
}

/** What a request shows: the secret itself, a signature that the body has to fit, or nothing that counts. */
type Shown = 'secret' | 'signature' | 'nothing';

/** Told before the body is read: who shows nothing sends none. */
export function shownBy(headers: IncomingHttpHeaders, secret: string | null): Shown {
  if (secret === null) return 'secret';
  const given = headers.authorization?.replace(/^Bearer /i, '');
  if (given !== undefined) return isEqual(given, secret) ? 'secret' : 'nothing';
  return signatureOf(headers) === undefined ? 'nothing' : 'signature';
}

/** Whether the signature is the HMAC-SHA256 of the body. */
export function isSigned(headers: IncomingHttpHeaders, body: Buffer, secret: string): boolean {
  const expected = createHmac('sha256', secret).update(body).digest('hex');
  return isEqual(signatureOf(headers) ?? '', `sha256=${expected}`);
}

function signatureOf(headers: IncomingHttpHeaders): string | undefined {
  const found = headers['x-hub-signature-256'] ?? headers['x-signature-256'];
  return Array.isArray(found) ? found[0] : found;
}

/** In a time that tells nothing of either, not even the length. */
function isEqual(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
