export function watchedSteps(onStep: (moment: string) => void | Promise<void>): {
  perform: <T>(name: string, step: () => Promise<T>) => Promise<T>;
};
export const loopOnly: { canMountFile: () => Promise<boolean> };
