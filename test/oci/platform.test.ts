import { describe, expect, it } from 'vitest';
import {
  choosePlatform,
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformMatches,
} from '../../src/oci/platform';
import type { Descriptor } from '../../src/oci/types';
import { caught } from '../support/caught';

function entry(text: string | undefined, id: number, features?: string[]): Descriptor {
  return {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: `sha256:${String(id).repeat(64)}`,
    size: id,
    ...(text !== undefined && {
      platform: { ...parsePlatform(text), ...(features && { 'os.features': features }) },
    }),
  };
}

describe('platform', () => {
  it.each(['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7'])('parses and formats %s', (text) => {
    expect(formatPlatform(parsePlatform(text))).toBe(text);
  });
  it.each(['', 'linux', 'linux/', '/amd64', 'linux/arm/v7/x', 'linux/a b', 'linux/arm/'])(
    'refuses "%s"',
    async (text) => {
      expect((await caught(() => parsePlatform(text))).code).toBe('USAGE');
    },
  );
  it('knows the host', () => {
    expect(formatPlatform(hostPlatform('x64'))).toBe('linux/amd64');
    expect(formatPlatform(hostPlatform('arm64'))).toBe('linux/arm64/v8');
    expect(formatPlatform(hostPlatform('riscv64'))).toBe('linux/riscv64');
  });

  it.each([
    ['linux/amd64', 'linux/amd64', true],
    ['linux/amd64', 'linux/x86_64', true],
    ['Linux/AMD64', 'linux/amd64', true],
    ['linux/amd64/v1', 'linux/amd64', true],
    ['linux/amd64', 'linux/amd64/v3', true],
    ['linux/amd64/v3', 'linux/amd64', false],
    ['linux/arm64', 'linux/arm64/v8', true],
    ['linux/arm64/v8', 'linux/aarch64', true],
    ['linux/arm64/8', 'linux/arm64', true],
    ['linux/arm', 'linux/arm/v7', true],
    ['linux/arm/v6', 'linux/arm/v7', true],
    ['linux/armhf', 'linux/arm/v7', true],
    ['linux/armhf', 'linux/arm/v6', false],
    ['linux/arm/v7', 'linux/armhf', true],
    ['linux/armel', 'linux/arm/v6', true],
    ['linux/armel', 'linux/arm/v5', false],
    ['linux/arm/v7', 'linux/arm/v6', false],
    ['linux/arm/v7', 'linux/arm64', false],
    ['linux/386', 'linux/amd64', false],
    ['windows/amd64', 'linux/amd64', false],
    ['linux/constructor', 'linux/constructor', true],
  ])('%s for %s: %s', (offered, wanted, expected) => {
    expect(platformMatches(parsePlatform(offered), parsePlatform(wanted))).toBe(expected);
  });
});

describe('choosePlatform', () => {
  it('prefers the exact variant, else the highest lower one', () => {
    const entries = [entry('linux/arm/v5', 1), entry('linux/arm/v6', 2), entry('linux/arm/v7', 3)];
    const chosen = (wanted: string) => choosePlatform(entries, parsePlatform(wanted), 'x').size;
    expect(chosen('linux/arm/v7')).toBe(3);
    expect(chosen('linux/arm/v5')).toBe(1);
    expect(chosen('linux/arm/v8')).toBe(3);
  });

  it('takes the first of equals, or the one with the feature asked for', () => {
    const entries = [entry('linux/amd64', 1), entry('linux/amd64', 2, ['erofs'])];
    expect(choosePlatform(entries, parsePlatform('linux/amd64'), 'x').size).toBe(1);
    expect(choosePlatform(entries, parsePlatform('linux/amd64'), 'x', 'erofs').size).toBe(2);
  });

  it('takes nothing that has no platform', async () => {
    const entries = [entry(undefined, 1)];
    expect((await caught(() => choosePlatform(entries, parsePlatform('linux/amd64'), 'x'))).code).toBe(
      'NOT_FOUND',
    );
  });

  it('says what there is', async () => {
    const entries = [entry('linux/arm64/v8', 1), entry('unknown/unknown', 2), entry('linux/s390x', 3)];
    const error = await caught(() => choosePlatform(entries, parsePlatform('linux/amd64'), 'image'));
    expect(error).toMatchObject({
      code: 'NOT_FOUND',
      why: 'no image for linux/amd64',
      hint: 'there is linux/arm64/v8, linux/s390x',
    });
  });
});
