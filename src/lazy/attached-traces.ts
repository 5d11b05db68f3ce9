import { SeekableErofsError } from '../errors';
import type { TraceRead } from '../format/trace';
import { findTrace } from '../image/attached-trace';
import type { LayerSources } from './layer-sources';
import type { LazyLayerRequest } from './messages';

/** How long what was found is good for the other layers of an image, and other mounts of it; in milliseconds. */
const lifetime = 60_000;

/** Bytes of a trace that nobody asked for: some 10,000 files. Parsing it holds up all that the server does. */
const maxSize = 2 << 20;

/** The traces that are attached to the images of layers: asked for once for all layers of an image. */
export class AttachedTraces {
  private readonly found = new Map<string, Promise<readonly TraceRead[]>>();

  constructor(
    private readonly sources: LayerSources,
    private readonly onWarning: (line: string) => void,
  ) {}

  /** What the trace of a layer's image names; nothing where none is attached or wanted, or where it can't be had, which is logged. */
  readsFor(request: LazyLayerRequest): Promise<readonly TraceRead[]> {
    const { source, access, image, prefetch } = request;
    if (image === undefined || prefetch !== undefined) return Promise.resolve([]);
    const key = JSON.stringify([source, access, image.manifest]);
    const known = this.found.get(key);
    if (known !== undefined) return known;
    const finding = this.find(request, image.manifest);
    this.found.set(key, finding);
    setTimeout(() => this.found.delete(key), lifetime).unref();
    return finding;
  }

  private async find(request: LazyLayerRequest, manifest: string): Promise<readonly TraceRead[]> {
    try {
      const found = await this.sources.withStore(request, (store) => findTrace(store, manifest, maxSize));
      return found?.trace.reads ?? [];
    } catch (error) {
      const why = error instanceof SeekableErofsError ? error.message : String(error);
      this.onWarning(`attached trace: ${why}`);
      return [];
    }
  }
}
