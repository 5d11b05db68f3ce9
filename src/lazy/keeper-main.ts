// The keeper's process where a mount has started it: `serve` is the same in the foreground.
import '../no-inspector';
import { keepServer, type LazyServeOptions } from './keeper';
import { logLine } from './log-line';

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
    logLine(`warning: ${line}`);
  },
}).catch((error: unknown) => {
  logLine(`error: ${(error as Error).message}`);
  process.exit(1);
});
