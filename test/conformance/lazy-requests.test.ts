import { describe, expect, test } from 'vitest';
import {
  mountLazily,
  noiseLayer,
  proxy,
  pushImage,
  umount,
  useLazyMounts,
  whyNoLazyMounts,
} from './support/lazily';
import { titleOf } from './support/machine';

// The claim: nothing is asked of a registry before a lazy mount returns, or by the mount itself, but what it needs.

const reason = whyNoLazyMounts();
useLazyMounts(reason !== null);

describe.skipIf(reason !== null)(titleOf('requests of a lazy mount', reason), () => {
  test('manifest and config, and a table and the metadata of each layer', async () => {
    const layers = [0, 1, 2, 3, 4].map((i) => noiseLayer(`noise-${i}`, 20));
    const reference = await pushImage(...layers);
    const asked: string[] = [];
    proxy.deny = ({ method, url = '', headers: { range } }) => {
      asked.push(kindOf(`${method} ${url}`, range));
      return null;
    };
    await mountLazily(reference);
    proxy.deny = () => null;
    const each = (what: string): string[] => Array<string>(layers.length).fill(what);
    // What may be attached to the image is asked for beside, and nobody waits for it.
    const needed = asked.filter((kind) => kind !== 'attached');
    expect(needed.sort()).toEqual(['config', 'manifest', ...each('metadata'), ...each('table')]);
    await umount();
  });
});

function kindOf(request: string, range: string | undefined): string {
  if (/^GET .*(\/referrers\/|\/manifests\/sha256-)/.test(request)) return 'attached';
  if (/^GET .*\/manifests\//.test(request)) return 'manifest';
  if (!/^GET .*\/blobs\//.test(request)) return request;
  if (range === undefined) return 'config';
  return range.startsWith('bytes=0-') ? 'metadata' : 'table';
}
