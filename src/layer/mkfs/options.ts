import type { WarningOptions } from '../../job';
import { failure } from '../../errors';
import { splitWords } from './shell-words';

/** An installed mkfs.erofs as the builder; with neither of the two, the built-in builder is used. */
export interface MkfsChoices {
  /** Build with these options of mkfs.erofs, split into words like a shell does (`""`: with none). */
  mkfs?: string | undefined;
  /** Build an index of the tar (`--tar=i`), and append the tar itself. Not together with `mkfs`. */
  mkfsTarIndex?: boolean | undefined;
}

/** How mkfs.erofs is called. */
export interface MkfsSettings {
  mode: 'full' | 'index';
  /** As the user gave them, and in words. */
  options: string;
  words: string[];
  /** Short options among the words, without their dash. */
  letters: ReadonlySet<string>;
}

/** Block size of a tar index, and so the largest one of dm-verity below it: the kernel mounts no smaller blocks than its device has. */
export const tarIndexBlockSize = 512;

const what = '--mkfs';
/** Short options whose value may be the next word, as mkfs.erofs 1.8 and 1.9 have them. */
const takesNextWord = /^-[CELTUbdmxz]$/;
const longWithoutValue = /^--[^=]+$/;

/** What `choices` ask for; null: the built-in builder. USAGE for both at once, or for options that can't be. */
export function mkfsSettings({ mkfs, mkfsTarIndex = false }: MkfsChoices): MkfsSettings | null {
  if (mkfs === undefined && !mkfsTarIndex) return null;
  if (mkfs !== undefined && mkfsTarIndex) {
    throw failure('USAGE', what, '--mkfs-tar-index has options of its own', 'give one of the two');
  }
  const options = mkfs ?? '';
  const words = splitWords(options, what);
  return { mode: mkfsTarIndex ? 'index' : 'full', options, words, letters: shortOptions(words) };
}

/** A word that is no option would be taken for the image, and overwritten. */
function shortOptions(words: string[]): Set<string> {
  const letters = new Set<string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (!/^-./.test(word) || word === '--') {
      throw failure('USAGE', what, `"${word}" is no option`, 'input and output are named by this program');
    }
    if (word[1] !== '-') letters.add(word[1]!);
    const next = words[i + 1];
    if (takesNextWord.test(word) || (longWithoutValue.test(word) && next?.startsWith('-') === false)) i++;
  }
  return letters;
}

/** Says that a layer was not built here, so that these choices had no effect. */
export function warnOfUnusedMkfs(layer: string, options: MkfsChoices & WarningOptions): void {
  if (mkfsSettings(options) === null) return;
  const flag = options.mkfs === undefined ? '--mkfs-tar-index' : what;
  options.onWarning?.(`${layer}: it is EROFS already, so ${flag} has no effect on it`);
}
