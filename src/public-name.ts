/**
 * The one place that makes names for people out of references and URLs: what errors, warnings, progress and documents show. User names,
 * passwords, queries and fragments are left out: they may be secrets, and are none of what tells one place from another.
 */

/** Where a reference or a URL begins; browsers read `https:/host` and `https:\\host` alike, and what follows a scheme may stand alone. */
const beginning = /\b(?:https?|docker):[\\/]*|\b[a-z][a-z0-9+.-]{0,30}:\/\/|(?<=^|\s)\/\/(?=[^/\s]*@)/i;
/** A password may have spaces in it. */
const urls = new RegExp(`(${beginning.source})((?:[^\\s/@]*:[^/\\n]*@)?\\S*)`, 'gi');
/** Of an image by digest: what stands before it is no user's name. */
const digest = /@[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]{32,}$/i;

/** How a reference is called; one that can't be parsed, too. A path stays as it is. */
export function publicName(reference: string): string {
  const start = new RegExp(`^(?:${beginning.source})`, 'i').exec(reference)?.[0];
  return start === undefined ? withoutSecrets(reference) : start + publicPart(reference.slice(start.length));
}

/** A text for people in which each URL is called by its name. */
export function withoutSecrets(text: string): string {
  return text.replace(urls, (_, start: string, rest: string) => start + publicPart(rest));
}

/** What follows `https://`, without user, password, query and fragment. */
function publicPart(rest: string): string {
  const [address = ''] = rest.split(/[?#](?!…)/, 1); // a name stays as it is
  const more = address.length < rest.length ? '?…' : '';
  const vouched = digest.exec(address)?.[0] ?? '';
  const [authority = ''] = address.slice(0, address.length - vouched.length).split(/[\\/]/, 1);
  const path = address.slice(authority.length);
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  // A password with a slash in it ends what looks like the host too early.
  const isOdd = !/^(?:\[[^\]]*\]|[^:]*)(?::\d*)?$/.test(host) && path.replace(digest, '').includes('@');
  return isOdd ? '…' : `${host}${path}${more}`;
}
