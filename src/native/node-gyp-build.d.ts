declare module 'node-gyp-build' {
  /** Loads the addon of the package in `directory`: a prebuilt binary that fits, else build/Release. */
  function load(directory: string): unknown;
  export = load;
}
