import { SeekableErofsError, failure } from '../errors';
import { escapePath } from '../format/escaped-path';
import { findTrace } from '../image/attached-trace';
import type { Image } from '../image/image-set';
import { hotFilesOf, type HotFiles } from '../layer/hot-files';
import type { WarningOptions } from '../job';
import { readTrace } from '../image/trace-file';
import type { SourceStore } from '../oci/store';
import type { ConvertOptions } from './convert-options';

/** Paths that are named in a warning; of the rest, their number. */
const maxNamed = 3;
/** The order that is attached to the image. */
const attached = 'auto';

/** A path as text that equal ones have in common. */
export function pathText(path: Uint8Array): string {
  return Buffer.from(path).toString('latin1');
}

/** The order in which a conversion lays out file data: what its trace names first. */
export class Order {
  /** Of files, by pathText(). */
  private readonly found = new Set<string>();
  private readonly built = new Set<string>();

  constructor(
    readonly files: HotFiles,
    private readonly what: string,
  ) {}

  /** The layer with this digest was built: it has these of the files. */
  add(layer: string, found: readonly Uint8Array[]): void {
    this.built.add(layer);
    for (const path of found) this.found.add(pathText(path));
  }

  /**
   * Says which paths no layer has: an image changes, and its trace serves on. Nothing where some of its `layers` were not built in this run:
   * nobody knows what these have.
   */
  warnOfMissing(layers: readonly string[], { onWarning }: WarningOptions): void {
    if (!layers.every((digest) => this.built.has(digest))) return;
    const missing = this.files.paths.filter((path) => !this.found.has(pathText(path)));
    if (missing.length === 0) return;
    const names = missing.slice(0, maxNamed).map((path) => `/${escapePath(path)}`);
    const more = missing.length > maxNamed ? ` and ${missing.length - maxNamed} more` : '';
    onWarning?.(`${this.what}: the image has no file ${names.join(', ')}${more}`);
  }
}

/** The orders of a conversion's images. */
export interface Orders {
  /** Null of an image without one, with a warning. */
  of(image: Image): Promise<Order | null>;
  warnOfMissing(images: readonly Image[], options: WarningOptions): void;
}

/** What `order` asks for; null without it. USAGE together with a builder that can't. */
export async function openOrders(source: SourceStore, options: ConvertOptions): Promise<Orders | null> {
  const { order, mkfs, mkfsTarIndex } = options;
  if (order === undefined) return null;
  if (mkfs !== undefined || mkfsTarIndex === true) {
    throw failure('USAGE', '--order', 'mkfs.erofs decides itself where data goes', 'leave one of them out');
  }
  return order === attached ? new AttachedOrders(source, options) : OneOrder.open(order);
}

/** The file that `order` names, if it names one. */
export function orderFile({ order }: Pick<ConvertOptions, 'order'>): string | undefined {
  return order === attached ? undefined : order;
}

/** One trace for all images. */
class OneOrder implements Orders {
  private constructor(private readonly order: Order) {}

  static async open(file: string): Promise<OneOrder> {
    return new OneOrder(new Order(hotFilesOf(await readTrace(file)), file));
  }

  of(): Promise<Order> {
    return Promise.resolve(this.order);
  }

  warnOfMissing(images: readonly Image[], options: WarningOptions): void {
    this.order.warnOfMissing(images.flatMap(layerDigests), options);
  }
}

/** The trace that is attached to each image. */
class AttachedOrders implements Orders {
  private readonly orders = new Map<Image, Order>();

  constructor(
    private readonly source: SourceStore,
    private readonly options: WarningOptions,
  ) {}

  async of(image: Image): Promise<Order | null> {
    const { digest } = image.descriptor;
    const found = await this.find(digest);
    if (found === null) return null;
    const order = new Order(hotFilesOf(found.trace), `trace of ${digest}`);
    this.orders.set(image, order);
    return order;
  }

  warnOfMissing(_: readonly Image[], options: WarningOptions): void {
    for (const [image, order] of this.orders) order.warnOfMissing(layerDigests(image), options);
  }

  /** A trace that is not what it should be is as good as none; a registry that fails is not: the result would depend on the day. */
  private async find(digest: string) {
    const what = `${this.source.name}@${digest}`;
    try {
      const found = await findTrace(this.source, digest);
      if (found === null)
        this.options.onWarning?.(`${what}: no trace is attached to it, so --order auto does nothing`);
      return found;
    } catch (error) {
      if (!(error instanceof SeekableErofsError) || !unusable.has(error.code)) throw error;
      this.options.onWarning?.(`${what}: its trace is of no use: ${error.message}`);
      return null;
    }
  }
}

const unusable = new Set(['CORRUPT', 'MISMATCH', 'UNSUPPORTED', 'NOT_FOUND']);

function layerDigests({ manifest }: Image): string[] {
  return manifest.layers.map(({ digest }) => digest);
}
