// bench/results/overview.svg: how many times faster than the Go reference, claim by claim. Readable on light and on dark pages.

const ROWS = [
  ['merkle', 'sha512, 1 core', 'Merkle tree, SHA-512, 1 core'],
  ['merkle', null, 'Merkle tree, SHA-512, all cores'],
  ['encode', 'with dm-verity', 'encode, dm-verity'],
  ['encode', 'plain', 'encode'],
  ['convert', 'tar', 'convert a tar, dm-verity'],
  ['convert-gzip', '6 layers, gzip', 'convert 6 tar.gz layers, dm-verity'],
  ['convert-zstd', '6 layers, zstd', 'convert 6 tar.zst layers, dm-verity'],
  ['decode', 'decode', 'decode, every check'],
  ['verify', 'verify', 'verify'],
];
const [LEFT, WIDTH, LINE, TOP] = [250, 720, 30, 66];

/** The picture, null where there is nothing to show. */
export function overview(results) {
  const rows = ROWS.flatMap(([claim, name, label]) => {
    const cases = results[claim]?.cases ?? [];
    const found =
      name === null
        ? cases.filter((item) => item.name.startsWith('sha512')).at(-1)
        : cases.find((item) => item.name === name);
    const ratio = found?.ratios.go;
    return ratio ? [{ label, ratio, efficiency: found.efficiency?.median }] : [];
  });
  if (rows.length === 0) return null;
  const { machine, date } = Object.values(results)[0];
  const longest = Math.max(...rows.map(({ ratio }) => ratio.max));
  const scale = (value) => (value / longest) * (WIDTH - LEFT - 130);
  const height = TOP + rows.length * LINE + 34;
  const once = LEFT + scale(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Speed relative to the Go reference">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px } .small { font-size: 11px; fill: #59636e }
.bar { fill: #1a7f64 } .spread, .one { stroke: #1f2328; stroke-width: 1.5 } .one { stroke-dasharray: 3 3; opacity: .5 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .bar { fill: #3fb68f } .spread, .one { stroke: #e6edf3 } }
</style>
<text class="title" x="12" y="24">Times as fast as the Go pull request</text>
<text class="small" x="12" y="42">${escape(`${machine.cpu}, ${machine.cores} cores, ${date.slice(0, 10)}; medians; lines: all rounds; efficiency = raw limit / time`)}</text>
${rows.map((row, i) => bar(row, TOP + i * LINE, scale)).join('\n')}
<line class="one" x1="${once.toFixed(1)}" x2="${once.toFixed(1)}" y1="${TOP - 6}" y2="${height - 26}"/>
<text class="small" x="${once.toFixed(1)}" y="${height - 12}" text-anchor="middle">Go</text>
</svg>
`;
}

function bar({ label, ratio, efficiency }, y, scale) {
  const end = LEFT + scale(ratio.ofMedians);
  const middle = y + 9;
  const note =
    efficiency === undefined ? '' : ` <tspan class="small">efficiency ${efficiency.toFixed(2)}</tspan>`;
  const [from, to] = [ratio.min, ratio.max].map((value) => (LEFT + scale(value)).toFixed(1));
  return [
    `<text x="${LEFT - 10}" y="${y + 14}" text-anchor="end">${escape(label)}</text>`,
    `<rect class="bar" x="${LEFT}" y="${y}" width="${(end - LEFT).toFixed(1)}" height="18" rx="2"/>`,
    `<line class="spread" x1="${from}" x2="${to}" y1="${middle}" y2="${middle}"/>`,
    `<text x="${(Math.max(end, Number(to)) + 8).toFixed(1)}" y="${y + 14}">${ratio.ofMedians.toFixed(1)}×${note}</text>`,
  ].join('');
}

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
