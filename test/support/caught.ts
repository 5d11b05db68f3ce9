import { SeekableErofsError } from '../../src/errors';

/** The error of this package that `action` ends with, for tests that look at several of its members. */
export async function caught(action: () => unknown): Promise<SeekableErofsError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof SeekableErofsError) return error;
    throw error;
  }
  throw new Error('it succeeded');
}
