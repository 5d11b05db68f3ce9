import { createHash } from 'node:crypto';
import type { ImageLayer } from '../image/image-layers';
import type { ReadOptions } from '../layer/decode';
import { verityOf } from '../lazy/plain-verity';
import type { VerityMode } from './plan';
import type { PreparedLayer } from './source-layer';
import type { MountState } from './state';

/** A name for all that the checks of a layer depend on. */
export function voucherOf(
  { descriptor, diffId, index }: ImageLayer,
  mode: VerityMode,
  { allowUnverified = false }: ReadOptions,
): string {
  const { mediaType, digest, size, annotations = {} } = descriptor;
  const said = Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1));
  const parts = [mediaType, digest, size, said, diffId, index?.descriptor.digest, mode, allowUnverified];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Under which names a layer was checked well enough for `mode`: a whole tree is more than nobody asks for. */
export function vouchersOf(layer: ImageLayer, mode: VerityMode, options: ReadOptions): string[] {
  const modes: VerityMode[] = mode === 'none' ? ['none', 'userspace'] : [mode];
  return modes.map((known) => voucherOf(layer, known, options));
}

/** What another mount decoded, when it was checked against this descriptor too: the DiffID alone says nothing of trees and tables. */
export async function cachedLayer(
  state: MountState,
  key: string,
  vouchers: readonly string[],
  mode: VerityMode,
): Promise<PreparedLayer | null> {
  for (const voucher of vouchers) {
    const vouched = await state.readVouched(key, voucher);
    if (vouched === null || !(await state.hasContent(key))) continue;
    const { unvouchedTree, verity } = vouched;
    const files = [state.contentFile(key)];
    if (mode !== 'kernel') return { files, verity: null, unvouchedTree, isFromDisk: true };
    if (verity != null) return { files, verity: verityOf(verity), unvouchedTree, isFromDisk: true };
  }
  return null;
}
