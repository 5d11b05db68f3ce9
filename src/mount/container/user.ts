import { failure } from '../../errors';
import type { MergedTree } from '../../image/merged-tree';
import { lookUp } from '../../erofs/tree-lookup';

/** Who a container's process runs as. */
export interface ContainerUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  /** As /etc/passwd says; `/` when it doesn't. */
  home: string;
}

/** The texts of the image's /etc/passwd and /etc/group, empty where it has none. */
interface Accounts {
  passwd: string;
  group: string;
}

/** Larger files of accounts are nobody's: an image could name one of any size. */
const maxFileSize = 4 << 20;
const maxGids = 1024;
/** The highest number means "no change" to the kernel. */
const maxId = 2 ** 32 - 2;

/**
 * Reads the files of accounts out of an image: symlinks are followed inside of it only.
 * @throws CORRUPT for what is no file of accounts; as reading an image does.
 */
export async function readAccounts(tree: MergedTree): Promise<Accounts> {
  return { passwd: await readSmall(tree, '/etc/passwd'), group: await readSmall(tree, '/etc/group') };
}

async function readSmall(tree: MergedTree, path: string): Promise<string> {
  const found = await lookUp(tree, Buffer.from(path), true).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'NOT_FOUND') return null;
    throw error;
  });
  if (found === null) return '';
  const { type, size } = found.node.inode;
  if (type !== 'file') throw failure('CORRUPT', `${path} of the image`, `it is a ${type}, not a file`);
  if (size > maxFileSize)
    throw failure('CORRUPT', `${path} of the image`, `${size} bytes, the limit is ${maxFileSize}`);
  return (await tree.read(found.node, 0, size)).toString('utf8');
}

/**
 * Who `user` is: `user` or `user:group`, each a name or a number, empty for root. A name wins over a number; a number needs
 * no account.
 * @throws CORRUPT for a user or group that the image does not have.
 */
export function resolveUser(user: string, { passwd, group }: Accounts, what: string): ContainerUser {
  const [name = '', groupName, ...rest] = user.split(':');
  if (rest.length > 0) throw failure('CORRUPT', what, `User ${shown(user)} is not user:group`);
  const account = findUser(name === '' ? '0' : name, records(passwd, 7), what);
  const groups = records(group, 4);
  if (groupName !== undefined && groupName !== '') {
    return { ...account, gid: findGroup(groupName, groups, what), additionalGids: [] };
  }
  return { ...account, additionalGids: groupsOf(account.name, account.gid, groups) };
}

/** Lines with as many fields, by the way those files are read everywhere: what does not parse is not there. */
function records(text: string, fields: number): string[][] {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.trim().split(':'))
    .filter((record) => record.length >= fields - 1 && record[0] !== '' && parseId(record[2]!) !== null);
}

function findUser(
  name: string,
  users: string[][],
  what: string,
): Omit<ContainerUser, 'additionalGids'> & { name: string } {
  const uid = parseId(name);
  const record =
    users.find(([known]) => known === name) ?? users.find(([, , id]) => uid !== null && parseId(id!) === uid);
  if (record === undefined) {
    if (uid === null)
      throw failure('CORRUPT', what, `the image has no user ${shown(name)} in its /etc/passwd`);
    return { name: '', uid, gid: 0, home: '/' };
  }
  const home = record[5] ?? '';
  return {
    name: record[0]!,
    uid: parseId(record[2]!)!,
    gid: parseId(record[3]!) ?? 0,
    home: home.startsWith('/') && !home.includes('\0') ? home : '/',
  };
}

function findGroup(name: string, groups: string[][], what: string): number {
  const record = groups.find(([known]) => known === name);
  const gid = record === undefined ? parseId(name) : parseId(record[2]!);
  if (gid === null) throw failure('CORRUPT', what, `the image has no group ${shown(name)} in its /etc/group`);
  return gid;
}

/** The groups that list the user, without the one that it has already. */
function groupsOf(name: string, gid: number, groups: string[][]): number[] {
  if (name === '') return [];
  const listing = groups.filter(([, , , members = '']) => members.split(',').includes(name));
  const gids = new Set(listing.map(([, , id]) => parseId(id!)!));
  gids.delete(gid);
  return [...gids].sort((a, b) => a - b).slice(0, maxGids);
}

function parseId(text: string): number | null {
  return /^\d{1,10}$/.test(text) && Number(text) <= maxId ? Number(text) : null;
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
