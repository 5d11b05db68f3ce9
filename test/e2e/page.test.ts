import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AxeResults } from 'axe-core';
import type { Browser, Page } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderPage } from '../../src/image/page/render';
import { chunkKinds } from '../../src/image/page/file-kinds';
import { titleOf, whyWithout } from '../conformance/support/machine';
import { documentOf } from './run-cli';
import { makeTar, noise, writeLayout } from './sample';

const reason = whyWithout('chromium');
/** Where screenshots go: `SCREENSHOTS=docs/images` makes those of the documentation anew. */
const screenshots = process.env['SCREENSHOTS'];
const hostile = [
  `<script>document.title='owned'</script>`,
  `"><img src=x onerror=document.title='owned'>`,
  '</script><svg onload=document.title=1>',
  `'];document.title='owned';['`,
  '{{constructor.constructor("document.title=1")()}}',
];

let root: string;
let browser: Browser;

beforeAll(async () => {
  if (reason !== null) return;
  root = await mkdtemp(join(tmpdir(), 'page-browser-'));
  const { launch } = await import('puppeteer-core');
  const executablePath = execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim();
  const args = ['--no-sandbox', '--disable-gpu', `--user-data-dir=${join(root, 'profile')}`];
  browser = await launch({ executablePath, args, headless: true });
});
afterAll(async () => {
  if (reason !== null) return;
  await browser.close();
  await rm(root, { recursive: true, force: true });
});

/** CPU seconds of all processes of the browser until now. */
async function browserSeconds(): Promise<number> {
  const session = await browser.target().createCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

/**
 * Opens a page without a network, and waits until its script has run and it was painted. What it asked for, what went wrong, and the CPU
 * seconds that the browser's processes took for it are in the result.
 */
async function openPage(file: string, scheme: 'light' | 'dark' = 'light') {
  const page = await browser.newPage();
  const asked: string[] = [];
  const faults: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => faults.push(message.text()));
  await page.setOfflineMode(true);
  await page.setViewport({ width: 1280, height: 900 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  const before = await browserSeconds();
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector('html[data-ready]');
  await page.evaluate(untilPainted);
  return { page, asked, faults, seconds: (await browserSeconds()) - before };
}

/** Violations of the rules of accessibility, each with where it is. */
async function violations(page: Page): Promise<string[]> {
  const axe = createRequire(__filename).resolve('axe-core/axe.min.js');
  await page.evaluate(await readFile(axe, 'utf8')); // by the debugger: the page's policy would not let it in
  const { violations: found } = (await page.evaluate('axe.run()')) as AxeResults;
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

async function shoot(page: Page, name: string, by: string): Promise<void> {
  await page.select('#by', by);
  if (screenshots === undefined) return;
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, `${name}.png`), optimizeForSpeed: false });
}

/** The page of an image with names that would do something if they were anything but text, and of a trace of it. */
async function hostilePage(): Promise<string> {
  const odd = hostile.map((name, i) => ({
    name: `srv/${name.replaceAll('/', '_')}`,
    content: noise(200_000 + i, name),
  }));
  const lower = [
    ...odd,
    { name: 'usr/bin/app', content: noise(900_000, 'app'), mode: 0o755 },
    { name: 'usr/lib/libapp.so', content: noise(500_000, 'lib') },
    { name: 'etc/app.conf', content: 'a = 1\n'.repeat(30_000) },
    { name: 'usr/share/logo.png', content: noise(150_000, 'logo') },
  ];
  const upper = [
    { name: 'etc/app.conf', content: 'a = 2\n'.repeat(30_000) },
    { name: 'opt/site/main.js', content: noise(400_000, 'js') },
  ];
  await writeLayout(join(root, 'src'), [await makeTar(lower), await makeTar(upper)], { ref: 'app' });
  await documentOf(['convert', 'oci:src:app', 'oci:made:app', '--dm-verity', '--chunk-size', '16KiB'], {
    cwd: root,
  });
  const reads = ['/usr/bin/app', '/etc/app.conf', `/srv/${hostile[0]!.replaceAll('/', '_')}`];
  const trace = {
    schema: 1,
    image: 'x@y',
    platform: 'linux/amd64',
    reads: reads.map((path, i) => ({
      path,
      layer: `sha256:${'a'.repeat(64)}`,
      ranges: [[0, 100_000]],
      firstMs: i,
    })),
  };
  await writeFile(join(root, 'app.trace'), JSON.stringify(trace));
  const file = join(root, '<b>x.html');
  const args = ['inspect', 'oci:made:app', '--html', file, '--trace', 'app.trace'];
  await documentOf(args, { cwd: root });
  return file;
}

/** The same image beside one that has a part of it, and names as bad. */
async function comparedPage(): Promise<string> {
  const other = [
    { name: `srv/${hostile[0]!.replaceAll('/', '_')}`, content: noise(200_000, hostile[0]!) },
    { name: `opt/${hostile[1]!.replaceAll('/', '_')}`, content: noise(300_000, 'of this one alone') },
  ];
  await writeLayout(join(root, 'other'), [await makeTar(other)], { ref: 'v2' });
  const options = [
    '--dm-verity',
    '--chunk-size',
    '16KiB',
    '--chunking',
    'files',
    '--profile',
    'erofs-image-spec',
  ];
  for (const [from, to] of [
    ['oci:other:v2', 'oci:by-files:v2'],
    ['oci:src:app', 'oci:by-files:app'],
  ])
    await documentOf(['convert', from!, to!, ...options], { cwd: root });
  const file = join(root, 'compared.html');
  const args = ['inspect', 'oci:by-files:app', '--html', file, '--trace', 'app.trace', '--shared-with'];
  await documentOf([...args, 'oci:by-files:v2'], { cwd: root });
  return file;
}

/** What runs in the browser is text: its types are not ours. */
const untilPainted = `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`;
const goThroughTiles = (place: string): string => `(() => {
  const canvas = document.querySelector('#${place} canvas');
  const press = (key) => canvas.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  const found = [];
  press('Home');
  for (let i = 0; i < 400; i++) {
    found.push(document.querySelector('#${place} output').textContent);
    press('ArrowRight');
  }
  return found.join('\\n');
})()`;
const openDetails = `for (const one of document.querySelectorAll('details')) one.open = true`;
const injectScripts = `
  const script = document.createElement('script');
  script.textContent = "document.title = 'owned'";
  document.body.append(script);
  document.body.insertAdjacentHTML('beforeend', '<img src="x" onerror="document.title = 1">');
`;

describe.skipIf(reason !== null)(titleOf('a page in a browser', reason), () => {
  test('asks for nothing, shows hostile names as text, and can be used by keys', async () => {
    const { page, asked, faults } = await openPage(await hostilePage());
    await shoot(page, 'inspect-light', 'kind');
    expect(asked).toHaveLength(1);
    expect(await page.title()).toBe('oci:made:app');
    expect(await page.$$eval('script', (scripts) => scripts.length)).toBe(2);
    expect(await page.$$('img, svg, b')).toHaveLength(0);
    const texts = (await page.evaluate(goThroughTiles('tiles-0-0'))) as string;
    for (const name of hostile) expect(texts).toContain(`/srv/${name.replaceAll('/', '_')}`);
    expect(texts).toContain('read by the trace as number 1');
    await page.focus('#tree-0 canvas');
    for (const key of ['End', 'Home', 'Enter', 'ArrowRight', 'Escape'] as const)
      await page.keyboard.press(key);
    expect(
      await page.evaluate(`document.querySelector('#tree-0 canvas').getAttribute('aria-valuetext')`),
    ).toMatch(/^\/.*, (layer|folder|small|hidden)/);
    await page.select('#by', 'read');
    expect(await page.title()).toBe('oci:made:app');
    expect(faults).toEqual([]);
    await page.close();
  });

  test('passes the checks of axe in light and in dark, opened and closed', async () => {
    const file = await hostilePage();
    for (const scheme of ['light', 'dark'] as const) {
      const { page } = await openPage(file, scheme);
      if (scheme === 'dark') await shoot(page, 'inspect-dark', 'kind');
      await page.evaluate(openDetails);
      expect(await violations(page)).toEqual([]);
      await page.close();
    }
  });

  test('shows two images beside each other, what both have, and a trace of the first', async () => {
    await hostilePage();
    const file = await comparedPage();
    for (const scheme of ['light', 'dark'] as const) {
      const { page, asked, faults } = await openPage(file, scheme);
      if (scheme === 'light') await shoot(page, 'inspect-shared', 'shared');
      expect(asked).toHaveLength(1);
      expect(await page.title()).toBe('oci:by-files:app and oci:by-files:v2');
      expect(await page.$$('img, svg, b')).toHaveLength(0);
      const [first, second] = [
        (await page.evaluate(goThroughTiles('tiles-0-0'))) as string,
        (await page.evaluate(goThroughTiles('tiles-1-0'))) as string,
      ];
      const common = `/srv/${hostile[0]!.replaceAll('/', '_')}`;
      for (const texts of [first, second])
        expect(
          texts.split('\n').filter((text) => text.includes('; shared;') && text.includes(common)).length,
        ).toBeGreaterThan(5);
      expect(second).toContain(`not shared; /opt/${hostile[1]!.replaceAll('/', '_')}`);
      expect(first).toContain('read by the trace as number 1');
      expect(second).not.toContain('read by the trace');
      for (const by of ['shared', 'read', 'kind']) await page.select('#by', by);
      await page.evaluate(openDetails);
      expect(await violations(page)).toEqual([]);
      expect(await page.title()).toBe('oci:by-files:app and oci:by-files:v2');
      expect(faults).toEqual([]);
      await page.close();
    }
  });

  test('has a policy that lets nothing else run', async () => {
    const { page, faults } = await openPage(await hostilePage());
    await page.evaluate(injectScripts);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await page.title()).toBe('oci:made:app');
    expect(faults.join('\n')).toMatch(/Content Security Policy/);
    await page.close();
  });

  test('of an image with as many chunks and files as 1 GB has opens within 2 s of CPU time', async () => {
    // 1.2 GB of /usr have 2,500 chunks and 106,000 entries.
    const layers = [0, 1, 2].map((layer) =>
      makeTar(
        Array.from({ length: 35_000 }, (_, i) => ({
          name: `usr/share/part-${i % 400}/${layer}-${i}.txt`,
          content: `${layer} ${i} `.repeat(i % 300 === 0 ? 4000 : 20),
        })),
      ),
    );
    await writeLayout(join(root, 'src-large'), await Promise.all(layers), { ref: 'app' });
    const convert = ['convert', 'oci:src-large:app', 'oci:made-large:app', '--chunk-size', '16KiB'];
    await documentOf(convert, { cwd: root });
    const file = join(root, 'many.html');
    const args = ['inspect', 'oci:made-large:app', '--html', file];
    const { chunks } = await documentOf<{ chunks: number }>(args, { cwd: root });
    expect(chunks).toBeGreaterThan(2000);
    const { page, seconds, faults } = await openPage(file);
    expect(faults).toEqual([]);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(2);
    expect(await page.$$eval('*', (all) => all.length)).toBeLessThan(1000);
    await page.close();
  }, 120_000);

  test('of the largest kind opens within 2 s of CPU time', async () => {
    // As many tiles and files as a page can have.
    const tiles = Array.from({ length: 8192 }, (_, i) => ({
      first: i,
      chunks: 1,
      stored: 1000 * (i % 500),
      size: 524_288,
      kind: i % chunkKinds.length,
      files: Array.from({ length: 6 }, (_, j) => `/usr/lib/some/folder/file-${i}-${j}`),
      more: 3,
      read: i % 3,
      shared: 0,
    }));
    const children = Array.from({ length: 1500 }, (_, i) => ({
      name: `folder-${i}`,
      bytes: 30_000,
      layer: -1,
      mainly: i % 3,
      children: [0, 1, 2].map((j) => ({
        name: `file-${j}`,
        bytes: 10_000,
        layer: j,
        mainly: j,
        children: [],
      })),
    }));
    const none = {
      kind: 'seekable' as const,
      digest: null,
      diffId: null,
      mediaType: null,
      profile: null,
      verity: null,
    };
    const sizes = { size: 1, uncompressed: 1, chunkSize: 524_288, fileBytes: 0, hiddenBytes: 0 };
    const layer = { ...none, ...sizes, chunks: tiles.length, annotations: [], tiles };
    const tree = { name: '/', bytes: 45_000_000, layer: -1, mainly: -1, children };
    const image = {
      name: 'large',
      digest: null,
      platform: null,
      layers: [layer],
      tree,
      traced: null,
      shared: null,
    };
    const file = join(root, 'large.html');
    await writeFile(file, renderPage([image]));
    const { page, seconds, faults } = await openPage(file);
    expect(faults).toEqual([]);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThan(2);
    await page.close();
  });
});
