import type { LeftOut } from '../companions';
import type { ConvertResult } from '../convert-result';

/** A batch in numbers. */
export interface BatchSummary {
  /** Images converted in this run, done in an earlier one, and failed. */
  done: number;
  skipped: number;
  failed: number;
  /** Layers of the images of this run … */
  layers: number;
  /** … and how many different ones they are. */
  distinctLayers: number;
  /** Bytes of the images' layers before and after, one that several images have counted for each. */
  bytesIn: number;
  bytesOut: number;
  /** Bytes of these that exist once, and were written once, for several images. */
  bytesSaved: number;
  seconds: number;
  /** What the images' indexes have beside images, and was not carried over. */
  leftOut: LeftOut;
}

/** Adds up what the conversions of a batch did. */
export class BatchTally {
  private layers = 0;
  private bytesIn = 0;
  private bytesOut = 0;
  private readonly leftOut: LeftOut = { attestations: 0, artifacts: 0 };
  /** Sizes by digest (DiffID where there is none), of what was written. */
  private readonly written = new Map<string, number>();

  add({ manifests, summary }: ConvertResult): void {
    this.bytesIn += summary.bytesIn;
    this.leftOut.attestations += summary.leftOut.attestations;
    this.leftOut.artifacts += summary.leftOut.artifacts;
    const stored = manifests
      .flatMap((image) => image.layers)
      .flatMap(({ device, ...layer }) => (device === undefined ? [layer] : [device, layer]));
    const layers = new Map(stored.map(({ digest, diffId, size }) => [digest ?? diffId, size]));
    this.layers += layers.size;
    for (const [digest, size] of layers) {
      this.bytesOut += size;
      this.written.set(digest, size);
    }
  }

  summary(counts: Pick<BatchSummary, 'done' | 'skipped' | 'failed'>, seconds: number): BatchSummary {
    const { layers, bytesIn, bytesOut, written, leftOut } = this;
    const distinct = [...written.values()].reduce((sum, size) => sum + size, 0);
    const saved = bytesOut - distinct;
    return {
      ...counts,
      layers,
      distinctLayers: written.size,
      bytesIn,
      bytesOut,
      bytesSaved: saved,
      seconds,
      leftOut,
    };
  }
}
