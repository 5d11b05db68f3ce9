declare module 'node-gyp-build' {
  /** Loads the addon of the package in `directory`: that in build/Release, else a prebuilt binary that fits. */
  function load(directory: string): unknown;
  export = load;
}
