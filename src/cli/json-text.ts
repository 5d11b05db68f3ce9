/** What is found one after the other: an array of a document, printed as it is found. */
type Stream = AsyncIterable<unknown>;

/** Characters of items that are given out together. */
const pieceLength = 1 << 16;

/**
 * The text of a document, in pieces. Async iterables stand for arrays, in the document itself and in what they have in them, directly or in
 * objects; each is gone through once, in the order of the text.
 */
export async function* jsonText(document: unknown): AsyncGenerator<string, void, undefined> {
  if (isStream(document)) yield* arrayText(document);
  else if (hasStream(document)) yield* objectText(document);
  else yield valueText(document);
}

/** A number of a document that JavaScript would change, as it was written there: the library's JsonNumber. */
interface ExactNumber {
  text: string;
}

/** As JSON.stringify(), with all numbers as they were written. */
export function valueText(value: unknown): string {
  if (!hasExactNumber(value)) return JSON.stringify(value);
  if (isExactNumber(value)) return value.text;
  if (Array.isArray(value)) return `[${value.map((item: unknown) => valueText(item ?? null)).join(',')}]`;
  const members = Object.entries(value as object).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${valueText(member)}`).join(',')}}`;
}

function hasExactNumber(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return isExactNumber(value) || Object.values(value).some(hasExactNumber);
}

function isExactNumber(value: unknown): value is ExactNumber {
  return typeof value === 'object' && value?.constructor.name === 'JsonNumber';
}

async function* arrayText(items: Stream): AsyncGenerator<string, void, undefined> {
  let text = '[';
  let separator = '';
  for await (const item of items) {
    text += separator;
    separator = ',\n';
    if (isStream(item) || hasStream(item)) {
      yield text;
      text = '';
      yield* jsonText(item);
    } else {
      text += valueText(item);
    }
    if (text.length < pieceLength) continue;
    yield text;
    text = '';
  }
  yield `${text}]`;
}

async function* objectText(object: object): AsyncGenerator<string, void, undefined> {
  let separator = '{';
  for (const [key, value] of Object.entries(object) as [string, unknown][]) {
    if (value === undefined) continue;
    yield `${separator}${JSON.stringify(key)}:`;
    separator = ',';
    yield* jsonText(value);
  }
  yield '}';
}

function isStream(value: unknown): value is Stream {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function hasStream(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.values(value).some(isStream);
}
