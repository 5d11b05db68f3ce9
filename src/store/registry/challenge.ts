/** What a server wants to be told with a request (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** Lower case. */
  scheme: string;
  /** By lower-case name. */
  parameters: ReadonlyMap<string, string>;
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameter = new RegExp(`(${token})[ \\t]*=[ \\t]*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))`, 'y');
const scheme = new RegExp(token, 'y');
/** Credentials of schemes that are not ours, like `Negotiate YII…==`. */
const opaque = /[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)/y;

/**
 * The challenges in WWW-Authenticate headers: several may be in one header, separated by the commas that separate parameters too. What
 * fits no grammar is skipped.
 */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  return headers.flatMap(parseHeader);
}

function parseHeader(header: string): Challenge[] {
  const found: { scheme: string; parameters: Map<string, string> }[] = [];
  let position = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const result = pattern.exec(header);
    if (result !== null) position = pattern.lastIndex;
    return result;
  };
  while (position < header.length) {
    const pair = found.length === 0 ? null : match(parameter);
    if (pair !== null) {
      const value = pair[2]?.replace(/\\(.)/g, '$1') ?? pair[3]!;
      found.at(-1)!.parameters.set(pair[1]!.toLowerCase(), value);
      continue;
    }
    const name = match(scheme);
    if (name === null) position++;
    else {
      found.push({ scheme: name[0].toLowerCase(), parameters: new Map() });
      match(opaque);
    }
  }
  return found;
}
