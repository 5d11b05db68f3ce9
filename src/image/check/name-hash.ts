import { randomBytes } from 'node:crypto';

/**
 * Hashes names in folders by HalfSipHash-1-3 with a random key: a tar is a stranger's, who must not be able to choose names that collide.
 * (https://github.com/veorq/SipHash, `halfsiphash.c`.)
 */
export class NameHash {
  private v0 = 0;
  private v1 = 0;
  private v2 = 0;
  private v3 = 0;

  constructor(
    private readonly key0 = randomBytes(4).readInt32LE(0),
    private readonly key1 = randomBytes(4).readInt32LE(0),
  ) {}

  /** 32 bits. `name` is a byte string. */
  of(folder: number, name: string): number {
    this.v0 = this.key0;
    this.v1 = this.key1;
    this.v2 = 0x6c796765 ^ this.key0;
    this.v3 = 0x74656462 ^ this.key1;
    this.word(folder);
    const { length } = name;
    const whole = length & ~3;
    for (let i = 0; i < whole; i += 4) {
      const low = name.charCodeAt(i) | (name.charCodeAt(i + 1) << 8);
      this.word(low | (name.charCodeAt(i + 2) << 16) | (name.charCodeAt(i + 3) << 24));
    }
    let last = (length + 4) << 24;
    for (let i = whole; i < length; i++) last |= name.charCodeAt(i) << (8 * (i - whole));
    this.word(last);
    this.v2 ^= 0xff;
    for (let round = 0; round < 3; round++) this.round();
    return (this.v1 ^ this.v3) >>> 0;
  }

  private word(word: number): void {
    this.v3 ^= word;
    this.round();
    this.v0 ^= word;
  }

  private round(): void {
    let { v0, v1, v2, v3 } = this;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    this.v0 = v0;
    this.v1 = v1;
    this.v2 = v2;
    this.v3 = v3;
  }
}
