import type { TarEntryBytes } from './tar-bytes';

/** Numbers that look random, the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Few, so that entries meet. */
const names = ['a', 'b', 'c', 'a-b', 'caf\xe9'];
const oddNames = [
  ...['.', '..', '.wh.a', '.wh.b', '.wh.c', '.wh..wh..opq'],
  ...['.', '..', '.wh.a', '.wh.b', '.wh.c', '.wh..wh..opq'],
  ...['', '.wh..wh.plnk', '.wh.', '.wh..'],
];
const types = ['0', '0', '0', '5', '5', '5', '2', '1', '3', '4', '6', '7'];
const times = [
  '0',
  '1',
  '1700000000',
  '1700000000',
  '1600000000.5',
  '-1.5',
  '8589934592',
  '1700000000.000000001',
];
const xattrNames = [
  'user.a',
  'user.b',
  'trusted.x',
  'trusted.overlay.opaque',
  'trusted.overlay.origin',
  'security.capability',
  'odd.x',
  'system.posix_acl_access',
];

/** A layer made of entries that get in each other's way, by everything that the policy has a rule for. */
export function randomEntries(seed: number): TarEntryBytes[] {
  const random = randomNumbers(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(values: readonly T[]): T => values[below(values.length)]!;
  const maybe = (chance: number): boolean => random() < chance;
  const path = (): string => {
    const parts = Array.from({ length: 1 + below(3) }, () => pick(maybe(0.04) ? oddNames : names));
    return `${maybe(0.05) ? '/' : ''}${maybe(0.05) ? './' : ''}${parts.join('/')}`;
  };
  const last = (): string => (maybe(0.12) ? `${pick(['', `${pick(names)}/`])}${pick(oddNames)}` : path());
  const placed = ['a'];
  return Array.from({ length: 1 + below(14) }, () => {
    const type = pick(types);
    const name = last();
    const target = type === '1' && maybe(0.8) ? pick(placed) : path();
    if (type !== '5') placed.push(name);
    return {
      name: name + (type === '5' && maybe(0.5) ? '/' : ''),
      type,
      target: type === '1' || type === '2' ? target : '',
      mode: pick([0o644, 0o755, 0o4711, 0o1777, 0]),
      uid: pick([0, 0, 1000, 70_000]),
      gid: pick([0, 0, 5]),
      mtime: pick(times),
      device: pick([
        [0, 0],
        [8, 1],
        [4095, 1_048_575],
      ] as const),
      content:
        type === '0' || type === '7' ? pick(['', 'x', 'some text', 'y'.repeat(5000), 'z'.repeat(4096)]) : '',
      xattrs: maybe(0.2) ? { [pick(xattrNames)]: pick(['y', '', 'a\0b']), [pick(xattrNames)]: 'second' } : {},
    };
  });
}
