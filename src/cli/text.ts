import type { ConvertResult } from '../index';
import { humanBytes, humanCount } from '../quantity';

/** Shapes values for a reader's eyes. Programs use `--json`. */

export { humanBytes, humanCount };

/** What conversions did not carry over of the sources' indexes; no line when that is nothing. */
export function leftOutLines({ attestations, artifacts }: ConvertResult['summary']['leftOut']): string[] {
  const parts = [
    ...(attestations > 0 ? [humanCount(attestations, 'attestation')] : []),
    ...(artifacts > 0 ? [humanCount(artifacts, 'artifact')] : []),
  ];
  return parts.length > 0 ? [`left out of the index: ${parts.join(', ')}`] : [];
}

/** A speed in MB/s; `-` when no time has passed. */
export function humanSpeed(bytes: number, seconds: number): string {
  return seconds > 0 ? `${(bytes / 1e6 / seconds).toFixed(1)} MB/s` : '- MB/s';
}

/** What some work read and wrote, and how fast: `1.1 GB in, 373.1 MB out (0.34 of it), 251.3 MB/s, 4.4 s`. */
export function humanWork(bytesIn: number, bytesOut: number, seconds: number): string {
  const ratio = bytesIn > 0 ? ` (${(bytesOut / bytesIn).toFixed(2)} of it)` : '';
  const speed = humanSpeed(bytesIn, seconds);
  return `${humanBytes(bytesIn)} in, ${humanBytes(bytesOut)} out${ratio}, ${speed}, ${seconds.toFixed(1)} s`;
}

/** What some work wrote, and how fast: `1.1 GB, 251.3 MB/s, 4.4 s`. */
export function speedLine(bytes: number, seconds: number): string {
  return `${humanBytes(bytes)}, ${humanSpeed(bytes, seconds)}, ${seconds.toFixed(1)} s`;
}

/** The digests in a text, each cut to its first 12 hex digits. */
export function shortDigest(text: string): string {
  return text.replace(/\b(sha\d+:[0-9a-f]{12})[0-9a-f]+\b/g, '$1');
}

/**
 * Rows as aligned columns, two spaces apart. Columns named in `right` are set flush right. `widths` are what earlier rows of the same table
 * needed, and grow; the last column needs none.
 */
export function table(rows: string[][], right: number[] = [], widths: number[] = []): string[] {
  for (const row of rows) {
    row.forEach((cell, column) => (widths[column] = Math.max(widths[column] ?? 0, cell.length)));
  }
  return rows.map((row) =>
    row
      .map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
}

/** Lines moved to the right by `by` spaces. */
export function indent(lines: string[], by = 2): string[] {
  return lines.map((line) => ' '.repeat(by) + line);
}

/**
 * Text of unknown origin (names in archives, annotations, server messages) made safe for a terminal and for one line:
 * control and invisible formatting characters become escapes.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    const code = character.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}
