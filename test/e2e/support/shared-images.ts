import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LayoutBuilder, type Layer } from '../../conformance/support/image';
import { makeTar, noise } from '../sample';

/** Names of `count` images: `image-00` … */
export const imageNames = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `image-${String(i).padStart(2, '0')}`);

/**
 * Writes an image layout of `count` small images, `image-00` and so on: each has two of five base layers, which it shares with others,
 * and one layer of its own.
 */
export async function writeSharedImages(folder: string, count: number): Promise<void> {
  const layout = new LayoutBuilder(folder);
  const layer = async (name: string, size: number): Promise<Layer> =>
    layout.tarLayer(
      await makeTar([
        { name: `${name}/`, type: 'directory' },
        { name: `${name}/noise`, content: noise(size, name) },
        { name: `${name}/text`, content: `${name}\n`.repeat(5000) },
      ]),
    );
  const bases = await Promise.all(Array.from({ length: 5 }, (_, i) => layer(`base-${i}`, 200_000)));
  const manifests = [];
  for (const [i, name] of imageNames(count).entries()) {
    const layers = [bases[i % 5]!, bases[(i + 1) % 5]!, await layer(name, 20_000)];
    const image = layout.image(layers, { config: { author: name } });
    manifests.push({ ...image, annotations: { 'org.opencontainers.image.ref.name': name } });
  }
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}
