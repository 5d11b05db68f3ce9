import { failure } from '../errors';

/** Work that several readers wait for. It goes on while one of them does; when the last has given up, its signal is aborted. */
export class SharedWork<T> {
  /** The outcome, for whoever does not count as a reader. */
  readonly result: Promise<T>;
  private readonly controller = new AbortController();
  private readers = 0;

  constructor(work: (signal: AbortSignal) => Promise<T>) {
    this.result = work(this.controller.signal);
    this.result.catch(() => undefined); // with nobody waiting any more, nobody is there to handle it
  }

  /** Whether nobody waits any more: then it may end in CANCELLED, and is not to be joined. */
  get isAbandoned(): boolean {
    return this.controller.signal.aborted;
  }

  /** Waits for the outcome. CANCELLED, about `name`, as soon as `signal` is aborted; the other readers don't notice. */
  async wait(name: string, signal?: AbortSignal): Promise<T> {
    this.readers++;
    try {
      return await unlessAborted(this.result, name, signal);
    } finally {
      if (--this.readers === 0) this.controller.abort();
    }
  }

  /** Aborts the work for all. */
  cancel(): void {
    this.controller.abort();
  }
}

export function unlessAborted<T>(result: Promise<T>, name: string, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) return result;
  return new Promise((resolve, reject) => {
    const cancel = (): void => {
      reject(failure('CANCELLED', name, 'cancelled'));
    };
    if (signal.aborted) {
      cancel();
      return;
    }
    result.then(resolve, reject).finally(onAbort(signal, cancel));
  });
}

const listenersOf = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `listener` when `signal` is aborted, unless the function that it returns is called before. A long read waits for many chunks under
 * one signal, and Node takes more than ten listeners of one for a leak: so there is one for all of them.
 */
function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const listeners = listenersOf.get(signal) ?? listenTo(signal);
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const listeners = new Set<() => void>();
  listenersOf.set(signal, listeners);
  const callAll = (): void => {
    for (const listener of listeners) listener();
  };
  signal.addEventListener('abort', callAll, { once: true });
  return listeners;
}
