#!/usr/bin/env node
import '../no-inspector';
import { optimiseLate } from './v8-flags';
import { run } from './program';

/** Exits by itself rather than when the last handle is closed: an idle keep-alive connection must not delay the shell. */
async function main(): Promise<void> {
  optimiseLate();
  process.exit(await run(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr }));
}

void main();
