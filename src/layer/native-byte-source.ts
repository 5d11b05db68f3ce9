import type { NativeSource } from '../native/binding';
import { fromNativeError } from '../native/native-error';
import type { ByteSource } from '../source/byte-source';

/** A native source under the interface of src/source. */
export function asByteSource(source: NativeSource, name: string): ByteSource {
  return {
    size: source.size,
    name,
    read: async (offset, length) => {
      try {
        return await source.read(offset, length);
      } catch (error) {
        throw fromNativeError(error);
      }
    },
    close: async () => {
      source.close();
    },
  };
}
