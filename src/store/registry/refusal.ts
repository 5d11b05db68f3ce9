import { failure, SeekableErofsError, type ErrorCode } from '../../errors';
import { jsonText, parseJson } from '../../format/json';
import { isTransientStatus, retryAfter, type HttpResponse } from '../../source/http-client';
import { TransientFault } from '../../source/transient';
import { readBeginning } from './body';

const maxText = 64 * 1024;

/** What a server says of a request that it refuses. */
export interface Refusal {
  status: number;
  /** Codes of the distribution specification, e.g. BLOB_UPLOAD_INVALID. */
  codes: string[];
  /** For an error's text: short and harmless. Empty when it says nothing. */
  text: string;
  /** Milliseconds. */
  retryAfter: number | undefined;
}

/** Reads the answer that refuses a request, with its body. */
export async function readRefusal(response: HttpResponse): Promise<Refusal> {
  const body = await readBeginning(response, maxText);
  const { codes, text } = parseErrors(body) ?? { codes: [], text: plainText(body.toString(), response) };
  return { status: response.status, codes, text, retryAfter: retryAfter(response.header('retry-after')) };
}

/** The specification's `{"errors":[{"code","message"}]}`, or what token servers say: `{"details"}`, `{"error_description"}`. */
function parseErrors(body: Buffer): { codes: string[]; text: string } | null {
  let value: unknown;
  try {
    value = parseJson(body, 'answer');
  } catch {
    return null;
  }
  const {
    errors,
    details,
    error_description: description,
    message,
  } = (value ?? {}) as Record<string, unknown>;
  const list = (Array.isArray(errors) ? errors : []).slice(0, 3) as ({
    code?: unknown;
    message?: unknown;
    detail?: unknown;
  } | null)[];
  const messages = list.map((error) =>
    [error?.message ?? error?.code, detailOf(error)].filter(isText).join(' '),
  );
  const texts = [...messages, details, description, message].filter(isText);
  return {
    codes: list.map((error) => error?.code).filter((code) => typeof code === 'string'),
    text: shown(texts.join('; ')),
  };
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** What went wrong inside of a registry is told here, if at all. */
function detailOf(error: { detail?: unknown } | null): string {
  const detail = error?.detail ?? '';
  return typeof detail === 'string' ? detail : jsonText({ detail }).slice(10, -1);
}

function plainText(body: string, response: HttpResponse): string {
  return response.header('content-type')?.startsWith('text/plain') === true ? shown(body) : '';
}

/** The error for a refusal. Network and load are transient (retry.ts). */
export function refusalError(
  what: string,
  { status, text, retryAfter }: Refusal,
  hint?: string,
): SeekableErofsError {
  const says = text === '' ? '' : `: ${text}`;
  const why = `the server answers with status ${status}${says}`;
  if (status === 507 || /no space left/i.test(text)) {
    return failure(
      'NO_SPACE',
      what,
      `the registry is full (status ${status}${says})`,
      'free some space there',
    );
  }
  if (isTransientStatus(status)) {
    return new SeekableErofsError('IO', { what, why, cause: new TransientFault(why, retryAfter) });
  }
  if (status === 413)
    return failure(
      'UNSUPPORTED',
      what,
      `too large for the registry (status 413${says})`,
      'raise the limit of the registry, or of the proxy before it',
    );
  const code: ErrorCode = status === 404 || status === 410 ? 'NOT_FOUND' : 'IO';
  return failure(code, what, why, hint);
}

/** The error for an answer that refuses a request. */
export async function answerError(
  what: string,
  response: HttpResponse,
  hint?: string,
): Promise<SeekableErofsError> {
  return refusalError(what, await readRefusal(response), hint);
}

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
