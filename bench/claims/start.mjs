// Claim: the program and the library are there at once.
import { pathToFileURL } from 'node:url';

export const title = 'start: seconds of a whole process';

export function* cases(context) {
  const node = process.execPath;
  const program = (key, label, argv) => ({ key, label, argv });
  yield {
    name: 'start',
    input: { label: 'none', bytes: 0 },
    runs: Math.max(10, context.runs),
    contestants: [
      program('ours', 'seekable-erofs --version', [node, context.program, '--version']),
      program('help', 'seekable-erofs --help', [node, context.program, '--help']),
      program('import', "import 'seekable-erofs-native'", [
        node,
        '--input-type=module',
        '-e',
        `await import('${pathToFileURL(context.entry)}')`,
      ]),
      program('node', 'node -e 0', [node, '-e', '0']),
    ],
  };
}
