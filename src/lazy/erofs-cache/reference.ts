import { resolve } from 'node:path';
import { parseReference } from '../../oci/reference';

/** One way to write a reference, whatever the working folder is and whatever was left out. @throws USAGE */
export function fullReference(text: string): string {
  const reference = parseReference(text);
  if (reference.transport === 'docker') {
    const { host, repository, tag, digest } = reference;
    const end = digest === undefined ? `:${tag ?? 'latest'}` : `@${digest}`;
    return `docker://${host}/${repository}${end}`;
  }
  if (!('path' in reference)) return text;
  const name = 'reference' in reference ? `:${reference.reference}` : '';
  return `${reference.transport}:${resolve(reference.path)}${name}`;
}
