import { createHash } from 'node:crypto';
import { humanBytes, humanCount } from '../../quantity';
import { chunkKinds } from './file-kinds';
import type { PageImage, PageLayer } from './model';
import { script } from './script';
import { style } from './style';

/** Annotations that are shown, and characters of each. */
const maxAnnotations = 100;
const maxText = 1000;

/** One page that needs nothing else: what it may run and how it looks is named by digests, and it may fetch nothing. */
export function renderPage(images: readonly PageImage[]): string {
  const policy = [
    "default-src 'none'",
    `style-src '${digestOf(style)}'`,
    `script-src '${digestOf(script)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const title = images.map(({ name }) => name).join(' and ');
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escaped(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<header><h1>${escaped(title)}</h1>${sharedText(images)}</header>
<main>
<h2>Chunks</h2>
<p class="soft">A tile is a chunk; how much of it is filled is how much of its bytes the blob takes. Point at one, or use the arrow keys.</p>
<p><label for="by">Coloured by </label><select id="by">${choicesOf(images)}</select></p>
<ul class="legend" id="legend"></ul>
<div class="images">
${images.map(imageHtml).join('\n')}
</div>
</main>
<script type="application/json" id="data">${dataText(images)}</script>
<script>${script}</script>
</body>
</html>
`;
}

function digestOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

/** Text as text: for the content of elements, and for attributes in double quotes. */
export function escaped(text: string): string {
  const names: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => names[character]!);
}

/** JSON inside of a script element, which ends at the first `</script`, and knows `<!--`. */
function dataText(images: readonly PageImage[]): string {
  const shown = images.map(({ layers, tree, traced }) => ({
    layers: layers.map(({ tiles }) => ({ tiles })),
    tree,
    traced,
  }));
  return JSON.stringify({ kinds: chunkKinds, images: shown }).replaceAll('<', '\\u003c');
}

function choicesOf(images: readonly PageImage[]): string {
  // What was asked for comes first, and is shown first.
  const choices = [
    ...(images.length === 2 ? [['shared', 'what both images have']] : []),
    ...(images[0]!.traced === null ? [] : [['read', 'when the trace read it']]),
    ['kind', 'what lies in it'],
  ];
  return choices.map(([value, text]) => `<option value="${value!}">${text!}</option>`).join('');
}

function sharedText(images: readonly PageImage[]): string {
  if (images.length < 2) return '';
  const lines = images.map(({ name, shared, layers }) => {
    const chunks = layers.reduce((sum, layer) => sum + layer.chunks, 0);
    return `<p>${escaped(name)}: ${shared?.chunks ?? 0} of ${humanCount(chunks, 'chunk')} ${shared?.chunks === 1 ? 'is' : 'are'} in the other one too, ${humanBytes(shared?.bytes ?? 0)} of its blobs</p>`;
  });
  return lines.join('');
}

function imageHtml(image: PageImage, i: number): string {
  const { name, digest, platform, layers, tree, traced } = image;
  const facts = [platform, digest]
    .filter((fact) => fact !== null)
    .map((fact) => `<code>${escaped(fact)}</code>`);
  const read =
    traced === null
      ? ''
      : `<p>A trace of ${humanCount(traced.files, 'file')}${traced.missing === 0 ? '' : `, of which ${humanCount(traced.missing, 'is', 'are')} not in the image`}.</p>`;
  const treemap =
    tree === null
      ? '<p class="soft">They are shown where each layer is an EROFS image that can be read in parts.</p>'
      : `<p class="soft">Coloured by layer; a folder, and what is small, fainter by the layer that has most of it. Enter, or a click, goes into a folder; Escape goes up.</p><div id="tree-${i}"></div>`;
  return `<section aria-label="${escaped(name)}">
<h2>${escaped(name)}</h2>
<p>${facts.join(' ')}</p>${read}
${layers.map((layer, j) => layerHtml(layer, i, j)).join('\n')}
<h3>Files by size</h3>
${treemap}
</section>`;
}

/** Why a layer has no tiles. */
const withoutChunks: Readonly<Record<PageLayer['kind'], string>> = {
  seekable: 'Its table has no chunks.',
  raw: 'A raw EROFS image: it is not cut into chunks.',
  zstd: 'An EROFS image in one zstd stream without a table of chunks: it is not read in parts.',
  tar: 'A tar: it has no chunks, and its files are not shown. What convert makes of it has both.',
  device: 'Bytes that layers above point into, without a table of chunks.',
};

function layerHtml(layer: PageLayer, i: number, j: number): string {
  const chunks = layer.chunks === 0 ? '' : `, ${humanCount(layer.chunks, 'chunk')}`;
  const hidden =
    layer.hiddenBytes > 0 ? `, ${humanBytes(layer.hiddenBytes)} of its files hidden by upper layers` : '';
  const tiles =
    layer.tiles.length === 0
      ? `<p class="soft">${withoutChunks[layer.kind]}</p>`
      : `<div id="tiles-${i}-${j}"></div>`;
  return `<h3>Layer ${j}: ${humanBytes(layer.size)}${chunks}${hidden}</h3>
${tiles}
<details><summary>Digests and annotations of layer ${j}</summary>${factsTable(layer, j)}</details>`;
}

function factsTable(layer: PageLayer, j: number): string {
  const { verity } = layer;
  const levels =
    verity === null
      ? ''
      : verity.levels.map((blocks, level) => `level ${level}: ${humanCount(blocks, 'block')}`).join(', ');
  const rows: [string, string | null][] = [
    ['digest', layer.digest],
    ['DiffID', layer.diffId],
    ['media type', layer.mediaType],
    ['profile', layer.profile],
    ['uncompressed', layer.uncompressed === null ? null : humanBytes(layer.uncompressed)],
    ['chunk size', layer.chunkSize === null ? null : humanBytes(layer.chunkSize)],
    ['files', humanBytes(layer.fileBytes)],
    ['dm-verity root', verity?.rootDigest ?? null],
    [
      'dm-verity levels',
      verity === null ? null : `${levels} (${verity.hash}, blocks of ${verity.blockSize})`,
    ],
    ['dm-verity salt', verity === null || verity.salt === '' ? null : verity.salt],
    ...layer.annotations
      .slice(0, maxAnnotations)
      .map(([name, value]): [string, string] => [name.slice(0, maxText), value.slice(0, maxText)]),
  ];
  const shown = rows
    .filter(([, value]) => value !== null)
    .map(
      ([name, value]) =>
        `<tr><th scope="row">${escaped(name)}</th><td><code>${escaped(value!)}</code></td></tr>`,
    );
  return `<table aria-label="Layer ${j}">${shown.join('')}</table>`;
}
