const maxShown = 200;

/** Text of a server as errors show it: short, and without anything that a terminal would act on. */
export function shown(text: string): string {
  const line = text.trim().replace(/[\r\n\t ]+/g, ' ');
  const cut = line.length > maxShown ? `${line.slice(0, maxShown)}…` : line;
  // eslint-disable-next-line no-control-regex -- those are what it is about
  return cut.replace(/[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}
