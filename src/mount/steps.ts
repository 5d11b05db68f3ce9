/** Told of every step before and after it is done; tests end the process here. */
export type OnStep = (moment: string) => void | Promise<void>;

/** Does one step. */
export async function perform<T>(
  onStep: OnStep | undefined,
  name: string,
  step: () => Promise<T>,
): Promise<T> {
  await onStep?.(`before ${name}`);
  const result = await step();
  await onStep?.(`after ${name}`);
  return result;
}
