import { Writable } from 'node:stream';

/** A stream that keeps what is written to it, as a terminal or as a file; or one that refuses every write. */
export class Capture extends Writable {
  text = '';
  readonly isTTY: boolean;

  constructor({ isTTY = false, refusal = null }: { isTTY?: boolean; refusal?: Error | null } = {}) {
    super({
      decodeStrings: false,
      write: (chunk: string, _encoding, done) => {
        if (refusal === null) this.text += chunk;
        done(refusal);
      },
    });
    this.isTTY = isTTY;
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }
}

/** A system error as Node makes them. */
export function systemError(code: string, description: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${description}, write`), { code, syscall: 'write' });
}
