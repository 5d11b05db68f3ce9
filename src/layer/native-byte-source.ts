import { native, type NativeSource, type Slice } from '../native/binding';
import { fromNativeError } from '../native/native-error';
import { isArriving, type BlobFile } from '../oci/store';
import type { ByteSource } from '../source/byte-source';

/** A file for native code; of one that is still arriving, reads wait for what they need. */
export function nativeSourceOf(file: Slice | BlobFile): NativeSource {
  if (!('read' in file) || !isArriving(file)) return new native.Source(file);
  const arrival = new native.Arrival(file);
  const source = arrival.source();
  file.onArrival((size) => {
    if (size !== null) arrival.arrived(size);
    if (size === null || size === file.size) arrival.stop();
  });
  return source;
}

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
