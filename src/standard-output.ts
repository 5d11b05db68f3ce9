import { fstatSync, readFileSync } from 'node:fs';
import { failure } from './errors';

/** Device number of /dev/null: 1, 3. */
const nullDevice = (1 << 8) | 3;

/**
 * Refuses a standard output that was closed (`>&-`). Node opens /dev/null in its place, for reading and writing; a shell that is asked for
 * /dev/null opens it for writing only. IO.
 */
export function checkOutputIsOpen(): void {
  const { rdev } = fstatSync(1);
  if (rdev !== nullDevice) return;
  const [, flags = '0'] = /^flags:\s*([0-7]+)/m.exec(readFileSync('/proc/self/fdinfo/1', 'latin1')) ?? [];
  const isForBoth = (Number.parseInt(flags, 8) & 3) === 2;
  if (isForBoth) throw failure('IO', 'standard output', 'it is closed', 'redirect it to a file or a program');
}
