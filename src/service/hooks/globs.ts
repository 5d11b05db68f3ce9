/** A pattern of names, taken apart: a character, any character but a slash, any at all, or any number of either. */
type Token = { one: string } | { any: 'name' | 'path'; many: boolean };

/** What a set of names is: those that one of the patterns matches, but none of `not` does. */
interface NameSet {
  patterns: readonly string[];
  not: readonly string[];
}

/** A pattern with `prefix` and `suffix` around it, which are no patterns. */
interface Framed {
  prefix: string;
  patterns: readonly string[];
  suffix: string;
}

/**
 * A name that `framed` matches and that is in the set; null when there can't be one. Both are walked through side by side, all their places at
 * once, so that the answer is certain and not a guess by examples; `hasSlash`: whether names can have one. `*` stands for anything but a slash, `**` for anything, `?` for one character.
 */
export function commonName(framed: Framed, { patterns, not }: NameSet, hasSlash = true): string | null {
  const literal = (text: string): Token[] => Array.from(text, (one) => ({ one }));
  const made = framed.patterns.map((pattern) => [
    ...literal(framed.prefix),
    ...tokens(pattern),
    ...literal(framed.suffix),
  ]);
  const machines = [made, patterns.map(tokens), not.map(tokens)].map((all) => new Machine(all));
  const alphabet = alphabetOf(
    [...framed.patterns, ...patterns, ...not],
    framed.prefix + framed.suffix,
  ).filter((letter) => hasSlash || letter !== '/');
  const start = machines.map((machine) => machine.start());
  const seen = new Set([start.join('|')]);
  for (let waiting: { at: string[]; name: string }[] = [{ at: start, name: '' }]; waiting.length > 0;) {
    const next: typeof waiting = [];
    for (const { at, name } of waiting) {
      const [isMade, isWanted, isExcluded] = machines.map((machine, i) => machine.accepts(at[i]!));
      if (isMade === true && isWanted === true && isExcluded !== true) return name;
      for (const letter of alphabet) {
        const then = machines.map((machine, i) => machine.step(at[i]!, letter));
        if (then[0] === '' || then[1] === '' || seen.has(then.join('|'))) continue;
        seen.add(then.join('|'));
        next.push({ at: then, name: name + letter });
      }
    }
    waiting = next;
  }
  return null;
}

/** Every character that a pattern names, and one that none does. */
function alphabetOf(patterns: readonly string[], literal: string): string[] {
  const named = new Set(Array.from(`${patterns.join('').replace(/[*?]/g, '')}${literal}/`));
  const other = Array.from('abcdefghijklmnopqrstuvwxyz0123456789').find((letter) => !named.has(letter));
  return [...named, ...(other === undefined ? [] : [other])];
}

function tokens(pattern: string): Token[] {
  return [...pattern.matchAll(/\*\*|[*?]|[^*?]/gsu)].map(([text]) => {
    if (text === '**') return { any: 'path', many: true };
    if (text === '*') return { any: 'name', many: true };
    return text === '?' ? { any: 'name', many: false } : { one: text };
  });
}

/** Patterns as places to be in: a set of places is text, `PATTERN.PLACE,…`. */
class Machine {
  constructor(private readonly patterns: readonly Token[][]) {}

  start(): string {
    return this.closed(this.patterns.map((_, i) => [i, 0]));
  }

  step(places: string, letter: string): string {
    const next: [number, number][] = [];
    for (const [pattern, place] of parsed(places)) {
      const token = this.patterns[pattern]![place];
      if (token === undefined || !fits(token, letter)) continue;
      next.push([pattern, 'any' in token && token.many ? place : place + 1]);
    }
    return this.closed(next);
  }

  accepts(places: string): boolean {
    return parsed(places).some(([pattern, place]) => place === this.patterns[pattern]!.length);
  }

  /** What may be nothing is passed as well. */
  private closed(places: [number, number][]): string {
    const all = new Set<string>();
    for (const [pattern, first] of places) {
      for (let place = first; ; place++) {
        all.add(`${pattern}.${place}`);
        const token = this.patterns[pattern]![place];
        if (token === undefined || !('any' in token) || !token.many) break;
      }
    }
    return [...all].sort().join(',');
  }
}

function fits(token: Token, letter: string): boolean {
  return 'one' in token ? token.one === letter : token.any === 'path' || letter !== '/';
}

function parsed(places: string): [number, number][] {
  if (places === '') return [];
  return places.split(',').map((place) => place.split('.').map(Number) as [number, number]);
}
