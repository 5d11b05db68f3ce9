// A web server on 127.0.0.1 that answers ranges of one file; prints its port.
//   node serve.mjs LIBRARY FILE
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';

const path = process.argv[3];
const { size, mtimeMs } = statSync(path);
const server = createServer((request, response) => {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  const [first, last] = match ? [Number(match[1]), Math.min(Number(match[2]), size - 1)] : [0, size - 1];
  response.writeHead(match ? 206 : 200, {
    etag: `"${mtimeMs}"`,
    'content-length': last - first + 1,
    ...(match && { 'content-range': `bytes ${first}-${last}/${size}` }),
  });
  createReadStream(path, { start: first, end: last, highWaterMark: 1 << 20 }).pipe(response);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
