import { failure } from '../errors';
import { optionsOf } from '../options';
import type { Reference } from './reference';

/** Options that are about registries alone; `timeout` and `retry` are about web servers, too. */
export const registryOptionNames = [
  'authFile',
  'certDir',
  'insecureHttp',
  'concurrency',
  'retryTime',
] as const;

type RegistryOptions = Partial<Record<(typeof registryOptionNames)[number], unknown>>;

export function isInRegistry({ transport }: Reference): boolean {
  return transport === 'docker';
}

/** USAGE for options of registries in an operation on `what` that speaks to none, since none of `references` is in one. */
export function refuseRegistryOptions(
  what: string,
  references: readonly Reference[],
  options: RegistryOptions,
): void {
  if (references.some(isInRegistry)) return;
  const name = registryOptionNames.find((known) => options[known] !== undefined && options[known] !== false);
  if (name === undefined) return;
  const hint = `leave out --${optionsOf.convertImage[name].flag}`;
  throw failure('USAGE', what, 'no registry (docker://) is spoken to', hint);
}
