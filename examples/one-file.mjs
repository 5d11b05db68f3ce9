// Prints one file of an image, without fetching the rest of it:
//   node examples/one-file.mjs docker://registry.example/app:erofs /etc/os-release
import { readImageFile } from 'seekable-erofs-native';

const [reference, path] = process.argv.slice(2);
const write = (bytes) => new Promise((resolve) => process.stdout.write(bytes, () => resolve(true)));
await readImageFile(reference, path, write);
