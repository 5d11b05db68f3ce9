import { expect, test, vi } from 'vitest';
import { FleetLayers } from '../../src/service/fleet-layers';
import { FleetTraffic } from '../../src/service/fleet-traffic';
import type { SharedLayer } from '../../src/convert/fleet';
import { MemoryLeases, VirtualClock } from '../support/virtual-store';

vi.setConfig({ testTimeout: 300_000 });

// The claim: leases, limits and deduplication hold for ten thousand workers. Their code is the workers' own; time and Redis are not real.

const workers = 10_000;
const images = 20_000;
const bases = 200;
const requestsPerSecond = 2000;
const bytesPerSecond = 2e9;
const layerBytes = 2e6;
const leaseTime = 30_000;

const digest = `sha256:${'0'.repeat(64)}`;
const made: SharedLayer = {
  record: {
    descriptor: { mediaType: 'm', digest, size: 1 },
    diffId: digest,
    index: null,
    uncompressedSize: 1,
  },
  place: 'docker://r.example/a',
};

test('ten thousand workers, of which a tenth die at work: each layer once, limits kept', async () => {
  const clock = new VirtualClock();
  const store = new MemoryLeases(clock);
  store.workers = workers;
  const conversions = new Map<string, number>();
  const dead = new Set<number>();
  const requests: number[] = [];
  let [taken, deaths, bytes, done, ended] = [0, 0, 0, 0, 0];
  const limits = new Map([['r.example', { requests: requestsPerSecond, bytes: bytesPerSecond }]]);
  const waiting = Array.from({ length: images }, (_, i) => i);

  const worker = async (id: number): Promise<void> => {
    let die: (dead: true) => void = () => undefined;
    const isDead = new Promise<true>((resolve) => (die = resolve));
    // What a dead worker would still renew, nobody hears.
    const line = {
      claim: store.claim.bind(store),
      finish: store.finish.bind(store),
      release: store.release.bind(store),
      forget: store.forget.bind(store),
      reserve: store.reserve.bind(store),
      renew: (name: string, holder: string, time: number) =>
        dead.has(id) ? Promise.resolve(false) : store.renew(name, holder, time),
    };
    const fleet = new FleetLayers(line, clock, {
      leaseTime,
      isPatient: true,
      onLayer: (name, how) => {
        if (how === 'taken') taken++;
        else conversions.set(name, (conversions.get(name) ?? 0) + 1);
      },
    });
    const traffic = new FleetTraffic(line, clock, limits);
    const ask = async (size: number): Promise<void> => {
      await traffic.request('r.example');
      requests.push(clock.now());
      await traffic.bytes('r.example', size);
      bytes += size;
    };
    const layer = (name: string): Promise<void> =>
      fleet.layer(name, {
        take: async () => {
          await ask(1000);
          return undefined;
        },
        make: async () => {
          await ask(layerBytes);
          await clock.sleep(2000 + 90_000 * clock.random() ** 8);
          if (id % 10 === 0 && !dead.has(id)) {
            dead.add(id);
            deaths++;
            die(true);
          }
          if (dead.has(id)) await new Promise(() => undefined); // nobody ever hears of it again
          await ask(layerBytes);
          return { made: undefined, shared: made };
        },
      });
    for (let image = waiting.pop(); image !== undefined; image = waiting.pop()) {
      // The queue gives a dead worker's job to another one.
      const job = image;
      const work = Promise.all([layer(`base-${job % bases}`), layer(`own-${job}`)]);
      if (await Promise.race([work.then(() => false), isDead])) {
        waiting.push(job);
        break;
      }
      done++;
    }
    ended++;
  };

  const all = Array.from({ length: workers }, (_, id) => worker(id));
  await clock.run(() => ended === workers);
  await Promise.all(all);
  // Jobs that the last of the dead gave back.
  const left = waiting.length;
  expect(done + left).toBe(images);
  expect(left).toBeLessThan(workers / 10);
  expect(deaths).toBeGreaterThan(workers / 20);
  expect([...conversions.values()].filter((times) => times > 1)).toEqual([]);
  expect(conversions.size).toBeGreaterThanOrEqual(done);
  expect(taken).toBeGreaterThan(images / 2);
  // In no second more than the rate and what may be asked at once.
  requests.sort((a, b) => a - b);
  let most = 0;
  for (let from = 0, to = 0; to < requests.length; to++) {
    while (requests[to]! - requests[from]! >= 1000) from++;
    most = Math.max(most, to - from + 1);
  }
  expect(most).toBeLessThanOrEqual(2 * requestsPerSecond + 10);
  const seconds = clock.now() / 1000;
  expect(requests.length).toBeLessThanOrEqual(requestsPerSecond * (seconds + 1) + 10);
  expect(bytes).toBeLessThanOrEqual(bytesPerSecond * (seconds + 1) + workers * layerBytes);
  console.log(
    `${done} images by ${workers} workers (${deaths} died) in ${Math.round(seconds)} s of virtual time: ` +
      `${conversions.size} layers converted once, ${taken} taken over, at most ${most} requests in a second, ${store.calls} calls of Redis`,
  );
});

test('while the store is away, each worker keeps to its share of a limit', async () => {
  const clock = new VirtualClock();
  const store = new MemoryLeases(clock);
  store.workers = 10;
  let isAway = false;
  const reserve: MemoryLeases['reserve'] = (...args) =>
    isAway ? new Promise(() => undefined) : store.reserve(...args);
  const limits = new Map([['r.example', { requests: 100 }]]);
  const traffic = new FleetTraffic({ reserve }, clock, limits);
  let sent = 0;
  const work = (async () => {
    await traffic.request('r.example');
    isAway = true;
    const from = clock.now();
    while (clock.now() - from < 60_000) {
      await traffic.request('r.example');
      sent++;
    }
  })();
  await clock.run();
  await work;
  expect(sent).toBeGreaterThan(20);
  expect(sent).toBeLessThanOrEqual(60 * 10);
});
