import { writeOutput } from '../../fs/output-file';
import { writeFully } from '../../fs/write-fully';
import { checkOptions } from '../../options';
import { checkSubjects } from '../subject';
import { readTrace } from '../trace-file';
import { pageImages } from './model';
import type { OpenLayersOptions } from './open-layers';
import { renderPage } from './render';

/** What writeImagePage() takes. */
export interface ImagePageOptions extends OpenLayersOptions {
  /** A file with a trace: what it reads is shown in the chunks. */
  trace?: string | undefined;
  /** Another image, which is shown beside it with what both have. */
  sharedWith?: string | undefined;
}

/** What was written of a page. */
export interface ImagePage {
  /** Bytes of the file. */
  size: number;
  layers: number;
  chunks: number;
}

/**
 * Writes a page that shows an image or a layer: its chunks and what lies in them, its files by size, annotations and dm-verity. It is one
 * file that needs no network, has few megabytes whatever the image has, and shows all text as text. Of an index the host's platform, unless
 * one is named. Errors as openInspection(), and of the file.
 */
export async function writeImagePage(
  refOrPath: string,
  file: string,
  options: ImagePageOptions = {},
): Promise<ImagePage> {
  checkOptions('writeImagePage', options);
  checkSubjects([refOrPath, ...(options.sharedWith === undefined ? [] : [options.sharedWith])], options);
  const { trace: traceFile, ...reading } = options;
  const trace = traceFile === undefined ? undefined : await readTrace(traceFile, options);
  const images = await pageImages(refOrPath, { ...reading, trace });
  const bytes = Buffer.from(renderPage(images));
  await writeOutput(file, ({ fd }) => writeFully(fd, bytes, 0), { ...options, inputs: [] });
  const layers = images.flatMap((image) => image.layers);
  return {
    size: bytes.length,
    layers: layers.length,
    chunks: layers.reduce((sum, { chunks }) => sum + chunks, 0),
  };
}
