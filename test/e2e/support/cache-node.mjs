// A node with stock containerd whose layer content cache is `serve --erofs-cache`, and whose mirror is `serve --registry`.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { startContainerd } from './containerd-daemon.mjs';
import { startServer } from './lazy-server.mjs';
import { removeAll } from './leftovers.mjs';
import { PAUSE, cli, fetchedBy, importPause, layerFiles, layersOf, runAll } from './node.mjs';
import { startRegistry } from './registry.mjs';
import { writeMoreImages, writeSharingImages } from './sample-image.mjs';
import { runScenario } from './scenario.mjs';

const START_TIME = 30_000;

/** Runs scenarios on such a node, or prints why it can't. @param script the file that calls this */
export async function runCacheScenario(script, scenarios) {
  await runScenario(script, (...place) => inside(scenarios, place));
}

async function inside(scenarios, [directory, bin, groups, noCrictl]) {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']); // where shims and runc keep theirs
  const at = (name) => join(directory, name);
  writeSharingImages(at('sharing'), { count: 10, bytes: 16 * 2 ** 20 });
  execFileSync('tar', ['-C', at('sharing'), '-cf', at('sharing.tar'), '.']);
  writeMoreImages(at('more'));
  writeSharingImages(at('unseen'), { count: 0, bytes: 2 ** 20 });
  const registry = await startRegistry(directory);
  const mirror = `127.0.0.1:${await freePort()}`;
  const flags = ['--erofs-cache', at('cache'), '--registry', mirror, '--upstream', registry.host];
  const server = await startServer(directory, {}, flags);
  const pullFlags = ['--hosts-dir', at('certs')];
  const test = { server, registry, groups, at, noCrictl, snapshotter: 'erofs', pullFlags };
  await comesUp(test);
  test.daemon = await startContainerd({ bin, directory, pause: PAUSE, extra: configuration(test, flags) });
  importPause(test);
  await runAll(test, scenarios);
  assert.deepEqual(readdirSync(at('cache')), [], 'nothing is left where the cache was shown');
}

/** What `serve` prints for these flags, less what the test's containerd has already; its files for mirrors are written. */
function configuration({ at, registry }, flags) {
  const printed = cli('serve', ...flags, '--print-config', 'containerd').replaceAll(
    '/etc/containerd/certs.d',
    at('certs'),
  );
  const [config, hosts] = printed.split(/^# For .*hosts\.toml.*$/m);
  mkdirSync(join(at('certs'), registry.host), { recursive: true });
  writeFileSync(join(at('certs'), registry.host, 'hosts.toml'), hosts.replaceAll(/^# /gm, ''));
  const there = ["snapshotter.v1.erofs']", "diff-service']", "cri.v1.images']"];
  const sections = config.split(/\n(?=\[)/).slice(1);
  assert.ok(sections.some((section) => section.includes(`layer_content_caches = ['${at('cache')}']`)));
  return sections
    .filter(
      (section) => !there.some((name) => section.startsWith('[') && section.split('\n')[0].endsWith(name)),
    )
    .join('\n');
}

/** When all images are gone, from containerd and from the cache, nothing of them is left. */
export async function nothingLeft(test) {
  await removeAll(test);
  for (const image of shownImages(test)) lazy(test, 'rm', image);
  assert.deepEqual(entriesOf(test), []);
  const { images } = JSON.parse(readFileSync(join(test.server.content, 'images.json'), 'utf8'));
  assert.deepEqual(images, []);
  console.log('ok: nothing is left in the cache either');
}

/** Files that the cache shows. */
export const entriesOf = ({ at }) =>
  readdirSync(at('cache'), { recursive: true }).filter((name) => name.includes('.erofs'));

/** Resolves when the server answers, and shows its cache. */
export async function comesUp(test) {
  for (const deadline = Date.now() + START_TIME; Date.now() < deadline;) {
    try {
      lazy(test, 'ls');
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`serve did not come up\n${test.server.log}`);
}

export const lazy = ({ server }, ...args) =>
  JSON.parse(cli('lazy', ...args, '--state', server.state, '--json', '--quiet'));
export const shownImages = (test) =>
  lazy(test, 'ls')
    .map(({ reference }) => reference)
    .sort();

/** Beside metadata less than two hundredths of the image: of these layers the metadata is in one chunk each. */
export function expectLittle(fetched, layers, when) {
  const bytes = fetched.reduce((sum, request) => sum + request.bytes, 0);
  const size = layers.reduce((sum, layer) => sum + layer.size, 0);
  assert.ok(
    bytes < size * 0.02 + layers.length * 256 * 1024,
    `${bytes} bytes of ${size} were fetched ${when}`,
  );
}

/** containerd has a layer sent whole when it does not find it in the cache. */
export function expectNothingWhole(test, image, act) {
  const layers = layersOf(image).map(({ digest }) => digest);
  const whole = fetchedBy(test, act).filter(
    ({ path, status }) => status === 200 && layers.some((digest) => path.includes(digest)),
  );
  assert.deepEqual(whole, []);
  assert.equal(layerFiles(test).length, 0, 'containerd has unpacked nothing');
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
