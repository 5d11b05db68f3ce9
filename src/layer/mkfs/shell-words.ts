import { failure } from '../../errors';

/** One piece of a word: quoted in one way or the other, escaped, or plain. */
const piece = /'([^']*)'|"((?:[^"\\]|\\[^])*)"|\\([^])|([^\s'"\\]+)/y;
const space = /\s+/y;
/** What a backslash escapes between double quotes; before anything else it stands for itself there. */
const escaped = /\\([$`"\\])/g;

/**
 * Splits a line into words by the quoting rules of a POSIX shell: blanks separate, `'…'` is literal, `"…"` too but for `\"` and `\\`, and a
 * backslash takes what follows as it is. Nothing is expanded. USAGE, calling the line `what`, for a quote that is not closed.
 */
export function splitWords(line: string, what: string): string[] {
  const words: string[] = [];
  let word: string | null = null; // null between words: "" is a word, nothing is not
  for (let at = 0; at < line.length;) {
    space.lastIndex = piece.lastIndex = at;
    if (space.test(line)) {
      if (word !== null) words.push(word);
      word = null;
      at = space.lastIndex;
      continue;
    }
    const match = piece.exec(line);
    if (match === null) throw failure('USAGE', what, `nothing closes or follows ${line[at]!} in: ${line}`);
    const [, single, double, character, plain] = match;
    word = (word ?? '') + (single ?? double?.replace(escaped, '$1') ?? character ?? plain!);
    at = piece.lastIndex;
  }
  return word === null ? words : [...words, word];
}
