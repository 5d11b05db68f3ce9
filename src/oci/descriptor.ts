import { isDigest } from '../format/digest';
import {
  asObject,
  checkOptionalStringArray,
  checkOptionalStringMap,
  checkOptionalStrings,
  checkString,
  corrupt,
  withoutNulls,
  type JsonObject,
} from './json';
import type { Descriptor, Platform } from './types';

const optionalMembers = ['annotations', 'platform', 'urls', 'artifactType', 'data'];

/**
 * A descriptor from untrusted JSON, as the OCI image specification defines it; unknown members are kept.
 * What it returns is safe to build a path from: the digest has a known algorithm and hexadecimal digits only.
 * @throws CORRUPT
 */
export function parseDescriptor(value: unknown, what: string): Descriptor {
  const descriptor = withoutNulls(asObject(value, what), optionalMembers);
  checkString(descriptor, 'mediaType', what);
  const { digest, size } = descriptor;
  if (typeof digest !== 'string' || !isDigest(digest)) throw corrupt(what, `bad digest ${quote(digest)}`);
  if (!Number.isSafeInteger(size) || (size as number) < 0) throw corrupt(what, `bad size ${quote(size)}`);
  checkOptionalStrings(descriptor, ['artifactType', 'data'], what);
  checkOptionalStringMap(descriptor, 'annotations', what);
  checkOptionalStringArray(descriptor, 'urls', what);
  if ('platform' in descriptor) descriptor['platform'] = parsePlatformObject(descriptor['platform'], what);
  return descriptor as unknown as Descriptor;
}

function parsePlatformObject(value: unknown, what: string): Platform {
  const platform = withoutNulls(asObject(value, `${what}, platform`), [
    'variant',
    'os.features',
    'os.version',
  ]);
  checkPlatformMembers(platform, `${what}, platform`);
  checkOptionalStrings(platform, ['os.version'], what);
  return platform as unknown as Platform;
}

/** The members that a platform and an image's config have in common. */
export function checkPlatformMembers(object: JsonObject, what: string): void {
  checkString(object, 'os', what);
  checkString(object, 'architecture', what);
  checkOptionalStrings(object, ['variant'], what);
  checkOptionalStringArray(object, 'os.features', what);
}

/** Untrusted values are shown short, whatever they are. */
function quote(value: unknown): string {
  return JSON.stringify(value ?? null).slice(0, 100);
}
