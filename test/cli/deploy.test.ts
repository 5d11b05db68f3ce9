import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(__dirname, '../..');

interface Container {
  args: string[];
  volumeMounts: { name: string; mountPath: string; mountPropagation?: string }[];
}
interface DaemonSet {
  kind: string;
  spec: {
    selector: { matchLabels: object };
    template: {
      metadata: { labels: object };
      spec: { containers: Container[]; volumes: { name: string }[] };
    };
  };
}

test('the DaemonSet runs serve with flags that it has, on volumes that are there, and what it shows is seen by the node', () => {
  const { kind, spec } = parse(readFileSync(join(root, 'deploy/daemonset.yaml'), 'utf8')) as DaemonSet;
  const { metadata, spec: pod } = spec.template;
  const [{ args, volumeMounts }] = pod.containers as [Container];
  expect([kind, metadata.labels]).toEqual(['DaemonSet', spec.selector.matchLabels]);
  expect(pod.volumes.map(({ name }) => name).sort()).toEqual(volumeMounts.map(({ name }) => name).sort());
  const cache = args.find((arg) => arg.startsWith('--erofs-cache='))!.split('=')[1]!;
  const shown = volumeMounts.find(({ mountPath }) => cache.startsWith(`${mountPath}/`));
  expect(shown?.mountPropagation).toBe('Bidirectional');
  const command = [join(root, 'dist/cli/main.js'), ...args, '--print-config', 'systemd'];
  expect(execFileSync(process.execPath, command, { encoding: 'utf8' })).toContain(`--erofs-cache ${cache}`);
});
