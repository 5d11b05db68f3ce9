import { openErofs } from '../../erofs/filesystem';
import { failure } from '../../errors';
import { checkSameDigest } from '../../format/digest';
import { checkBlobDigest } from '../../layer/content-digest';
import type { ReadOptions } from '../../layer/decode';
import { erofsSourceAt } from '../../layer/erofs-source';
import { openPlainLayer, type PlainLayer } from '../../layer/layer-image';
import { layerKind } from '../../layer/layer-kind';
import { asByteSource } from '../../layer/native-byte-source';
import { sniffLayer } from '../../layer/sniff';
import { reading } from '../../native/native-error';
import { readTarEntries } from '../../native/tar-entries';
import type { BlobFile } from '../../oci/store';
import type { ByteSource } from '../../source/byte-source';
import { ContentComparison } from './compare-content';
import { TreeComparison } from './compare-trees';
import type { DifferenceList } from './differences';
import { ErofsContent, TarContent, type ExpectedContent } from './expected-content';
import { EntryTable } from './entry-table';
import { TarTree } from './tar-tree';
import { addErofsTree } from './erofs-as-expected';

/** Of decoded chunks, for each of the two images: they are read from front to back. */
const cacheBytes = 16 << 20;

/** A layer, and what is known of it. */
export interface CheckedBlob {
  file: BlobFile;
  descriptor?: ReadOptions['descriptor'];
  indexLayer?: ReadOptions['indexLayer'];
  /** What its image keeps data on. */
  devices?: readonly ByteSource[] | undefined;
}

/** What checkLayer() takes. */
interface LayerCheckOptions extends ReadOptions {
  /** The conversion dropped what would hide lower layers, for there are none. */
  bottomLayer?: boolean | undefined;
}

/** What was compared. */
export interface LayerComparison {
  /** Paths that the layer should have. */
  entries: number;
  /** Bytes of file data. */
  bytes: number;
}

/** What a layer should be like. close() it. */
interface Expectation {
  entries: EntryTable;
  content: ExpectedContent;
  close(): Promise<void>;
}

/**
 * Compares a layer with what it was converted to. The source's digest is checked as well, where there is a descriptor. Differences go
 * to `differences`; it rejects with CORRUPT and MISMATCH when one of the two can't be trusted, with USAGE when the converted one is a tar.
 */
export async function checkLayer(
  source: CheckedBlob,
  converted: CheckedBlob,
  differences: DifferenceList,
  options: LayerCheckOptions,
): Promise<LayerComparison> {
  const { descriptor, indexLayer } = converted;
  const image = await erofsSourceAt(borrow(converted.file), {
    ...options,
    cacheBytes,
    descriptor,
    indexLayer,
  });
  try {
    const expectation = await expectationOf(source, options);
    try {
      return await compare(expectation, image, differences, { ...options, devices: converted.devices });
    } finally {
      await expectation.close();
    }
  } finally {
    await image.close();
  }
}

async function compare(
  { entries, content }: Expectation,
  source: ByteSource,
  differences: DifferenceList,
  options: ReadOptions & Pick<CheckedBlob, 'devices'>,
): Promise<LayerComparison> {
  const { signal, onProgress, devices } = options;
  const image = await openErofs(source, { signal, devices });
  const report = (done: number): void => {
    onProgress?.({ phase: 'check', item: source.name, done, total: content.size, unit: 'bytes' });
  };
  const contents = new ContentComparison(content, image, differences, report);
  await new TreeComparison(image, entries, contents, differences, signal).run();
  return { entries: entries.count, bytes: contents.done };
}

async function expectationOf(source: CheckedBlob, options: LayerCheckOptions): Promise<Expectation> {
  const entries = new EntryTable(options.tmpDir);
  const opened: { close(): void | Promise<void> }[] = [entries];
  const close = async (): Promise<void> => {
    for (const resource of opened.reverse()) await resource.close();
  };
  try {
    return { entries, content: await addExpected(entries, source, opened, options), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Adds what the source says. What is opened for its content is `opened` too. */
async function addExpected(
  entries: EntryTable,
  source: CheckedBlob,
  opened: { close(): void | Promise<void> }[],
  options: LayerCheckOptions,
): Promise<ExpectedContent> {
  const { file, descriptor, indexLayer } = source;
  if (await isImage(source)) {
    const image = await erofsSourceAt(borrow(file), { ...options, cacheBytes, descriptor, indexLayer });
    opened.push(image);
    return addImage(entries, image, { ...options, devices: source.devices });
  }
  const layer = await openPlainLayer(file, options);
  opened.push(layer);
  await checkSource(source, layer, options);
  const content = asByteSource(layer.content, file.name);
  const kind = await sniffLayer(content);
  if (kind === 'erofs') return addImage(entries, content, options);
  if (kind !== 'tar' && kind !== 'empty')
    throw failure('CORRUPT', file.name, 'its content is neither a tar nor an EROFS image');
  await reading(file.name, addTar(entries, layer, file.name, options));
  return new TarContent(layer.content);
}

/** What is read as an image: a seekable blob, or a raw one. */
async function isImage({ file, descriptor, indexLayer }: CheckedBlob): Promise<boolean> {
  const kind = await layerKind(file, { descriptor, indexLayer });
  return kind === 'seekable' || kind === 'raw';
}

async function addImage(
  entries: EntryTable,
  source: ByteSource,
  { signal, devices }: ReadOptions & Pick<CheckedBlob, 'devices'>,
): Promise<ExpectedContent> {
  // Opened twice: what the walk has kept of metadata goes with it, before the other image is opened.
  await addErofsTree(entries, await openErofs(source, { signal, devices }));
  return new ErofsContent(source.size, await openErofs(source, { signal, devices }));
}

async function addTar(
  table: EntryTable,
  { content }: PlainLayer,
  name: string,
  options: LayerCheckOptions,
): Promise<void> {
  const tree = new TarTree(table, options.bottomLayer);
  for await (const entries of readTarEntries(content, options, name)) {
    for (const entry of entries) tree.add(entry);
    await table.settle();
  }
  await tree.finish();
}

/** What differs from its digest proves nothing. */
async function checkSource({ file, descriptor }: CheckedBlob, layer: PlainLayer, options: ReadOptions) {
  if (descriptor === undefined) return;
  await checkBlobDigest(file, descriptor, options, layer.sourceDigest);
  const { diffId, digest } = descriptor;
  const actual = layer.contentDigest ?? digest; // a plain tar's DiffID is its digest
  if (diffId !== undefined) checkSameDigest(`${file.name}: DiffID`, diffId, actual);
}

/** The file stays its owner's to close. */
function borrow(file: BlobFile): BlobFile {
  const { fd, offset, size, name } = file;
  return { fd, offset, size, name, read: file.read.bind(file), close: async () => undefined };
}
