/** What a token is to allow, e.g. `repository:library/alpine:pull`. */
export type Scope = string;

/** For the list of a registry's repositories, which belongs to none of them. */
export const catalogueScope: Scope = 'registry:catalog:*';

export function repositoryScope(repository: string, actions: 'pull' | 'pull,push'): Scope {
  return `repository:${repository}:${actions}`;
}

/** Each resource once, with all that is wanted of it, in a fixed order. */
export function unionOf(scopes: readonly Scope[]): Scope[] {
  const wanted = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(':');
    const [resource, actions] = [scope.slice(0, colon), scope.slice(colon + 1)];
    wanted.set(resource, new Set([...(wanted.get(resource) ?? []), ...actions.split(',')]));
  }
  return [...wanted].map(([resource, actions]) => `${resource}:${[...actions].sort().join(',')}`).sort();
}
