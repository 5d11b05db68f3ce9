// Runs after tsc: writes the manual page of the program in build-dist.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(join(root, 'build-dist', 'cli', 'main.js'));
const { describeProgram } = require('./describe-program.js');
const { manPage } = require('./man-page.js');
const { wholeProgram } = require('./program.js');

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
mkdirSync(join(root, 'man'), { recursive: true });
writeFileSync(join(root, 'man', 'seekable-erofs.1'), manPage(describeProgram(await wholeProgram()), version));
