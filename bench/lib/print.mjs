// Results as text.
import { BARS, judge } from './bars.mjs';

const range = (spread, digits = 3) =>
  spread ? [spread.min, spread.median, spread.max].map((number) => number.toFixed(digits)).join(' / ') : '';

export function caseText({ name, input, contestants, ratios, roofline, efficiency, cpuEfficiency }) {
  const lines = [`  ${name}: ${(input.bytes / 1e6).toFixed(1)} MB (${input.label}); min / median / max`];
  for (const row of contestants) {
    if (row.skipped !== undefined) {
      lines.push(`    ${row.label}: skipped, ${row.skipped}`);
      continue;
    }
    const rate =
      input.bytes > 0 && row.metrics === undefined
        ? `, ${(input.bytes / 1e6 / row.seconds.median).toFixed(0)} MB/s`
        : '';
    const ratio = ratios[row.key]
      ? `, ours is ${ratios[row.key].ofMedians}× as fast (${range(ratios[row.key], 2)})`
      : '';
    lines.push(`    ${row.label}${ratio}`);
    lines.push(
      `      ${range(row.seconds)} s${rate}, CPU ${range(row.cpuSeconds, 2)} s, peak ${range(row.peakRssMiB, 0)} MiB${size(row)}`,
    );
    for (const [name, count] of Object.entries(row.counts ?? {}))
      lines.push(`      ${name}: ${range(count)}`);
    for (const [metric, { min, median, max }] of Object.entries(row.metrics ?? {})) {
      const list = [min, median, max].map((seconds) => short(seconds * 1e3));
      lines.push(`      ${metric} ${list.join(' / ')} ms`);
    }
  }
  if (roofline) lines.push(limitText(roofline, efficiency, cpuEfficiency));
  return lines.join('\n');
}

const short = (number) => Number(number.toPrecision(3));
const size = ({ bytes, traffic }) =>
  (bytes === undefined ? '' : `, ${(bytes / 1e6).toFixed(1)} MB made`) +
  (traffic === undefined
    ? ''
    : `, ${(traffic.bytes.median / 1e6).toFixed(1)} MB fetched by ${traffic.requests.median} requests`);

function limitText({ seconds, cpuSeconds, bound, parts }, efficiency, cpuEfficiency) {
  const list = Object.entries(parts).map(([name, value]) => `${name} ${value}`);
  return `    raw limit ${[seconds.min, seconds.median, seconds.max].map(short).join(' / ')} s (${bound}; CPU ${cpuSeconds} s: ${list.join(', ')}); efficiency ${range(efficiency)}${
    cpuEfficiency ? `, by CPU seconds ${range(cpuEfficiency)}` : ''
  }`;
}

/** The bars whose value this result, and those before it, have. */
export function barsText(results, claim) {
  const without = Object.fromEntries(Object.entries(results).filter(([name]) => name !== claim));
  const lines = BARS.flatMap((bar) => {
    const { text, value, holds } = judge(bar, results);
    if (value === null || judge(bar, without).value === value) return [];
    return [`  ${holds ? 'holds' : 'FAILS'}: ${bar.work}, ${bar.what}: ${value.toFixed(3)} (${text})`];
  });
  return lines.join('\n');
}

export function machineText({ cpu, instructions, cores, memoryGiB, kernel, node, go, loadAverage }) {
  return `${cpu} (${instructions.join(' ')}), ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, Node ${node}, ${go ?? 'no Go'}, load ${loadAverage}`;
}
