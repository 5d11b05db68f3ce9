import { failure } from '../errors';

/**
 * Refuses a path that the system would get as another one: with a zero byte, or with a lone surrogate, which has no bytes of its own, so that
 * two such paths would be one; and `-`, which is a standard stream wherever it is not refused. USAGE.
 */
export function checkFileName(path: string): void {
  if (path === '-') {
    const why = 'it is standard input or output, which has no use here';
    throw failure('USAGE', path, why, './- if something is called so');
  }
  if (path.includes('\0')) throw failure('USAGE', path, 'a path can have no zero byte');
  if (/\p{Surrogate}/u.test(path)) throw failure('USAGE', path, 'it is no valid Unicode text');
}
