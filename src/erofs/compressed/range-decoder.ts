const top = 1 << 24;
const modelBits = 11;
const moveBits = 5;

/** LZMA's adaptive binary range decoder. Numbers are kept as signed 32-bit ones, which engines handle best. */
export class RangeDecoder {
  #range = -1;
  #code = 0;
  #at: number;

  /** Reads from byte `at` of `input` on. Past its end there are only zeros: see isExhausted. */
  constructor(
    private readonly input: Uint8Array,
    at: number,
  ) {
    this.#at = at;
    for (let index = 0; index < 4; ++index) this.#shiftIn();
  }

  /** Whether more was read than there is: what was decoded since is wrong. */
  get isExhausted(): boolean {
    return this.#at > this.input.length;
  }

  /** Whether the decoder stands exactly where an encoder would have stopped, at the end of the input. */
  isFinished(): boolean {
    this.#normalize();
    return this.#code === 0 && this.#at === this.input.length;
  }

  /** One bit, by the probability at `index`, which adapts. */
  bit(probabilities: Uint16Array, index: number): number {
    this.#normalize();
    const probability = probabilities[index]!;
    const bound = Math.imul(this.#range >>> modelBits, probability);
    if (this.#code >>> 0 < bound >>> 0) {
      this.#range = bound;
      probabilities[index] = probability + (((1 << modelBits) - probability) >> moveBits);
      return 0;
    }
    this.#range = (this.#range - bound) | 0;
    this.#code = (this.#code - bound) | 0;
    probabilities[index] = probability - (probability >> moveBits);
    return 1;
  }

  /** `count` bits of even probability, highest first. */
  direct(count: number): number {
    let value = 0;
    for (let index = 0; index < count; ++index) {
      this.#normalize();
      this.#range >>>= 1;
      const isOne = this.#code >>> 0 >= this.#range;
      if (isOne) this.#code = (this.#code - this.#range) | 0;
      value = (value << 1) | (isOne ? 1 : 0);
    }
    return value >>> 0;
  }

  /** `count` bits, highest first, by the tree of probabilities at `base`. */
  tree(probabilities: Uint16Array, base: number, count: number): number {
    let node = 1;
    for (let index = 0; index < count; ++index) node = (node << 1) | this.bit(probabilities, base + node);
    return node - (1 << count);
  }

  /** `count` bits, lowest first, by the tree of probabilities at `base`. */
  reverseTree(probabilities: Uint16Array, base: number, count: number): number {
    let node = 1;
    let value = 0;
    for (let index = 0; index < count; ++index) {
      const bit = this.bit(probabilities, base + node);
      node = (node << 1) | bit;
      value |= bit << index;
    }
    return value;
  }

  #normalize(): void {
    if (this.#range >>> 0 < top) {
      this.#range <<= 8;
      this.#shiftIn();
    }
  }

  #shiftIn(): void {
    const next = this.#at < this.input.length ? this.input[this.#at]! : 0;
    this.#code = (this.#code << 8) | next;
    this.#at += 1;
  }
}
