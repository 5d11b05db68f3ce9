// Claim: as convert-gzip.mjs for layers that zstd compressed.
import { packedImage } from './convert-gzip.mjs';

export const title = 'convert: image of 6 tar.zst layers → seekable blobs with dm-verity';

export const cases = (context) => packedImage(context, 'zstd');
