/**
 * How a mount does its steps when `onStep` is told of each, before and after it: parts for mountWith(). The test may end the
 * process in it.
 */
export const watchedSteps = (onStep) => ({
  perform: async (name, step) => {
    await onStep(`before ${name}`);
    const result = await step();
    await onStep(`after ${name}`);
    return result;
  },
});

/** A kernel that mounts no files, as before Linux 6.12. */
export const loopOnly = { canMountFile: async () => false };
