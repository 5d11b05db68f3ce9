import { expect, test } from 'vitest';
import type { LazyStatus } from '../../src/lazy/messages';
import { LazyMetrics } from '../../src/lazy/metrics';
import { parseListen } from '../../src/listening';
import { serveMetrics } from '../../src/metrics-server';

const status: LazyStatus = {
  holders: ['mounts'],
  key: 'key',
  diffId: 'sha256:aa',
  chunks: 10,
  present: 3,
  bytesPresent: 300,
  bytesFetched: 150,
  requests: 2,
  prefetchedRead: 4,
  prefetchedUnread: 1,
  waiting: 1,
  source: 'docker://host/app',
  p50: null,
  p99: null,
  reads: 7,
  bytesRead: 700,
  hits: 5,
  bytesHit: 500,
};

test('counts by kind and source, the layers as they are now, latencies as a histogram', async () => {
  const metrics = await LazyMetrics.create(() => Promise.resolve([status]));
  metrics.onRequest({ urgency: 'demand', source: 'docker://host/app' });
  metrics.onFetched({ urgency: 'demand', source: 'docker://host/app', bytes: 100 });
  metrics.onFetched({ urgency: 'background', source: 'docker://host/app', bytes: 50 });
  metrics.onDemand(30);
  metrics.onFault('frame');
  await metrics.text();
  const lines = (await metrics.text()).split('\n'); // the second time: nothing is counted twice
  for (const line of [
    'requests_total{kind="demand",source="docker://host/app"} 1',
    'fetched_bytes_total{kind="demand",source="docker://host/app"} 100',
    'fetched_bytes_total{kind="background",source="docker://host/app"} 50',
    'errors_total{kind="frame"} 1',
    'errors_total{kind="timeout"} 0',
    'demand_seconds_bucket{le="0.025"} 0',
    'demand_seconds_bucket{le="0.05"} 1',
    'present_bytes{layer="sha256:aa"} 300',
    'cache_hits_total{layer="sha256:aa"} 5',
    'prefetched_read_chunks{layer="sha256:aa"} 4',
    'prefetched_unread_chunks{layer="sha256:aa"} 1',
    'waiting_reads{layer="sha256:aa"} 1',
    'layers 1',
  ]) {
    expect(lines).toContain(`seekable_erofs_lazy_${line}`);
  }
});

test('GET /metrics and /healthz are answered, and nothing else', async () => {
  const metrics = await LazyMetrics.create(() => Promise.resolve([status]));
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const stop = await serveMetrics(`127.0.0.1:${port}`, metrics);
  const ask = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${port}${path}`, { method });
  try {
    const answer = await ask('/metrics');
    expect(answer.headers.get('content-type')).toContain('text/plain');
    expect(await answer.text()).toContain('# TYPE seekable_erofs_lazy_layers gauge');
    expect([(await ask('/')).status, (await ask('/metrics', 'POST')).status]).toEqual([404, 405]);
    expect(await (await ask('/healthz')).text()).toBe('ok\n');
    await expect(serveMetrics(`127.0.0.1:${port}`, metrics)).rejects.toMatchObject({ code: 'IO' });
  } finally {
    stop();
  }
});

test.each(['9100', ':9100', 'host', 'host:99999', 'http://host:1', 'host:1/x'])('no address: %s', (text) => {
  expect(() => parseListen(text)).toThrow('it is no address with a port');
});

test('addresses', () => {
  expect(parseListen('127.0.0.1:9100')).toEqual({ host: '127.0.0.1', port: 9100 });
  expect(parseListen('[::1]:0')).toEqual({ host: '::1', port: 0 });
});
