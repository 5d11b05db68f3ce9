import { TraceRecorder, type RecordedLayer, type RecordRequest } from './trace-recorder';

const flushInterval = 30_000; // milliseconds

/** The traces that mounts have asked for, each written now and then, and when the layers of its mount go. */
export class Recordings {
  private readonly recorders = new Map<string, Promise<TraceRecorder>>();
  /** Key of a layer → the recording that it belongs to. */
  private readonly byLayer = new Map<string, string>();
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly onWarning: (line: string) => void) {
    this.timer = setInterval(() => void this.flush(this.recorders.keys()), flushInterval);
    this.timer.unref();
  }

  /** `goesOn`: another server began it. */
  async add(request: RecordRequest, key: string, layer: RecordedLayer, goesOn: boolean): Promise<void> {
    const known = this.recorders.get(request.id) ?? TraceRecorder.open(request, goesOn);
    this.recorders.set(request.id, known);
    this.byLayer.set(key, request.id);
    (await known).add(layer);
  }

  /** Writes the traces of layers that go, while they can be read. */
  async end(keys: readonly string[]): Promise<void> {
    const ids = new Set(keys.flatMap((key) => this.byLayer.get(key) ?? []));
    await this.flush(ids);
    for (const key of keys) this.byLayer.delete(key);
    for (const id of ids) this.recorders.delete(id);
  }

  /** Writes all, and begins nothing any more. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.flush(this.recorders.keys());
  }

  private async flush(ids: Iterable<string>): Promise<void> {
    for (const id of [...ids]) {
      const recorder = this.recorders.get(id);
      await recorder
        ?.then((opened) => opened.flush())
        .catch((error: unknown) => {
          this.onWarning(`trace: ${(error as Error).message}`);
        });
    }
  }
}
