// Servers and containerd are killed at random while images are pulled and read; what runs reads on, and nothing that is wrong is ever read.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { convert, exec, executing, ns, onceConnected, pull, pulling, run, runOn } from './node.mjs';
import { EXPECTED_OUTPUT, writeSharingImages } from './sample-image.mjs';

const DEFAULT_KILLS = 3;
/** A kill comes within this time of the start of a pull and a run; in milliseconds. */
const LATEST = 1500;
const PATIENCE = 20_000;
/** Longer than all kills take. */
const RUNS_ON = ['/usr/bin/sleep', '86400'];
const BIG_LINE = EXPECTED_OUTPUT.split('\n').find((line) => line.endsWith('/data/big'));
/** How it ends says what was read: what a program prints, ctr loses now and then when containerd is killed, or the machine is busy. */
const WRONG_BYTES = 9;
const READ = [
  'line=$(sha256sum /data/big) || exit 3',
  'sleep 1',
  `[ "$line" = '${BIG_LINE}' ] || exit ${WRONG_BYTES}`,
].join('\n');

/** What is killed. Readers of what the server and its keeper had get errors until they are started anew: nobody is left who could answer. */
const KILLS = {
  server: { isFatal: false, kill: ({ server }, random) => killServer(server, random) },
  containerd: { isFatal: false, kill: ({ daemon }) => killContainerd(daemon) },
  both: {
    isFatal: false,
    kill: (test, random) => Promise.all([killServer(test.server, random), killContainerd(test.daemon)]),
  },
  keeper: { isFatal: false, kill: ({ server }) => restart(server, { all: false }) },
  'server+keeper': { isFatal: true, kill: ({ server }) => restart(server, { all: true }) },
};

/**
 * As many kills as $KILLS says (3) of the server, of containerd and of both, and a third of it of the keeper and of all of `serve`, in an order and at
 * times that $KILLS_SEED decides. @param test as of node.mjs; `mountsTrees`: layers with a dm-verity tree can be mounted wherever this runs
 * @param comesUp resolves when the server's doors are open again
 */
export async function killAtRandom(test, comesUp) {
  const seed = Number(process.env.KILLS_SEED ?? randomInt(2 ** 31));
  const count = Number(process.env.KILLS ?? DEFAULT_KILLS);
  console.log(`kills by KILLS_SEED=${seed}`);
  const random = seeded(seed);
  const plan = planOf(count, random);
  const image = convert(test, 'killed', 'sharing:sleeping', '--chunk-size', '64KiB');
  pull(test, 'killed', image);
  runOn(test, 'killed', image, 'reader', ...RUNS_ON);
  for (const [round, kind] of plan.entries()) {
    const what = `round ${round} of seed ${seed}, ${kind} killed`;
    try {
      await oneKill(test, { kind, round, image, random, comesUp });
    } catch (error) {
      error.message = `${what}: ${error.message}`;
      throw error;
    }
  }
  await removeEnded(test, []);
  const names = Object.keys(KILLS).map((kind) => `${plan.filter((one) => one === kind).length} ${kind}`);
  console.log(`ok: ${plan.length} kills (${names.join(', ')})`);
}

async function oneKill(test, { kind, round, image, random, comesUp }) {
  const { isFatal, kill } = KILLS[kind];
  const other = newImage(test, round);
  dropPages(test);
  const begin = (...args) => test.daemon.begin(ns(test, 'killed'), ...args);
  const underWay = [
    begin(...pulling(test, other)),
    begin(...executing('reader', READ)),
    begin('run', '--rm', '--snapshotter', test.snapshotter, image, `k${round}`, '/bin/sh', '-c', READ),
  ];
  const outcomes = Promise.allSettled(underWay);
  await sleep(random() * LATEST);
  await kill(test, random);
  await comesUp();
  const [, read, ran] = await outcomes;
  for (const outcome of [read, ran]) expectRight(outcome);
  const isUndisturbed = kind === 'server' || kind === 'keeper';
  if (isUndisturbed) assert.equal(read.status, 'fulfilled', `a reader was disturbed: ${read.reason}`);
  dropPages(test);
  const [readOn] = await Promise.allSettled([begin(...executing('reader', READ))]);
  expectRight(readOn);
  if (isFatal) {
    await onceConnected(() => {
      removeQuietly(test, 'reader');
      runOn(test, 'killed', image, 'reader', ...RUNS_ON);
    });
    exec(test, 'killed', 'reader', READ);
  } else assert.equal(readOn.status, 'fulfilled', `the container does not read on: ${readOn.reason}`);
  await removeEnded(test, ['reader']);
  await onceConnected(() => pull(test, 'killed', other));
  assert.equal(run(test, 'killed', other), EXPECTED_OUTPUT);
  test.daemon.ctr(ns(test, 'killed'), 'images', 'remove', '--sync', other);
}

/** An image of which nothing is here yet. */
function newImage(test, round) {
  writeSharingImages(test.at('round'), { count: 0, bytes: 2 ** 20 });
  const withTree = test.mountsTrees ? ['--dm-verity'] : [];
  const flags = [['--chunk-size', '64KiB'], withTree, ['--chunk-size', '1MiB']][round % 3];
  const image = convert(test, `round${round}`, 'round:three', ...flags);
  rmSync(test.at('round'), { recursive: true });
  return image;
}

/** A program that could not read to the end is no wonder here, one that read something else is. */
function expectRight({ reason }) {
  assert.notEqual(reason?.code, WRONG_BYTES, 'wrong bytes were read');
}

/** The kernel keeps nothing of the file that the container reads. */
function dropPages(test) {
  const lines = test.daemon.ctr(ns(test, 'killed'), 'tasks', 'list').split('\n');
  const pid = lines.map((line) => /^reader\s+(\d+)\s/.exec(line)?.[1]).find((found) => found !== undefined);
  const file = join('/proc', `${pid}`, 'root', 'data/big');
  try {
    execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none'], { stdio: 'pipe' });
  } catch {
    // Of a server that is gone, its file can't be opened.
  }
}

/** Containers that were being started or ended when containerd was killed. */
async function removeEnded(test, kept) {
  const list = (kind) => test.daemon.ctr(ns(test, 'killed'), kind, 'list', '--quiet').split('\n');
  for (const deadline = Date.now() + PATIENCE; ;) {
    const names = list('containers').filter((name) => name !== '' && !kept.includes(name));
    if (names.length === 0) return;
    for (const name of names) removeQuietly(test, name);
    assert.ok(Date.now() < deadline, `containers can't be removed: ${names}`);
    await sleep(200);
  }
}

/** Of one without a task, only the rest. */
function removeQuietly(test, name) {
  for (const args of [
    ['tasks', 'delete', '--force', name],
    ['containers', 'delete', name],
  ]) {
    try {
      test.daemon.ctr(ns(test, 'killed'), ...args);
    } catch {
      // There is none, or it can't be removed yet.
    }
  }
}

/** One of its processes, or both; without sockets there is but one. */
function killServer(server, random) {
  const hasDoors = Object.keys(server.sockets).length > 0;
  const parts = hasDoors ? [['server-main'], ['door-main'], ['server-main', 'door-main']] : [['server-main']];
  for (const part of parts[Math.floor(random() * parts.length)]) server.killPart(part);
}

async function killContainerd(daemon) {
  await daemon.kill();
  await daemon.start();
}

/** As systemd restarts it. */
async function restart(server, what) {
  await server.kill(what);
  await server.start();
}

function planOf(count, random) {
  const rarely = Math.ceil(count / 3);
  const plan = Object.keys(KILLS).flatMap((kind) => {
    const often = ['server', 'containerd', 'both'].includes(kind);
    return Array.from({ length: often ? count : rarely }, () => kind);
  });
  for (let i = plan.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [plan[i], plan[j]] = [plan[j], plan[i]];
  }
  return plan;
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
