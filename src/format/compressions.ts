/** How files begin that are compressed in a way that is not read here. */
const magics: readonly [pattern: RegExp, name: string][] = [
  [/^425a683[1-9](314159265359|177245385090)/, 'bzip2'],
  [/^fd377a585a00/, 'xz'],
];
/** Bytes of a file that unreadCompression() looks at. */
export const compressionMagicSize = 10;

/** The compression of a file that has to be decompressed before it is read here; null for all else. `first`: its first bytes. */
export function unreadCompression(first: Buffer): string | null {
  const magic = first.toString('hex', 0, compressionMagicSize);
  return magics.find(([pattern]) => pattern.test(magic))?.[1] ?? null;
}
