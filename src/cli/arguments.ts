import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { failure } from '../errors';

/** What Node makes of each byte that is no UTF-8: names that differ in such bytes alone would become one. */
const replacement = '\ufffd';

/**
 * Refuses arguments that are not valid UTF-8, since they arrive as other text than was given.
 * @throws {SeekableErofsError} USAGE
 */
export function checkArguments(argv: readonly string[], given: () => Buffer[] = readArguments): void {
  if (!argv.some((argument) => argument.includes(replacement))) return;
  const bytes = given().slice(-argv.length);
  for (const [i, argument] of argv.entries()) {
    if (!argument.includes(replacement) || isUtf8(bytes[i]!)) continue;
    const hint = 'rename it, or name a link that leads to it; names in an image are written with \\xNN';
    throw failure('USAGE', argument, 'it is not valid UTF-8, so no name that this program can keep', hint);
  }
}

/** The command line as it was given: Node has its text alone. */
function readArguments(): Buffer[] {
  const bytes = readFileSync('/proc/self/cmdline');
  const found: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(0, start);
    found.push(bytes.subarray(start, end < 0 ? bytes.length : end));
    start = end < 0 ? bytes.length : end + 1;
  }
  return found;
}
