// A mounted tree as text, to be compared with another.
import { createHash } from 'node:crypto';
import { lstatSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/**
 * One line a path: type, mode, owner, time, size, links, content. The root's time is left out: an unpacked image has the time of its unpacking
 * there, unless its layers have an entry for it.
 */
export function treeOf(root) {
  const lines = [];
  const visit = (path) => {
    const status = lstatSync(join(root, path), { bigint: true });
    const { mode, uid, gid, mtimeNs, size, nlink, rdev } = status;
    const content = status.isFile()
      ? `${size} ${nlink} ${sha256(readFileSync(join(root, path)))}`
      : status.isSymbolicLink()
        ? readlinkSync(join(root, path))
        : `${rdev}`;
    const time = path === '' ? '' : mtimeNs;
    lines.push(`/${path} ${mode.toString(8)} ${uid}:${gid} ${time} ${content}`);
    if (!status.isDirectory()) return;
    for (const name of readdirSync(join(root, path)).sort()) visit(join(path, name));
  };
  visit('');
  return lines.join('\n');
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
