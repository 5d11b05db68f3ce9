// Claim: the same as encode.mjs without dm-verity, where the reference is at its best.
import { claim as encodeClaim } from './encode.mjs';

export { needs } from './encode.mjs';

export const claim = (context) => encodeClaim(context, { verity: false });
