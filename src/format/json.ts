import { parse, stringify } from 'lossless-json';
import { failure } from '../errors';

/** JSON from and to bytes. What comes from outside is looked at before it is parsed: its size, and how deep it is nested. */

/** Bytes of one document at most: what every registry takes for a manifest. */
export const maxDocumentSize = 4 << 20;
/** Bytes of a list of many images or names: a layout's index.json, a registry's tags. */
export const maxListSize = 16 << 20;
/** More levels than any document of these formats has. Exported for its test. */
export const maxJsonDepth = 64;

/** A number that JavaScript would change, as it was written: of more digits than a double has, `1.0`, `1e3`. */
export class JsonNumber {
  constructor(readonly text: string) {}

  /** What a double makes of it, for programs that print it with JSON.stringify(). */
  toJSON(): number {
    return Number(this.text);
  }
}

/**
 * Parses bytes that must hold JSON. Numbers are kept exactly (see JsonNumber).
 * @throws CORRUPT; UNSUPPORTED for more than `maxSize` bytes, or more than 64 levels
 */
export function parseJson(bytes: Uint8Array, what: string, maxSize = maxDocumentSize): unknown {
  checkJsonSize(what, bytes.length, maxSize);
  checkDepth(bytes, what);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // Of a name that is there twice the last counts, as in Go and with JSON.parse().
    return parse(text, undefined, { parseNumber, onDuplicateKey: ({ newValue }) => newValue });
  } catch (error) {
    throw failure('CORRUPT', what, `not JSON: ${(error as Error).message}`);
  }
}

/**
 * The one serialisation: members in insertion order, no white space, numbers as they were written.
 * @throws UNSUPPORTED for more than `maxSize` bytes: nobody could read it again
 */
export function serializeJson(value: object, what: string, maxSize = maxDocumentSize): Buffer {
  const bytes = Buffer.from(jsonText(value));
  checkJsonSize(what, bytes.length, maxSize);
  return bytes;
}

/** The text of a value of any size, numbers as they were written. */
export function jsonText(value: object): string {
  return stringify(value, undefined, undefined, [
    {
      test: (number) => number instanceof JsonNumber,
      stringify: (number) => (number as JsonNumber).text,
    },
  ])!;
}

/** UNSUPPORTED for a document of more than `limit` bytes. */
export function checkJsonSize(what: string, size: number, limit = maxDocumentSize): void {
  if (size <= limit) return;
  throw failure('UNSUPPORTED', what, `${size} bytes of JSON, the limit is ${limit}`);
}

function parseNumber(text: string): number | JsonNumber {
  const value = Number(text);
  return String(value) === text ? value : new JsonNumber(text);
}

const quote = 0x22;
const backslash = 0x5c;
const opening = new Set([0x5b, 0x7b]);
const closing = new Set([0x5d, 0x7d]);

/** Counts brackets outside of strings: of what is no JSON the parser finds out. */
function checkDepth(bytes: Uint8Array, what: string): void {
  let depth = 0;
  let isText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === quote) isText = !isText;
    else if (isText && byte === backslash) i++;
    else if (!isText && opening.has(byte)) depth++;
    else if (!isText && closing.has(byte)) depth--;
    if (depth > maxJsonDepth) {
      throw failure('UNSUPPORTED', what, `JSON nested deeper than ${maxJsonDepth} levels`);
    }
  }
}
