import { copyWithin } from './lz4';
import { RangeDecoder } from './range-decoder';

const states = 12;
const maxPositionStates = 16;
const firstLiteralAfter = 7; // states from this on follow a match
const minMatch = 2;

// Where each group of probabilities begins in the one array of them.
const isMatch = 0;
const isRep = isMatch + states * maxPositionStates;
const isRep0 = isRep + states;
const isRep1 = isRep0 + states;
const isRep2 = isRep1 + states;
const isRep0Long = isRep2 + states;
const distanceSlots = isRep0Long + states * maxPositionStates; // four trees of 64
const distanceSpecial = distanceSlots + 4 * 64;
const distanceAlign = distanceSpecial + 128;
const matchLengths = distanceAlign + 16;
const lengthCoderSize = 2 + 2 * maxPositionStates * 8 + 256;
const repLengths = matchLengths + lengthCoderSize;
const literals = repLengths + lengthCoderSize;
const literalCoderSize = 0x300;

/** By the state before it (LZMA specification, "UpdateState_Literal"). */
function stateAfterLiteral(state: number): number {
  if (state < 4) return 0;
  return state < 10 ? state - 3 : state - 6;
}

/** One stream's decoding: the LZMA algorithm of the LZMA SDK's specification (lzma-specification.txt). */
class LzmaDecoder {
  readonly #range: RangeDecoder;
  readonly #probabilities: Uint16Array;
  readonly #contextBits: number;
  readonly #literalMask: number;
  readonly #positionMask: number;
  #state = 0;
  /** The last four distances, most recent first, each minus one. */
  #reps: [number, number, number, number] = [0, 0, 0, 0];
  #written = 0;

  constructor(
    input: Uint8Array,
    { lc, lp, pb }: Properties,
    private readonly out: Uint8Array,
  ) {
    this.#range = new RangeDecoder(input, 1);
    this.#probabilities = new Uint16Array(literals + (literalCoderSize << (lc + lp))).fill(1 << 10);
    this.#contextBits = lc;
    this.#literalMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
  }

  /** Fills the output; returns what is wrong. */
  run(whole: boolean): string | undefined {
    const { out } = this;
    while (this.#written < out.length) {
      const position = this.#written & this.#positionMask;
      if (this.#range.bit(this.#probabilities, isMatch + (this.#state << 4) + position) === 0) {
        this.#literal();
      } else {
        const fault = this.#match(position, whole);
        if (fault !== undefined) return fault;
      }
      if (this.#range.isExhausted) return 'it is cut short';
    }
    return whole && !this.#range.isFinished() ? `it does not end after ${out.length} bytes` : undefined;
  }

  #literal(): void {
    const range = this.#range;
    const probabilities = this.#probabilities;
    const { out } = this;
    const previous = this.#written > 0 ? out[this.#written - 1]! : 0;
    const context =
      ((this.#written & this.#literalMask) << this.#contextBits) + (previous >> (8 - this.#contextBits));
    const base = literals + literalCoderSize * context;
    let node = 1;
    if (this.#state >= firstLiteralAfter) {
      let expected = out[this.#written - this.#reps[0] - 1]! << 1;
      for (let same = true; same && node < 0x100; expected <<= 1) {
        const expectedBit = (expected >> 8) & 1;
        const bit = range.bit(probabilities, base + ((1 + expectedBit) << 8) + node);
        node = (node << 1) | bit;
        same = bit === expectedBit;
      }
    }
    while (node < 0x100) node = (node << 1) | range.bit(probabilities, base + node);
    out[this.#written++] = node & 0xff;
    this.#state = stateAfterLiteral(this.#state);
  }

  #match(position: number, whole: boolean): string | undefined {
    const length =
      this.#range.bit(this.#probabilities, isRep + this.#state) === 0
        ? this.#newMatch(position)
        : this.#repeatedMatch(position);
    const distance = this.#reps[0] + 1;
    if (distance > this.#written) return `a match ${distance} bytes back begins before the data`;
    const room = this.out.length - this.#written;
    if (whole && length > room) return `it decodes to more than ${this.out.length} bytes`;
    const count = Math.min(length, room);
    copyWithin(this.out, this.#written, distance, count);
    this.#written += count;
    return undefined;
  }

  #newMatch(position: number): number {
    const length = this.#length(matchLengths, position);
    const [rep0, rep1, rep2] = this.#reps;
    this.#reps = [this.#distance(length), rep0, rep1, rep2];
    this.#state = this.#state < firstLiteralAfter ? 7 : 10;
    return length;
  }

  #repeatedMatch(position: number): number {
    const range = this.#range;
    const probabilities = this.#probabilities;
    const state = this.#state;
    const [rep0, rep1, rep2, rep3] = this.#reps;
    if (range.bit(probabilities, isRep0 + state) === 0) {
      if (range.bit(probabilities, isRep0Long + (state << 4) + position) === 0) {
        this.#state = state < firstLiteralAfter ? 9 : 11;
        return 1;
      }
    } else if (range.bit(probabilities, isRep1 + state) === 0) {
      this.#reps = [rep1, rep0, rep2, rep3];
    } else if (range.bit(probabilities, isRep2 + state) === 0) {
      this.#reps = [rep2, rep0, rep1, rep3];
    } else {
      this.#reps = [rep3, rep0, rep1, rep2];
    }
    this.#state = state < firstLiteralAfter ? 8 : 11;
    return this.#length(repLengths, position);
  }

  #length(base: number, position: number): number {
    const range = this.#range;
    const probabilities = this.#probabilities;
    const low = base + 2 + position * 8;
    if (range.bit(probabilities, base) === 0) return minMatch + range.tree(probabilities, low, 3);
    const middle = low + maxPositionStates * 8;
    if (range.bit(probabilities, base + 1) === 0) return minMatch + 8 + range.tree(probabilities, middle, 3);
    return minMatch + 16 + range.tree(probabilities, base + 2 + 2 * maxPositionStates * 8, 8);
  }

  #distance(length: number): number {
    const range = this.#range;
    const probabilities = this.#probabilities;
    const slot = range.tree(probabilities, distanceSlots + Math.min(length - minMatch, 3) * 64, 6);
    if (slot < 4) return slot;
    const bits = (slot >> 1) - 1;
    const high = (2 | (slot & 1)) * 2 ** bits;
    if (slot < 14) return high + range.reverseTree(probabilities, distanceSpecial + high - slot, bits);
    const middle = range.direct(bits - 4) * 16;
    return high + middle + range.reverseTree(probabilities, distanceAlign, 4);
  }
}

interface Properties {
  /** Bits of the previous byte, and of the position, that choose a literal's probabilities; bits that choose the rest's. */
  lc: number;
  lp: number;
  pb: number;
}

/** From the byte that MicroLZMA puts in the place of the stream's first, inverted; undefined if it is none. */
function propertiesOf(first: number): Properties | undefined {
  const value = ~first & 0xff;
  const properties = { lc: value % 9, lp: Math.floor(value / 9) % 5, pb: Math.floor(value / 45) };
  return properties.pb <= 4 && properties.lc + properties.lp <= 4 ? properties : undefined;
}

/**
 * Decodes MicroLZMA (a raw LZMA stream without end marker whose first byte, always 0, holds the inverted properties) into
 * `out`, all of it. `whole`: the stream must end there, and with it the input. Returns what is wrong, undefined if nothing.
 */
export function decodeMicroLzma(input: Uint8Array, out: Uint8Array, whole: boolean): string | undefined {
  const properties = propertiesOf(input[0] ?? 0);
  if (properties === undefined || input.length < 5) return 'it is no MicroLZMA stream';
  return new LzmaDecoder(input, properties, out).run(whole);
}
