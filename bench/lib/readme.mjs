// The table of the README: ours against the Go pull request's steps.

const rows = [
  ['layer tar to blob (`convert`)', 'convert'],
  ['raw EROFS to blob (`encode`)', 'encode'],
  ['blob to raw EROFS, every check (`decode`)', 'decode'],
];

const head =
  '| with dm-verity | ours, s | Go, s | Go / ours: medians (min to max of rounds) | CPU s, ours / Go | peak RSS, ours / Go | measured |';

export function readmeTable(results) {
  const measured = rows.filter(([, claim]) => results[claim] !== undefined);
  return [
    head,
    '|---|---|---|---|---|---|---|',
    ...measured.map(([what, claim]) => row(what, results[claim])),
    '',
  ].join('\n');
}

function row(what, { date, machine, cases: [{ contestants, ratios, rounds }] }) {
  const [ours, go] = ['ours', 'go'].map((key) => contestants.find((one) => one.key === key));
  const { ofMedians, min, max } = ratios.go;
  const cells = [
    what,
    number(ours.seconds.median),
    number(go.seconds.median),
    `**${ofMedians.toFixed(1)}** (${min.toFixed(1)} to ${max.toFixed(1)})`,
    `${ours.cpuSeconds.median.toFixed(1)} / ${go.cpuSeconds.median.toFixed(1)}`,
    `${ours.peakRssMiB.max.toFixed(0)} / ${go.peakRssMiB.max.toFixed(0)} MiB`,
    `${date.slice(0, 10)}, ${rounds.ours.length} rounds, ${machineOf(machine)}`,
  ];
  return `| ${cells.join(' | ')} |`;
}

const machineOf = ({ cpu, instructions }) =>
  `${cpu} ${instructions.includes('avx512f') ? 'with' : 'without'} AVX-512`;

const number = (value) => String(Number(value.toPrecision(3)));
