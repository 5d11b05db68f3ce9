/**
 * The reference that `name` may have been meant as, where it could be the name of an image that others write without a transport
 * (`alpine:3.20`, `ghcr.io/a/b`); undefined for what looks like a file. Nothing is decided by it: a bare path is a layer.
 */
export function imageMeantBy(name: string): string | undefined {
  const match =
    /^((?:[a-z0-9][a-z0-9.-]*(?::\d+)?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(:\w[\w.-]*)?(@sha256:[0-9a-f]{64})?$/.exec(
      name,
    );
  if (match === null) return undefined;
  const [, path = '', tag, digest] = match;
  const [first = '', ...rest] = path.split('/');
  const hasHost = rest.length > 0 && /[.:]|^localhost$/.test(first);
  const isPlain = !(rest.at(-1) ?? first).includes('.');
  if (tag === undefined && digest === undefined && !hasHost && !isPlain) return undefined;
  const official = rest.length === 0 ? 'library/' : '';
  return `docker://${hasHost ? '' : `docker.io/${official}`}${name}${(tag ?? digest) === undefined ? ':latest' : ''}`;
}

/** Where the image may be that `name` was meant as, for a hint: in a registry, or in an image layout; undefined for what looks like a file. */
export function placesMeantBy(name: string): string | undefined {
  const image = imageMeantBy(name);
  return image && `${image} if it is in a registry, oci:${name} if it is an image layout`;
}
