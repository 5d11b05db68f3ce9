// The CPU seconds of inflating a gzip file and of hashing what comes out, each alone (bench/native/inflate.cc).
//   node inflate.mjs ADDON FILE
import { createRequire } from 'node:module';

const [inflate, contentSha256] = createRequire(import.meta.url)(process.argv[2])(process.argv[3]);
console.log(JSON.stringify({ inflate, contentSha256 }));
