import type { ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { titleOf, whyWithout } from '../conformance/support/machine';
import { documentOf } from '../e2e/run-cli';
import { useFleet } from '../support/fleet';
import { rounds } from '../support/rounds';
import { count } from './support/figures';

// The claim: of a storm of events nothing is lost that was accepted, what is forged is refused, and memory stays flat, storm after storm.

vi.setConfig({ testTimeout: 600_000, hookTimeout: 60_000 });

const reason = whyWithout('redis-server');
const events = rounds(5000);
/** Milliseconds over which a storm is sent. */
const duration = rounds(10_000);
const storms = 3;
const senders = 40;
const tooLarge = 3 << 20;

const fleet = useFleet(reason);
const { secret } = fleet;

/** Of a process, in MiB: what it has now, or had at most. */
const memoryOf = ({ pid }: ChildProcess, key: 'VmRSS' | 'VmHWM'): number =>
  Math.round(
    Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid!}/status`, 'utf8'))![1]) /
      1024,
  );

type Kind = 'right' | 'forged' | 'huge';
const kindOf = (at: number): Kind => (at % 20 === 7 ? 'forged' : at % 100 === 3 ? 'huge' : 'right');

/** Each image is told of twice. */
const imageOf = (storm: number, at: number): string =>
  `docker://r.example/app-${at % 50}:v${storm}-${at >> 1}`;

function bodyOf(kind: Kind, image: string): string {
  if (kind === 'huge') return JSON.stringify({ image: 'x'.repeat(tooLarge) });
  const digest = `sha256:${createHmac('sha256', 'digest').update(image).digest('hex')}`;
  return JSON.stringify({ image, digest });
}

function headersOf(kind: Kind, at: number, body: string): Record<string, string> {
  if (kind === 'forged') return { 'x-hub-signature-256': `sha256=${'0'.repeat(64)}` };
  if (at % 3 === 0) return { authorization: `Bearer ${secret}` };
  return { 'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` };
}

/** The status; 0 where the connection was cut off while it was sent. */
async function post(url: string, body: string, headers: Record<string, string>): Promise<number> {
  try {
    const response = await fetch(url, { method: 'POST', body, headers });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

/** What was answered to a storm, and which images were accepted. */
async function sendStorm(url: string, storm: number) {
  const statuses = {
    right: new Map<number, number>(),
    forged: new Map<number, number>(),
    huge: new Map<number, number>(),
  };
  const accepted = new Set<string>();
  const start = performance.now();
  let next = 0;
  let busy = 0;
  const sender = async (): Promise<void> => {
    for (let at = next++; at < events; at = next++) {
      await sleep(Math.max(0, start + (at * duration) / events - performance.now()));
      const [kind, image] = [kindOf(at), imageOf(storm, at - (at % 2))];
      const body = bodyOf(kind, image);
      const send = () => post(url, body, headersOf(kind, at, body));
      let status = await send();
      for (; status === 503; status = await send()) busy++;
      statuses[kind].set(status, (statuses[kind].get(status) ?? 0) + 1);
      if (kind === 'right' && status === 202) accepted.add(image);
    }
  };
  await Promise.all(Array.from({ length: senders }, sender));
  return { statuses, accepted, busy, milliseconds: Math.round(performance.now() - start) };
}

describe(titleOf('a hook server', reason), { skip: reason !== null }, () => {
  test('in storms of events, half of them told twice, some forged, some huge', async (context) => {
    const source = 'docker://r.example/{repo}:{tag}';
    const rule = { source, destination: 'docker://r.example/erofs/{repo}:{tag}', 'not-repos': 'erofs/**' };
    const policy = await fleet.writePolicy('storm', [rule]);
    const flags = ['--listen', '127.0.0.1:0', '--policy', policy, '--queue', fleet.redis.url];
    const { url, child } = await fleet.serve('hooks', ...flags);
    count(context, 'MiB at the start', memoryOf(child, 'VmRSS'));
    const accepted = new Set<string>();
    const memory: number[] = [];
    for (let storm = 1; storm <= storms; storm++) {
      const answer = await sendStorm(url, storm);
      const { right, forged, huge } = answer.statuses;
      expect([...right.keys()]).toEqual([202]);
      expect([...forged.keys()]).toEqual([401]);
      expect([...huge.keys()].filter((status) => status !== 413 && status !== 0)).toEqual([]);
      for (const image of answer.accepted) accepted.add(image);
      memory.push(memoryOf(child, 'VmRSS'));
      count(context, 'events', events);
      count(context, 'forged', forged.get(401));
      count(context, 'huge', huge.get(413) ?? 0);
      count(context, 'huge, cut off', huge.get(0) ?? 0);
      count(context, 'told to come again', answer.busy);
      count(context, `milliseconds of storm ${storm}`, answer.milliseconds);
      count(context, `MiB after storm ${storm}`, memory.at(-1));
    }
    const listed = await documentOf<{ source: string }[]>([
      ...['queue', 'ls', '--limit', '100000', '--queue', fleet.redis.url],
    ]);
    const names = listed.map(({ source: name }) => name);
    count(context, 'accepted', names.length);
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(names)).toEqual(accepted);
    const peak = memoryOf(child, 'VmHWM');
    count(context, 'MiB at most', peak);
    expect(peak).toBeLessThan(250);
    expect(memory.at(-1)! - memory[0]!).toBeLessThan(40);
  });
});
