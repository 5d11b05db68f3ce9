// Serves the files of a blob over HTTP; what is asked for is read, checked and decompressed, and nothing else:
//   node examples/serve-files.mjs layer.blob descriptor.json 8080
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { openBlob, openErofs } from 'seekable-erofs-native';

const [blob, descriptor, port = '0'] = process.argv.slice(2);
const tree = await openErofs(
  await openBlob(blob, { descriptor: JSON.parse(readFileSync(descriptor, 'utf8')) }),
);

const server = createServer(async (request, response) => {
  try {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    const { type, size } = await tree.stat(path); // before the answer begins
    if (type !== 'file') throw Object.assign(new Error('no file'), { code: 'NOT_FOUND' });
    response.setHeader('content-length', size);
    await pipeline(tree.createReadStream(path), response);
  } catch (error) {
    if (response.headersSent) response.destroy();
    else response.writeHead(error.code === 'NOT_FOUND' ? 404 : 500).end(`${error.message}\n`);
  }
});
server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
