// node scripts/replace.mjs MADE FOLDER: makes FOLDER what MADE is, and removes MADE. Each file takes its place at once and those that are the
// same stay, so that a program that runs from FOLDER never finds half a file, or none.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

const [made, folder] = process.argv.slice(2);

function filesOf(path) {
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true }).filter((name) => !statSync(join(path, name)).isDirectory());
}

function isSame(name) {
  const [one, other] = [join(made, name), join(folder, name)];
  return existsSync(other) && readFileSync(one).equals(readFileSync(other));
}

const now = new Date();
const names = new Set(filesOf(made));
for (const name of names) {
  const target = join(folder, name);
  // The time of the last build tells what is newer.
  if (isSame(name)) utimesSync(target, now, now);
  else {
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(made, name), target);
  }
}
for (const name of filesOf(folder)) if (!names.has(name)) rmSync(join(folder, name));
rmSync(made, { recursive: true });
