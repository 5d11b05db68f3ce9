import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    env: { TERM: 'xterm' }, // a dumb one, or none, gets no bars: tests of that say so
    // Guards against what hangs, on slow and busy machines too.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: availableParallelism(), // many tests wait for programs that they started
    coverage: { provider: 'v8', include: ['src/**'] },
  },
});
