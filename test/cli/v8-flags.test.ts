import { setFlagsFromString } from 'node:v8';
import { afterEach, expect, test, vi } from 'vitest';
import { optimiseLate } from '../../src/cli/v8-flags';

vi.mock('node:v8', () => ({ setFlagsFromString: vi.fn() }));
afterEach(() => {
  vi.unstubAllGlobals();
  vi.mocked(setFlagsFromString).mockClear();
});

test('V8 compiles functions for speed later than by itself', () => {
  optimiseLate();
  expect(setFlagsFromString).toHaveBeenCalledExactlyOnceWith(
    expect.stringMatching(/^--interrupt-budget=\d{7}$/),
  );
});

test.each(['bun', 'deno'])('%s is asked for nothing', (engine) => {
  vi.stubGlobal('process', { ...process, versions: { ...process.versions, [engine]: '1.0' } });
  optimiseLate();
  expect(setFlagsFromString).not.toHaveBeenCalled();
});
