import { setFlagsFromString } from 'node:v8';

/**
 * Keeps V8's young generation as small as it begins. The pieces that come from a network and go to one lie outside of V8's heap, and are given
 * back when their handles are collected: in a young generation that has grown, tens of megabytes of them wait for that. Other engines
 * have no such generation.
 */
export function keepYoungGenerationSmall(): void {
  const { versions } = process;
  if (versions['bun'] === undefined && versions['deno'] === undefined)
    setFlagsFromString('--semi-space-growth-factor=1');
}
