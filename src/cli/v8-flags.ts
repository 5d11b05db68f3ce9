import { setFlagsFromString } from 'node:v8';

/** Of V8's own measure of how long a function has run; its default is 132 KiB. */
const budget = 2_000_000;

/**
 * Has V8 compile a function for speed only after it has run for some 20 ms, not for one. That is done by threads beside ours, and most commands
 * run little JavaScript for long: a tree of 10,000 files was extracted with a quarter of its CPU time spent on such code.
 */
export function optimiseLate(): void {
  setFlag(`--interrupt-budget=${budget}`);
}

/**
 * Keeps V8's young generation as small as it begins. The pieces that come from a network and go to one lie outside of V8's heap, and are given
 * back when their handles are collected: in a young generation that has grown, tens of megabytes of them wait for that.
 */
export function keepYoungGenerationSmall(): void {
  setFlag('--semi-space-growth-factor=1');
}

/** Other engines have no such flags. */
function setFlag(flag: string): void {
  const { versions } = process;
  if (versions['bun'] === undefined && versions['deno'] === undefined) setFlagsFromString(flag);
}
