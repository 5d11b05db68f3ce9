import type { LayerRole } from '../image/composition';
import { checkDeviceLayers } from '../image/device-layers';
import type { ImageFiles } from '../image/open-view';
import { openFileSource, type FileSource } from '../source/file';
import type { MountableLayer } from './layer-set-up';
import type { PlannedLayer } from './plan';
import type { MountSource, SourceLayer } from './source-layer';
import type { MountRecord } from './state-records';

/** The files of a mount's layers, by key: the image, then its devices. */
type Contents = ReadonlyMap<string, MountableLayer>;

/**
 * Gives the images of a mount's layers the devices that they keep data on, which are layers of the mount as well. CORRUPT when those are
 * not what an image needs.
 */
export async function joinDevices(
  { layers: sources, image }: Pick<MountSource, 'layers' | 'image'>,
  { layers }: MountRecord,
  contents: Contents,
): Promise<Contents> {
  const fileOf = (source: SourceLayer): string =>
    contents.get(layers[sources.indexOf(source)]!.key)!.files[0]!;
  const joined = new Map(contents);
  for (const [i, { key, role }] of layers.entries()) {
    const content = contents.get(key)!;
    if (role === 'device' || joined.get(key) !== content) continue;
    const devices = sources[i]!.devices.map(fileOf);
    // What a layer alone needs, its user gave.
    if (image !== null && !isReadLater(sources[i]!)) await checkDeviceFiles(content.files[0]!, devices);
    joined.set(key, { ...content, files: [...content.files, ...devices] });
  }
  return joined;
}

/** Says which rule an image breaks that the kernel refused to mount, of those that joinDevices() did not look at. */
export async function explainRefusal(
  { layers: sources }: Pick<MountSource, 'layers'>,
  { layers }: MountRecord,
  contents: Contents,
): Promise<void> {
  for (const [i, { key }] of layers.entries())
    if (isReadLater(sources[i]!)) await checkDeviceFiles(contents.get(key)!.files[0]!, []);
}

/** With its superblock the kernel would read on, and have the lazy server fetch what nobody asked for. */
function isReadLater({ lazy, devices, role }: SourceLayer): boolean {
  return lazy !== null && devices.length === 0 && role !== 'device';
}

/** The layers of a record that are mounted: devices are not. */
export function mountedOf(
  layers: readonly Pick<MountRecord['layers'][number], 'key' | 'verity' | 'role'>[],
): PlannedLayer[] {
  return layers.flatMap(({ key, verity, role }) => (role === 'device' ? [] : [{ key, mode: verity, role }]));
}

/** The files of all layers, by which an image's tree can be read. */
export function imageFiles({ layers }: MountRecord, contents: Contents): ImageFiles {
  const filesOf = (wanted: LayerRole): string[][] =>
    layers.filter(({ role = 'lower' }) => role === wanted).map(({ key }) => contents.get(key)!.files);
  return { lowers: filesOf('lower'), data: filesOf('data') };
}

async function checkDeviceFiles(image: string, devices: readonly string[]): Promise<void> {
  const opened: FileSource[] = [];
  try {
    for (const file of [image, ...devices]) opened.push(await openFileSource(file));
    await checkDeviceLayers(opened[0]!, opened.slice(1));
  } finally {
    for (const source of opened) await source.close();
  }
}
