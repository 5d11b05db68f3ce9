// The keeper's process where a mount has started it: `serve` is the same in the foreground.
import { keepServer, type LazyServeOptions } from './keeper';

const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    stop.abort();
  });
}
keepServer({
  ...(JSON.parse(process.argv[2]!) as LazyServeOptions),
  signal: stop.signal,
  onWarning: (line) => {
    console.error(`warning: ${line}`);
  },
}).catch((error: unknown) => {
  console.error(`error: ${(error as Error).message}`);
  process.exit(1);
});
