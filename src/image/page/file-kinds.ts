/** What lies in a chunk, as a page colours it. The order is that of its legend, and of the colours there. */
export const chunkKinds = [
  'metadata',
  'hot',
  'programs',
  'libraries',
  'scripts',
  'text and configuration',
  'archives',
  'media',
  'other files',
  'holes',
  'not known',
] as const;

export type ChunkKind = (typeof chunkKinds)[number];

const byEnding: Readonly<Record<string, ChunkKind>> = Object.fromEntries(
  (
    [
      ['libraries', 'so a o ko jar dll wasm node'],
      ['scripts', 'py pyc js mjs cjs ts rb pl pm sh lua php go rs c h cc hpp java el'],
      [
        'text and configuration',
        'txt md conf cfg ini json yaml yml toml xml html css csv list po mo service map rst',
      ],
      ['archives', 'gz xz zst bz2 zip tar tgz whl deb rpm'],
      ['media', 'png jpg jpeg gif svg webp ico mp3 mp4 ogg wav ttf otf woff woff2 pdf'],
    ] as const
  ).flatMap(([kind, endings]) => endings.split(' ').map((ending) => [ending, kind])),
);

/** What a file is by its name and mode; its content is not read. */
export function fileKind(path: string, mode: number): ChunkKind {
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase();
  if (/\.so(\.\d+)*$/.test(name)) return 'libraries';
  const ending = name.slice(name.lastIndexOf('.') + 1);
  const known = name.includes('.') && Object.hasOwn(byEnding, ending) ? byEnding[ending] : undefined;
  if (known !== undefined) return known;
  if ((mode & 0o111) !== 0) return 'programs';
  return name.includes('.') || !/^\/(etc|usr\/share\/doc)\//.test(path)
    ? 'other files'
    : 'text and configuration';
}
