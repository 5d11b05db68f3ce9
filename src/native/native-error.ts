import { SeekableErofsError, type ErrorCode } from '../errors';

/** What the addon throws: a plain Error with these members. */
interface NativeError extends Error {
  code?: ErrorCode;
  what?: string;
  why?: string;
  hint?: string;
}

/** The one place where an error of the addon becomes one of this package. */
export function fromNativeError(error: unknown): unknown {
  if (error instanceof SeekableErofsError) return error;
  const { code, what, why, hint } = error as NativeError;
  if (code === undefined || what === undefined || why === undefined) return error;
  return new SeekableErofsError(code, { what, why, hint });
}

/** Codes of errors that are about the bytes that were read, not about the system or the output. */
const codesOfData = new Set<ErrorCode>(['CORRUPT', 'MISMATCH', 'REFUSED', 'UNSUPPORTED']);

/** The addon knows frames and entries, but not always whose: says that they are of the file called `name`. */
function ofFile(name: string, error: unknown): unknown {
  if (!(error instanceof SeekableErofsError) || !codesOfData.has(error.code)) return error;
  const { code, what, why, hint } = error;
  if ([name, `${name}:`, `${name},`].includes(what.slice(0, name.length + 1))) return error;
  return new SeekableErofsError(code, { what: `${name}: ${what}`, why, hint, cause: error });
}

/** Waits for work that reads the file called `name`; errors about parts of it name the file as well. */
export async function reading<T>(name: string, work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw ofFile(name, error);
  });
}

type Method = (this: unknown, ...args: unknown[]) => unknown;
type Constructor = new (...args: never[]) => object;

/** The same function, but what it throws at once is an error of this package; of promises runNative() sees to that. */
export function throwingOurs<F extends (...args: never[]) => unknown>(call: F): F {
  const converted: Method = function (...args) {
    try {
      return (call as unknown as Method).apply(this, args);
    } catch (error) {
      throw fromNativeError(error);
    }
  };
  return converted as unknown as F;
}

/** The same class, but what its constructor and its methods throw at once are errors of this package. */
export function classThrowingOurs<C extends Constructor>(Native: C): C {
  const Base = Native as unknown as new (...args: unknown[]) => object;
  class Converted extends Base {
    constructor(...args: unknown[]) {
      try {
        super(...args);
      } catch (error) {
        throw fromNativeError(error);
      }
    }
  }
  const own = Native.prototype as object;
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(own))) {
    if (name === 'constructor' || typeof value !== 'function') continue;
    Object.defineProperty(Converted.prototype, name, { value: throwingOurs(value as Method) });
  }
  return Converted as unknown as C;
}
