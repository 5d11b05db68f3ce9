import { StatusError } from '../grpc-server';

/** What can be asked about: `name`, `parent`, `kind`, `labels.KEY`; undefined where there is none. */
type Lookup = (path: readonly string[]) => string | undefined;

/** One condition of a filter. */
interface Condition {
  path: string[];
  /** Absent: it is there. */
  operator: '==' | '!=' | '~=' | null;
  value: string;
}

const word = String.raw`"(?:[^"\\]|\\.)*"|[^\s"',.=!~]+`;
const condition = new RegExp(
  String.raw`(${word})((?:\.(?:${word}))*)(?:(==|!=|~=)("(?:[^"\\]|\\.)*"|[^,]*))?(,|$)`,
  'y',
);

/**
 * A filter of containerd, as in `labels."containerd.io/x"==y,parent==z`: what matches all conditions of any filter; without filters, all.
 * INVALID_ARGUMENT for text that is none.
 */
export function parseFilters(filters: readonly string[]): (lookup: Lookup) => boolean {
  const parsed = filters.map(parseFilter);
  return (lookup) =>
    parsed.length === 0 || parsed.some((conditions) => conditions.every((one) => holds(one, lookup)));
}

function parseFilter(text: string): Condition[] {
  const conditions: Condition[] = [];
  condition.lastIndex = 0;
  for (let end = 0; end < text.length; end = condition.lastIndex) {
    const match = condition.exec(text);
    if (match === null) throw new StatusError('INVALID_ARGUMENT', `${text} is no filter`);
    const [, first = '', more = '', operator, value = ''] = match;
    const path = [
      first,
      ...[...more.matchAll(new RegExp(String.raw`\.(${word})`, 'g'))].map(([, part]) => part!),
    ];
    conditions.push({
      path: path.map(unquoted),
      operator: (operator ?? null) as Condition['operator'],
      value: unquoted(value),
    });
  }
  return conditions;
}

/** A Go string, whose escapes for what is not plain text nobody uses here. */
function unquoted(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text;
}

function holds({ path, operator, value }: Condition, lookup: Lookup): boolean {
  const found = lookup(path);
  switch (operator) {
    case null:
      return found !== undefined;
    case '==':
      return (found ?? '') === value;
    case '!=':
      return (found ?? '') !== value;
    case '~=':
      return matches(value, found ?? '');
  }
}

function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern).test(text);
  } catch {
    throw new StatusError('INVALID_ARGUMENT', `${pattern} is no pattern`);
  }
}
