/** The library, loaded by the first command that runs, so that `--help` and `--version` don't wait for it. */
export function library(): Promise<typeof import('../index.js')> {
  return import('../index.js');
}
