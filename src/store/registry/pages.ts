import { failure } from '../../errors';

/** The URL in `<URL>; rel="next"`. Another path would be another list, and another server has not been asked. */
export function nextPage(link: string | undefined, url: URL, what: string): URL | null {
  const target = /<([^<>]*)>\s*;[^,]*\brel="?next\b/i.exec(link ?? '')?.[1];
  if (target === undefined) return null;
  const next = URL.canParse(target, url.href) ? new URL(target, url) : null;
  if (next?.pathname === url.pathname && next.host === url.host) {
    next.protocol = url.protocol; // registries behind a proxy that ends TLS think that they speak plain HTTP
    return next;
  }
  throw failure('CORRUPT', what, 'its list goes on somewhere else');
}
