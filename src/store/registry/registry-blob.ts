import { failure } from '../../errors';
import { parseReference } from '../../oci/reference';
import type { Descriptor } from '../../oci/types';
import { checkOptions } from '../../options';
import type { ByteSource } from '../../source/byte-source';
import type { StoreOptions } from './options';
import { RegistrySource } from './source';

/**
 * A blob of a registry's repository (`docker://host/repo`) for random access, to be given to openBlob() with the same descriptor: reads fetch
 * the bytes that they ask for, which are not checked here. Closing it ends the connection.
 * @throws USAGE for what names no repository; reads reject with NOT_FOUND, MISMATCH and IO.
 */
export async function openRegistryBlob(
  repository: string,
  descriptor: Descriptor,
  options: StoreOptions = {},
): Promise<ByteSource> {
  checkOptions('openRegistryBlob', options);
  const reference = parseReference(repository);
  if (reference.transport !== 'docker') {
    throw failure('USAGE', repository, 'it names no repository of a registry', 'docker://host/repo');
  }
  const store = await RegistrySource.open(reference, options);
  const blob = await store.openBlob(descriptor);
  return {
    name: blob.name,
    size: blob.size,
    read: (offset, length, signal) => blob.read(offset, length, signal),
    close: async () => {
      await blob.close();
      await store.close();
    },
  };
}
