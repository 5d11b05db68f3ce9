// Many small images, each of one tar.gz layer; the tars stay in the benchmarks' folder.
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { compressed, whole } from './corpus.mjs';
import { writeLayout } from './layout.mjs';
import { writeSynthetic } from './synthetic.mjs';

/** `count` layouts whose layer is a tar of about `bytes`: `{layouts, files}`, where files are the layers as they are in the images. */
export async function smallImages(context, { count, bytes }) {
  const folder = join(context.directory, `small-${count}`);
  whole(folder, (half) => {
    mkdirSync(half);
    for (let i = 0; i < count; i++) writeSynthetic(join(half, `${i}.tar`), { bytes, seed: 1000 + i });
  });
  const names = readdirSync(folder).filter((name) => name.endsWith('.tar'));
  const tars = names.map((name) => join(folder, name));
  const files = await compressed(tars, 'gzip');
  const layouts = tars.map((tar, i) => {
    const path = context.inputs.scratch(`small-${count}-${i}`);
    writeLayout(path, [{ tar, path: files[i] }], { compression: 'gzip' });
    return path;
  });
  return { layouts, files };
}
