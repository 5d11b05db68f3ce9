import { withoutFiles, type HotFiles } from '../layer/hot-files';
import { pathText, type Order } from './order';

/**
 * What comes first in each layer of one image: what its order names, but for the files that a layer above hides. So each layer waits for
 * what those above it hide, which is known as soon as they are planned.
 */
export class LayerOrders {
  /** Of each layer. */
  private readonly hidden: Promise<readonly string[]>[] = [];
  private readonly settle: ((paths: readonly string[]) => void)[] = [];

  constructor(
    private readonly order: Order,
    layers: number,
  ) {
    for (let i = 0; i < layers; i++) this.hidden.push(new Promise((resolve) => this.settle.push(resolve)));
  }

  /** For the layer with this number, from 0 at the bottom; undefined when nothing is left of the order. */
  async filesOf(layer: number): Promise<HotFiles | undefined> {
    const above = new Set((await Promise.all(this.hidden.slice(layer + 1))).flat());
    const { files } = this.order;
    const left = files.paths.flatMap((path, i) => (above.has(pathText(path)) ? [i] : []));
    return left.length === files.paths.length ? undefined : withoutFiles(files, new Set(left));
  }

  /** A layer hides these of its files (by their places in filesOf()) in the layers below it. The first word on a layer counts. */
  hides(layer: number, files: HotFiles | undefined, indices: readonly number[]): void {
    const named = indices.flatMap((i) => files?.paths[i] ?? []);
    this.settle[layer]!(named.map(pathText));
  }
}
