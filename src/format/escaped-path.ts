/**
 * Names and paths are bytes. In JSON, listings and path arguments they are text: printable ASCII stands for itself, every other byte
 * and the backslash are `\xNN`.
 */
import { failure } from '../errors';

const backslash = 0x5c;

/** The text of `bytes`. */
export function escapePath(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) {
    const literal = byte >= 0x20 && byte < 0x7f && byte !== backslash;
    text += literal ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return text;
}

/** The text of a byte string, which has one character (0–255) a byte. */
export function showBytes(bytes: string): string {
  return escapePath(Buffer.from(bytes, 'latin1'));
}

/**
 * The bytes of a text: the inverse of escapePath(); characters outside of printable ASCII, which a user may type, are taken as UTF-8.
 * USAGE when a backslash does not begin `\xNN`.
 */
export function unescapePath(text: string): Buffer {
  const parts: Buffer[] = [];
  let position = 0;
  for (const escape of text.matchAll(/\\(x[0-9a-fA-F]{2})?/g)) {
    if (escape[1] === undefined) {
      throw failure('USAGE', text, 'a backslash must begin \\xNN', 'write a backslash itself as \\x5c');
    }
    parts.push(Buffer.from(text.slice(position, escape.index)), Buffer.from(escape[1].slice(1), 'hex'));
    position = escape.index + escape[0].length;
  }
  parts.push(Buffer.from(text.slice(position)));
  return Buffer.concat(parts);
}
