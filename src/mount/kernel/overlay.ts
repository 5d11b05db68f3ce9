import { failure } from '../../errors';
import { native } from '../../native/binding';
import { mountFilesystem, ShortPaths } from './fs-context';
import { callFailure, errno, errnoOf } from './system-call';

/** Paths of open folders: the kernel takes backslashes in the options of an overlay for escapes, and these have none. */
export interface UpperFolders {
  upper: string;
  work: string;
}

/** An overlay to be mounted. */
interface NewOverlay {
  /** What `mount` shows; umount knows it by that. */
  source: string;
  /** Folders, the uppermost first. */
  lower: readonly string[];
  /** Folders that only the data of files is taken from, in the order in which they are asked. */
  data?: readonly string[] | undefined;
  /** Makes it writable. Short paths without a backslash: the kernel unescapes them. */
  upper?: UpperFolders | undefined;
  target: string;
}

/** An image must not say where its files are found, as an overlay's own upper folder may: `ls` would show another tree. */
const ownOptions = [
  ['redirect_dir', 'nofollow'],
  ['metacopy', 'off'],
] as const;
/** Where there are data-only folders, files above say by metacopy and redirect where in those their data is. */
const dataOptions = [
  ['redirect_dir', 'on'],
  ['metacopy', 'on'],
] as const;
const optionsFor = (data: NewOverlay['data'] = []) => (data.length === 0 ? ownOptions : dataOptions);
const flag = { readOnly: 1, noSuid: 2, noDev: 4 } as const;
/** Options of mount(2) are one page, with the NUL. */
const pageRoom = 4095;
/** What options of mount(2) can have unescaped. */
const plainPath = /^[^,:\\]+$/;

/** Mounts an overlay, nosuid and nodev. Any number of layers is one overlay: the kernel refuses a third level of them. */
export async function mountOverlay(overlay: NewOverlay): Promise<void> {
  const paths = new ShortPaths();
  try {
    const refusal = await mountByContext(overlay, paths);
    if (refusal !== null) mountByOptions(overlay, await legacyOptions(overlay, paths), refusal);
  } finally {
    await paths.close();
  }
}

/** By Linux 6.7's `lowerdir+` and 6.8's `datadir+`, a parameter for each layer. What the kernel said when it may not know that; null when it is mounted. */
async function mountByContext(
  { source, lower, data = [], upper, target }: NewOverlay,
  paths: ShortPaths,
): Promise<unknown> {
  const parameters: [string, string?][] = [['source', source]];
  for (const folder of lower) parameters.push(['lowerdir+', await paths.shorten(folder)]);
  for (const folder of data) parameters.push(['datadir+', await paths.shorten(folder)]);
  parameters.push(...upperOptions(upper));
  if (upper === undefined) parameters.push(['ro']);
  parameters.push(...optionsFor(data).map(([key, value]): [string, string] => [key, value]));
  try {
    mountFilesystem({ type: 'overlay', parameters, readOnly: upper === undefined }, target);
    return null;
  } catch (error) {
    if (errnoOf(error) === errno.EINVAL || errnoOf(error) === errno.ENOSYS) return error;
    throw callFailure(target, error);
  }
}

function mountByOptions(overlay: NewOverlay, data: string, refusal: unknown): void {
  const { source, target, upper, data: folders = [] } = overlay;
  const hasData = folders.length > 0;
  const flags = flag.noSuid | flag.noDev | (upper === undefined ? flag.readOnly : 0);
  try {
    native.sys.mount({ source, target, type: 'overlay', flags, data });
  } catch (error) {
    // A kernel that knows `lowerdir+` had more to say there.
    const message = (refusal as Error).message;
    const isKnown = errnoOf(refusal) === errno.EINVAL && !/(lowerdir|datadir)\+/.test(message);
    if (!isKnown && hasData && errnoOf(error) === errno.EINVAL) {
      const why = 'its overlayfs has no data-only layers, which the role overlay-data needs';
      throw failure(
        'MACHINE',
        target,
        `the kernel can not mount this image: ${why}`,
        'Linux 6.8, or 6.5, has them',
      );
    }
    throw callFailure(target, isKnown ? refusal : error, 'the kernel log may say more: dmesg');
  }
}

/** Everything in one text; `/proc/self/fd/N` for all paths when it would be more than a page, or would need escapes. */
async function legacyOptions({ lower, data = [], upper }: NewOverlay, paths: ShortPaths): Promise<string> {
  const asTheyAre = optionText(lower, data, upper);
  const isPlain = [...lower, ...data].every((path) => plainPath.test(path));
  if (isPlain && Buffer.byteLength(asTheyAre) <= pageRoom) return asTheyAre;
  const shorten = async (folders: readonly string[]): Promise<string[]> => {
    const short: string[] = [];
    for (const folder of folders) short.push(await paths.shorten(folder, false));
    return short;
  };
  return optionText(await shorten(lower), await shorten(data), upper);
}

/** Data-only folders come last, each behind two colons (Linux 6.5). */
function optionText(lower: readonly string[], data: readonly string[], upper: NewOverlay['upper']): string {
  const folders = [lower.join(':'), ...data].join('::');
  const options = [['lowerdir', folders], ...upperOptions(upper), ...optionsFor(data)];
  return options.map(([key, value]) => `${key}=${value}`).join(',');
}

function upperOptions(upper: NewOverlay['upper']): [string, string][] {
  if (upper === undefined) return [];
  return [
    ['upperdir', upper.upper],
    ['workdir', upper.work],
  ];
}
