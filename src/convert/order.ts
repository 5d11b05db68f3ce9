import { failure } from '../errors';
import { escapePath } from '../format/escaped-path';
import { hotFilesOf, type HotFiles } from '../layer/hot-files';
import type { WarningOptions } from '../job';
import { readTrace } from '../image/trace-file';
import type { ConvertOptions } from './convert-options';

/** Paths that are named in a warning; of the rest, their number. */
const maxNamed = 3;

/** The order in which a conversion lays out file data: what its trace names first. */
export class Order {
  private readonly found = new Set<number>();
  private readonly built = new Set<string>();

  constructor(
    readonly files: HotFiles,
    private readonly what: string,
  ) {}

  /** The layer with this digest was built: it has these of the files. */
  add(layer: string, found: readonly number[]): void {
    this.built.add(layer);
    for (const index of found) this.found.add(index);
  }

  /**
   * Says which paths no layer has: an image changes, and its trace serves on. Nothing where some of its `layers` were not built in this run:
   * nobody knows what these have.
   */
  warnOfMissing(layers: readonly string[], { onWarning }: WarningOptions): void {
    if (!layers.every((digest) => this.built.has(digest))) return;
    const missing = this.files.paths.filter((_, index) => !this.found.has(index));
    if (missing.length === 0) return;
    const names = missing.slice(0, maxNamed).map((path) => `/${escapePath(path)}`);
    const more = missing.length > maxNamed ? ` and ${missing.length - maxNamed} more` : '';
    onWarning?.(`${this.what}: the image has no file ${names.join(', ')}${more}`);
  }
}

/** What `order` asks for; null without it. USAGE together with a builder that can't. */
export async function openOrder({ order, mkfs, mkfsTarIndex }: ConvertOptions): Promise<Order | null> {
  if (order === undefined) return null;
  if (mkfs !== undefined || mkfsTarIndex === true) {
    throw failure('USAGE', '--order', 'mkfs.erofs decides itself where data goes', 'leave one of them out');
  }
  return new Order(hotFilesOf(await readTrace(order)), order);
}
