import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SlowNetwork } from '../support/slow-network';
import { rounds } from '../support/rounds';
import {
  digests,
  files,
  mountFrom,
  mountsOf,
  proxy,
  read,
  umount,
  useLazyImage,
  whyNoLazyMounts,
} from '../conformance/support/lazy-image';
import { titleOf } from '../conformance/support/machine';
import { root, state, useMounts } from '../conformance/support/mounting';

// The claim: over a slow network, with small chunks and nothing here yet, what is asked for comes: no read waits for ever.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();
const count = rounds(200);
const patience = 60; // seconds; a start takes one or two
/** Of the kind on which one start of a prototype never ended. */
const network = { roundTrip: 50, bandwidth: 20e6 };

describe.skipIf(reason !== null)(titleOf('cold starts over a slow network', reason), () => {
  useLazyImage();
  let slow: SlowNetwork;
  let reference: string;
  beforeAll(async () => {
    slow = await SlowNetwork.start(proxy.host, network);
    reference = `docker://${slow.host}/image:latest`;
  });
  afterAll(() => slow.stop());

  test(`the library: every read of ${count} processes ends`, async () => {
    const script = join(__dirname, 'support/cold_reads.mjs');
    const left = Array.from({ length: count }, (_, i) => i);
    const lane = async (): Promise<void> => {
      for (let i = left.pop(); i !== undefined; i = left.pop()) {
        const args = [script, join(root, 'dist'), reference, `${i}`, `${patience}`];
        await exec(process.execPath, args).catch((error: unknown) => {
          const { stdout, stderr } = error as { stdout: string; stderr: string };
          throw new Error(`start ${i}: ${`${stdout}${stderr}`.slice(0, 10_000)}`);
        });
      }
    };
    await Promise.all([lane(), lane(), lane()]); // they wait for the network most of the time
  });

  test(`lazy mounts: every read of ${count} starts ends`, async () => {
    for (let i = 0; i < count; i++) {
      await mountFrom(reference, '--io-timeout', '3600'); // whoever waits for that is found
      const names = [0, 1, 2, 3].map((n) => (i * 7 + n * 5) % files.length);
      await inTime(
        i,
        Promise.all(
          names.map(async (n) => {
            expect(await read(files[n]!)).toBe(digests[n]);
          }),
        ),
      );
      await umount();
      rmSync(join(state, 'content'), { recursive: true });
    }
  });

  /** Rejects with all that can be known when a start hangs. */
  async function inTime(start: number, reads: Promise<unknown>): Promise<void> {
    let timer: NodeJS.Timeout;
    const watchdog = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        const log = readFileSync(join(state, 'lazy/log'), 'utf8');
        const last = JSON.stringify(proxy.deliveries.slice(-20));
        void mountsOf().then((mounts) => {
          reject(new Error(`start ${start} hangs: ${JSON.stringify(mounts)}\n${log}\n${last}`));
        }, reject);
      }, patience * 1000);
    });
    await Promise.race([reads, watchdog]).finally(() => {
      clearTimeout(timer);
    });
  }
});
