/**
 * The script of a page. It builds nothing out of text but text: names come from images, whoever made them. Drawings are canvases with the
 * role of a slider, so that arrow keys go through them and a screen reader says where they are.
 */
export const script = String.raw`
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const dark = matchMedia('(prefers-color-scheme: dark)');
const palettes = {
  light: ['#8250df', '#cf222e', '#0969da', '#1b7c83', '#1a7f37', '#7d8590', '#bc4c00', '#bf3989', '#57606a', '#c8d1da', '#afb8c1'],
  dark: ['#a371f7', '#ff7b72', '#58a6ff', '#39c5cf', '#3fb950', '#9ea7b3', '#f0883e', '#f778ba', '#8b949e', '#30363d', '#484f58'],
};
const layerColours = {
  light: ['#0969da', '#1a7f37', '#bc4c00', '#8250df', '#1b7c83', '#bf3989', '#9a6700', '#57606a'],
  dark: ['#58a6ff', '#3fb950', '#f0883e', '#a371f7', '#39c5cf', '#f778ba', '#d29922', '#9ea7b3'],
};
const mode = () => (dark.matches ? 'dark' : 'light');
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const bytes = (count) => {
  if (count === 1) return '1 byte';
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; count >= 999.95 && unit < 4; unit++) count /= 1000;
  return (unit === 0 ? count : count.toFixed(1)) + ' ' + units[unit];
};
const redraws = [];
function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}
function canvasIn(parent, label, max) {
  const canvas = element('canvas', undefined, parent);
  for (const [name, value] of Object.entries({ tabindex: '0', role: 'slider', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': String(Math.max(0, max)), 'aria-valuenow': '0', 'aria-valuetext': 'nothing chosen' }))
    canvas.setAttribute(name, value);
  return canvas;
}
function prepare(canvas, width, height) {
  const scale = Math.min(2, devicePixelRatio || 1);
  canvas.style.height = height + 'px';
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}
function tileColour(tile, by, reads) {
  const colours = palettes[mode()];
  if (by === 'shared') return tile.shared > 0 ? colours[4] : css('--tile');
  if (by === 'read') return tile.read < 0 ? css('--tile') : 'hsl(' + Math.round((280 * tile.read) / Math.max(1, reads)) + ' 70% ' + (dark.matches ? '60%' : '45%') + ')';
  return colours[tile.kind];
}
function tileText(layer, tile) {
  const which = tile.chunks === 1 ? 'chunk ' + tile.first : 'chunks ' + tile.first + ' to ' + (tile.first + tile.chunks - 1);
  const ratio = tile.size > 0 ? ' (' + (tile.stored / tile.size).toFixed(2) + ' of it)' : '';
  const parts = [which + ': ' + bytes(tile.size) + ' in ' + bytes(tile.stored) + ratio, data.kinds[tile.kind]];
  if (tile.read >= 0) parts.push('read by the trace as number ' + (tile.read + 1));
  if (data.images.length === 2) parts.push(tile.shared === 0 ? 'not shared' : tile.chunks === 1 ? 'shared' : tile.shared + ' of them shared');
  if (tile.files.length > 0) parts.push(tile.files.join(', ') + (tile.more > 0 ? ' and ' + tile.more + ' more' : ''));
  return parts.join('; ');
}
const side = 15;
function showTiles(parent, layer, title, by, reads) {
  const canvas = canvasIn(parent, 'Chunks of ' + title, layer.tiles.length - 1);
  const output = element('output', '', parent);
  let chosen = -1, columns = 1;
  const draw = () => {
    const width = Math.max(side, parent.clientWidth - 2);
    columns = Math.max(1, Math.floor(width / side));
    const pen = prepare(canvas, width, Math.max(1, Math.ceil(layer.tiles.length / columns)) * side);
    const back = css('--tile');
    layer.tiles.forEach((tile, i) => {
      const x = (i % columns) * side, y = Math.floor(i / columns) * side;
      const full = Math.max(2, Math.round((side - 2) * Math.min(1, tile.size > 0 ? tile.stored / tile.size : 1)));
      pen.fillStyle = back;
      pen.fillRect(x, y, side - 1, side - 1);
      pen.fillStyle = tileColour(tile, by(), reads);
      pen.fillRect(x, y + side - 1 - full, side - 1, full);
      if (i === chosen) {
        pen.strokeStyle = css('--strong');
        pen.lineWidth = 2;
        pen.strokeRect(x, y, side - 1, side - 1);
      }
    });
  };
  const choose = (i) => {
    if (i < 0 || i >= layer.tiles.length) return;
    chosen = i;
    const text = tileText(layer, layer.tiles[i]);
    output.textContent = text;
    canvas.setAttribute('aria-valuenow', String(i));
    canvas.setAttribute('aria-valuetext', text);
    draw();
  };
  canvas.addEventListener('mousemove', (event) => {
    const i = Math.floor(event.offsetX / side) + columns * Math.floor(event.offsetY / side);
    if (event.offsetX < columns * side && i !== chosen) choose(i);
  });
  canvas.addEventListener('keydown', (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? layer.tiles.length - 1 : Object.hasOwn(steps, event.key) ? (chosen < 0 ? 0 : chosen + steps[event.key]) : null;
    if (to === null) return;
    event.preventDefault();
    choose(to);
  });
  redraws.push(draw);
  draw();
}
function split(nodes, x, y, width, height, place) {
  const total = nodes.reduce((sum, node) => sum + node.bytes, 0);
  if (nodes.length === 0 || total <= 0 || width < 1 || height < 1) return;
  if (nodes.length === 1) return place(nodes[0], x, y, width, height);
  let half = 0, cut = 0;
  while (cut < nodes.length - 1 && (cut === 0 || half + nodes[cut].bytes / 2 < total / 2)) half += nodes[cut++].bytes;
  const share = half / total;
  if (width > height) {
    split(nodes.slice(0, cut), x, y, width * share, height, place);
    split(nodes.slice(cut), x + width * share, y, width * (1 - share), height, place);
  } else {
    split(nodes.slice(0, cut), x, y, width, height * share, place);
    split(nodes.slice(cut), x, y + height * share, width, height * (1 - share), place);
  }
}
function showTree(parent, image) {
  const trail = [image.tree];
  const bar = element('p', undefined, parent);
  const up = element('button', 'Up', bar);
  up.type = 'button';
  const where = element('span', '', bar);
  const layers = element('ul', undefined, parent);
  layers.className = 'legend';
  const canvas = canvasIn(parent, 'Sizes of files and folders', 0);
  const output = element('output', '', parent);
  let boxes = [], chosen = -1;
  const pathOf = (box) => [...trail.slice(1), ...box.path].map(({ name }) => '/' + name).join('') || '/';
  const kinds = { '-1': 'folder', '-2': 'hidden by upper layers', '-3': 'small files and folders' };
  const layerName = ({ layer, mainly }) => (layer >= 0 ? 'layer ' + layer : kinds[layer] + (mainly >= 0 ? ', most of it of layer ' + mainly : ''));
  const draw = () => {
    const width = Math.max(50, parent.clientWidth - 2), height = Math.round(Math.min(520, width * 0.6));
    const pen = prepare(canvas, width, height);
    const colours = layerColours[mode()];
    const [line, back, plain, text] = ['--line', '--back', '--tile', '--text'].map(css);
    boxes = [];
    // Colours repeat: of many layers the output names the right one.
    legend(layers, image.layers.slice(0, colours.length).map((_, i) => [colours[i], 'layer ' + i]).concat([[line, 'hidden']]));
    const paint = (colour, strength, x, y, w, h) => {
      pen.globalAlpha = strength;
      pen.fillStyle = colour;
      pen.fillRect(x, y, Math.max(0.5, w), Math.max(0.5, h));
      pen.globalAlpha = 1;
    };
    const fill = (node, x, y, w, h, path) => {
      const inside = node.children.filter(({ bytes }) => bytes > 0).sort((a, b) => b.bytes - a.bytes);
      const isLeaf = inside.length === 0 || w < 14 || h < 14 || path.length >= 4;
      if (path.length > 0) boxes.push({ node, x, y, w, h, path });
      paint(line, 1, x, y, w - 1, h - 1);
      if (node.layer >= 0) paint(colours[node.layer % colours.length], 1, x, y, w - 1, h - 1);
      else if (node.layer !== -2) {
        paint(node.mainly >= 0 ? back : plain, 1, x + 1, y + 1, w - 3, h - 3);
        // Fainter than a file of that layer.
        if (node.mainly >= 0) paint(colours[node.mainly % colours.length], 0.3, x + 1, y + 1, w - 3, h - 3);
      }
      if (!isLeaf) split(inside, x + 2, y + (path.length > 0 && h > 30 ? 15 : 2), w - 5, h - (path.length > 0 && h > 30 ? 18 : 5), (child, cx, cy, cw, ch) => fill(child, cx, cy, cw, ch, [...path, child]));
      if (path.length > 0 && w > 40 && h > 14) {
        pen.save();
        pen.beginPath();
        pen.rect(x, y, w - 4, h);
        pen.clip();
        pen.font = '11px system-ui, sans-serif';
        pen.fillStyle = node.layer >= 0 ? back : text;
        pen.fillText(node.name, x + 3, y + 11);
        pen.restore();
      }
    };
    fill(trail[trail.length - 1], 0, 0, width, height, []);
    canvas.setAttribute('aria-valuemax', String(Math.max(0, boxes.length - 1)));
    if (chosen >= 0 && boxes[chosen]) {
      const { x, y, w, h } = boxes[chosen];
      pen.strokeStyle = css('--strong');
      pen.lineWidth = 2;
      pen.strokeRect(x + 1, y + 1, w - 3, h - 3);
    }
    where.textContent = ' ' + (trail.slice(1).map(({ name }) => '/' + name).join('') || '/') + ', ' + bytes(trail[trail.length - 1].bytes);
    up.disabled = trail.length === 1;
  };
  const choose = (i) => {
    if (i < 0 || i >= boxes.length) return;
    chosen = i;
    const text = pathOf(boxes[i]) + ': ' + bytes(boxes[i].node.bytes) + ', ' + layerName(boxes[i].node);
    output.textContent = text;
    canvas.setAttribute('aria-valuenow', String(i));
    canvas.setAttribute('aria-valuetext', text);
    draw();
  };
  const enter = () => {
    const box = boxes[chosen];
    const folders = box ? box.path.filter(({ children }) => children.length > 0) : [];
    if (folders.length === 0) return;
    trail.push(...folders);
    chosen = -1;
    draw();
  };
  const leave = () => {
    if (trail.length > 1) trail.pop();
    chosen = -1;
    draw();
  };
  const at = (event) => boxes.findLastIndex(({ x, y, w, h }) => event.offsetX >= x && event.offsetX < x + w && event.offsetY >= y && event.offsetY < y + h);
  canvas.addEventListener('mousemove', (event) => {
    const i = at(event);
    if (i !== chosen) choose(i);
  });
  canvas.addEventListener('click', (event) => {
    choose(at(event));
    enter();
  });
  up.addEventListener('click', leave);
  canvas.addEventListener('keydown', (event) => {
    const acts = { ArrowRight: () => choose(chosen + 1), ArrowDown: () => choose(chosen + 1), ArrowLeft: () => choose(chosen - 1), ArrowUp: () => choose(chosen - 1), Home: () => choose(0), End: () => choose(boxes.length - 1), Enter: enter, Escape: leave, Backspace: leave };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  });
  redraws.push(draw);
  draw();
}
function legend(parent, items) {
  parent.replaceChildren();
  for (const [colour, name] of items) {
    const item = element('li', undefined, parent);
    element('span', undefined, item).style.background = colour;
    item.append(name);
  }
}
function chunkLegend(by) {
  return by === 'kind' ? data.kinds.map((name, i) => [palettes[mode()][i], name]) : by === 'shared' ? [[palettes[mode()][4], 'in both images'], [css('--tile'), 'in this one alone']] : [['hsl(0 70% 50%)', 'read first'], ['hsl(280 70% 50%)', 'read last'], [css('--tile'), 'not read']];
}
const select = document.getElementById('by');
const by = () => select.value;
const legends = document.getElementById('legend');
const redraw = () => {
  legend(legends, chunkLegend(by()));
  for (const draw of redraws) draw();
};
data.images.forEach((image, i) => {
  image.layers.forEach((layer, j) => {
    const place = document.getElementById('tiles-' + i + '-' + j);
    if (place) showTiles(place, layer, 'layer ' + j, by, image.traced ? image.traced.files : 0);
  });
  const place = document.getElementById('tree-' + i);
  if (place) showTree(place, image);
});
legend(legends, chunkLegend(by()));
select.addEventListener('change', redraw);
dark.addEventListener('change', redraw);
let waiting = 0;
addEventListener('resize', () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(redraw);
});
document.documentElement.dataset.ready = 'true';
`;
