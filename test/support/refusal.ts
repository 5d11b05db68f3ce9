import { expect } from 'vitest';

import type { ErrorCode } from '../../src/errors';

/** Matches an error of this package by its code and a part of its message. */
export function refusal(code: ErrorCode, text = ''): Error {
  return expect.objectContaining({ code, message: expect.stringContaining(text) as string }) as Error;
}
