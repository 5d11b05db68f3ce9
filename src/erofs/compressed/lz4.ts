const minMatch = 4;
const longCopy = 32; // bytes from which a library call beats a loop

/** Where a block's decoding stands. */
interface State {
  input: Uint8Array;
  out: Uint8Array;
  read: number;
  written: number;
}

/**
 * Decodes an LZ4 block (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md) into `out`, all of it. `whole`: the
 * block must end there; else the rest of it is ignored. Returns what is wrong with the block, undefined if nothing.
 */
export function decodeLz4(input: Uint8Array, out: Uint8Array, whole: boolean): string | undefined {
  const state: State = { input, out, read: 0, written: 0 };
  while (state.read < input.length) {
    const token = input[state.read++]!;
    const literals = readLength(state, token >> 4);
    const fault = copyLiterals(state, literals, whole);
    if (fault !== undefined) return fault;
    if (state.read === input.length) break; // the last sequence has no match
    if (!whole && state.written === out.length) return undefined;
    const matchFault = copyMatch(state, token & 15, whole);
    if (matchFault !== undefined) return matchFault;
    if (!whole && state.written === out.length) return undefined;
    if (state.read === input.length) return 'it ends with a match';
  }
  return state.written === out.length ? undefined : `it decodes to ${state.written} bytes, not ${out.length}`;
}

/** A length whose first four bits are `start`: 15 goes on in the bytes that follow. */
function readLength(state: State, start: number): number {
  let length = start;
  if (start < 15) return length;
  const { input } = state;
  while (state.read < input.length) {
    const more = input[state.read++]!;
    length += more;
    if (more < 255) break;
  }
  return length;
}

function copyLiterals(state: State, length: number, whole: boolean): string | undefined {
  const { input, out } = state;
  const room = out.length - state.written;
  if (whole && length > room) return `it decodes to more than ${out.length} bytes`;
  const count = Math.min(length, room);
  const from = state.read;
  if (count > input.length - from) return 'its literals are cut short';
  if (count >= longCopy) {
    out.set(input.subarray(from, from + count), state.written);
  } else {
    for (let index = 0; index < count; ++index) out[state.written + index] = input[from + index]!;
  }
  state.written += count;
  state.read += count;
  return undefined;
}

function copyMatch(state: State, start: number, whole: boolean): string | undefined {
  const { input, out } = state;
  if (state.read + 2 > input.length) return 'a match is cut short';
  const distance = input[state.read]! | (input[state.read + 1]! << 8);
  state.read += 2;
  if (distance === 0 || distance > state.written)
    return `a match ${distance} bytes back begins before the data`;
  const length = readLength(state, start) + minMatch;
  const room = out.length - state.written;
  if (whole && length > room) return `it decodes to more than ${out.length} bytes`;
  copyWithin(out, state.written, distance, Math.min(length, room));
  state.written += Math.min(length, room);
  return undefined;
}

/** Copies `count` bytes from `distance` back; they repeat when there are fewer. */
export function copyWithin(out: Uint8Array, to: number, distance: number, count: number): void {
  const from = to - distance;
  if (distance >= count && count >= longCopy) {
    out.copyWithin(to, from, from + count);
  } else if (distance === 1 && count >= longCopy) {
    out.fill(out[from]!, to, to + count);
  } else {
    for (let index = 0; index < count; ++index) out[to + index] = out[from + index]!;
  }
}
