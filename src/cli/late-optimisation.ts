import { setFlagsFromString } from 'node:v8';

/** Of V8's own measure of how long a function has run; its default is 132 KiB. */
const budget = 2_000_000;

/**
 * Has V8 compile a function for speed only after it has run for some 20 ms, not for one. That is done by threads beside ours, and most commands
 * run little JavaScript for long: a tree of 10,000 files was extracted with a quarter of its CPU time spent on such code. Other engines have
 * no such flag.
 */
export function optimiseLate(): void {
  const { versions } = process;
  if (versions['bun'] === undefined && versions['deno'] === undefined)
    setFlagsFromString(`--interrupt-budget=${budget}`);
}
