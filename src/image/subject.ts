import { failure } from '../errors';
import { namesLayer, parseReference } from '../oci/reference';
import { refuseRegistryOptions } from '../oci/registry-options';
import type { RegistryOptions } from '../store/registry/options';

/** Options that do something for some of the things that can be named, and nothing for others. */
interface SubjectOptions extends RegistryOptions {
  descriptor?: unknown;
  indexLayer?: unknown;
  platform?: string | undefined;
  platforms?: readonly string[] | undefined;
  mirrors?: readonly string[] | undefined;
}

/**
 * Refuses options that can do nothing for images or layers of these names, which are all of one kind: what was asked for would be left out
 * without a word. USAGE for platforms of layers, descriptors of images, and options of registries where none is spoken to.
 */
export function checkSubjects(names: readonly string[], options: SubjectOptions): void {
  const { descriptor, indexLayer, platform, platforms, mirrors = [] } = options;
  const references = names.map((name) => parseReference(name));
  const what = names.at(-1)!;
  const isLayer = names.every(namesLayer);
  if (isLayer && (platform ?? platforms) !== undefined)
    throw failure('USAGE', what, 'a single layer has no platform', 'leave out --platform');
  if (!isLayer && (descriptor ?? indexLayer) !== undefined)
    throw failure('USAGE', what, 'an image has its own descriptors', '--descriptor is for a bare blob');
  if (mirrors.length === 0) refuseRegistryOptions(what, references, options);
}
