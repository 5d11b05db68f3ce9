import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 300_000, // a guard against what hangs, on slow and busy machines too
    maxWorkers: availableParallelism(), // many tests wait for programs that they started
    coverage: { provider: 'v8', include: ['src/**'] },
  },
});
