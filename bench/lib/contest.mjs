// Programs compared: they run in turn, so that a slow minute of the machine hits all of them.
import { setImmediate as turn } from 'node:timers/promises';
import { measure } from './measure.mjs';
import { roofline } from './roofline.mjs';
import { round, speedup, spread } from './stats.mjs';

/**
 * Runs a case. `contestants` are `{key, label, argv, env, input, before, after, result, rounds, skip}`: `before()` prepares a run outside
 * of its time; `result(output)` says what was made, `{bytes, …}`, or fetched, `{traffic: {bytes, requests}}`, and may correct the seconds, for a program that times itself; `rounds` is
 * the most rounds that a slow one takes part in; `skip` is why it doesn't take part at all; `isRival` is false of one that does less. `agree(made)` throws when they didn't do the
 * same work. `measured(sample)` is the number that is compared, where it isn't the seconds of the whole run. `limit()` measures the
 * unavoidable parts, once a round. The first contestant that isn't skipped is what the others are compared with; it runs once more before
 * the first round, to warm up, unless `warm` is false. Another one that fails is out, and the rest goes on.
 */
export async function runCase(contest, { directory, runs, cores, log }) {
  const contestants = contest.contestants.map((contestant) => ({ ...contestant, samples: [] }));
  const reference = contestants.find(({ skip }) => skip === undefined);
  if (reference !== undefined && contest.warm !== false) await runOnce(reference, directory);
  const limits = [];
  for (let i = 0; i < runs; i++) {
    const made = {};
    for (const contestant of contestants) {
      if (contestant.skip !== undefined || i >= (contestant.rounds ?? runs)) continue;
      try {
        made[contestant.key] = await runOnce(contestant, directory);
        contestant.samples.push(made[contestant.key]);
      } catch (error) {
        if (contestant === reference) throw error;
        contestant.skip = `it failed: ${error.message.trim().split('\n').slice(0, 2).join(' ')}`;
      }
    }
    contest.agree?.(made);
    if (contest.limit) limits.push(roofline(await contest.limit(), cores));
    const times = Object.entries(made).map(([key, { seconds }]) => `${key} ${round(seconds, 3)}`);
    log(`  ${contest.name}, round ${i + 1}: ${times.join(', ')} s`);
  }
  return summarize({ ...contest, contestants, reference }, limits);
}

async function runOnce({ argv, env, input, before, after, result }, directory) {
  await turn(); // where an interrupt gets its chance: all else here blocks
  const open = await before?.();
  try {
    const { output, ...usage } = measure(argv, { directory, env, input: open ?? input });
    const { metrics = {}, ...made } = (await result?.(output)) ?? {};
    return { ...usage, ...made, timed: made.seconds !== undefined, metrics };
  } finally {
    await after?.(open);
  }
}

function summarize({ name, input, contestants, reference, growth, measured = whole }, limits) {
  const secondsOf = ({ samples }) => samples.map((sample) => measured(sample));
  const active = contestants.filter(({ skip }) => skip === undefined);
  const rows = contestants.map(({ key, label, argv, skip, note, samples }) =>
    skip === undefined
      ? { key, label, note, command: argv, ...spreads(samples) }
      : { key, label, skipped: skip },
  );
  const ratios = active
    .filter((contestant) => contestant !== reference && contestant.isRival !== false)
    .map((other) => [other.key, speedup(secondsOf(reference), secondsOf(other))]);
  const rounds = ({ samples }) =>
    samples.map(({ seconds, cpuSeconds, userSeconds }) => ({ seconds, cpuSeconds, userSeconds }));
  return {
    name,
    input,
    ...(growth && { growth }),
    contestants: rows,
    ratios: Object.fromEntries(ratios.filter(([, ratio]) => ratio !== null)),
    ...(limits.length > 0 && {
      roofline: describeLimits(limits),
      efficiency: spread(secondsOf(reference).map((seconds, i) => limits[i].seconds / seconds)),
      ...(measured === whole && { cpuEfficiency: cpuEfficiency(limits, reference.samples) }),
    }),
    rounds: Object.fromEntries(active.map((contestant) => [contestant.key, rounds(contestant)])),
  };
}

const whole = ({ seconds }) => seconds;

/**
 * CPU seconds that can't be avoided, of those that were used: what efficiency comes near to when the machine has other work, too. None
 * for a program that timed a part of itself.
 */
function cpuEfficiency(limits, list) {
  const used = list.map((sample) => sample.cpuSeconds);
  return used.includes(null) || list.some(({ timed }) => timed)
    ? null
    : spread(limits.map((limit, i) => limit.cpuSeconds / used[i]));
}

function spreads(list) {
  const metrics = Object.keys(list[0]?.metrics ?? {});
  return {
    seconds: spread(
      list.map(({ seconds }) => seconds),
      4,
    ),
    cpuSeconds: spread(list.map(({ cpuSeconds }) => cpuSeconds)),
    peakRssMiB: spread(list.map(({ peakRssMiB }) => peakRssMiB)),
    ...(list[0]?.bytes !== undefined && { bytes: list[0].bytes }),
    ...(list[0]?.traffic !== undefined && { traffic: trafficOf(list) }),
    ...(list[0]?.counts !== undefined && { counts: countsOf(list) }),
    ...(metrics.length > 0 && {
      metrics: Object.fromEntries(
        metrics.map((key) => [
          key,
          spread(
            list.map((sample) => sample.metrics[key]),
            7,
          ),
        ]),
      ),
    }),
  };
}

function trafficOf(list) {
  const all = (key) =>
    spread(
      list.map(({ traffic }) => traffic[key]),
      0,
    );
  return { bytes: all('bytes'), requests: all('requests') };
}

/** Numbers that are no seconds. */
function countsOf(list) {
  const names = Object.keys(list[0].counts);
  return Object.fromEntries(
    names.map((name) => [
      name,
      spread(
        list.map(({ counts }) => counts[name]),
        3,
      ),
    ]),
  );
}

/** The parts of the median round. */
function describeLimits(limits) {
  const median = [...limits].sort((a, b) => a.seconds - b.seconds)[(limits.length - 1) >> 1];
  const parts = Object.entries(median.parts).map(([name, seconds]) => [name, Number(seconds.toPrecision(3))]);
  return {
    seconds: spread(
      limits.map(({ seconds }) => seconds),
      6,
    ),
    cpuSeconds: Number(median.cpuSeconds.toPrecision(4)),
    bound: median.bound,
    parts: Object.fromEntries(parts),
  };
}
