// A registry of our own (docker-registry), and before it a network (bench/netproxy). What is pushed stays in the benchmarks' folder.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './ports.mjs';
import { buildGo, missingProgram } from './programs.mjs';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const STARTS = 100;

/** The networks of the claims about lazy mounts, the better one first. */
export const NETWORKS = [
  { name: '10 ms, 100 MB/s', rtt: '10ms', bandwidth: 100e6 },
  { name: '50 ms, 20 MB/s', rtt: '50ms', bandwidth: 20e6 },
];

/** Why there is no registry here; undefined when there can be one. */
export function registryMissing(directory) {
  return missingProgram('docker-registry') ?? buildGo(directory, 'netproxy').missing;
}

/** A registry at `host`, and the same at `slowHost` behind the network. */
export class LazyRegistry {
  #processes = [];
  #end = () => this.#processes.forEach((child) => child.kill('SIGKILL'));

  static async start(directory) {
    const registry = new LazyRegistry();
    process.once('exit', registry.#end);
    const folder = join(directory, 'lazy-registry');
    mkdirSync(folder, { recursive: true });
    const port = await freePort();
    registry.host = `127.0.0.1:${port}`;
    const configuration = join(folder, `${port}.json`);
    writeFileSync(
      configuration,
      JSON.stringify({
        version: 0.1,
        log: { accesslog: { disabled: true }, level: 'error' },
        storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
        http: { addr: registry.host, relativeurls: true },
      }),
    );
    registry.#spawn('docker-registry', ['serve', configuration], 'ignore');
    await registry.#answers();
    const proxy = registry.#spawn(buildGo(directory, 'netproxy').path, [`http://${registry.host}`], 'pipe');
    const [line] = await once(proxy.stdout, 'data');
    registry.slowHost = line.toString().trim();
    return registry;
  }

  /** Begins to count anew, with a network of `rtt` ("10ms") and `bandwidth` bytes a second. */
  async setNetwork({ rtt, bandwidth }) {
    await this.#ask(`/__set?rtt=${rtt}&bandwidth=${bandwidth}`);
  }

  /** Since the network was set: `{requests, bytes, connections}`. */
  async counts() {
    return (await this.#ask('/__counts')).json();
  }

  /** Each request since then. */
  async log() {
    return (await this.#ask('/__log')).json();
  }

  async has(repository, tag) {
    const { status } = await fetch(`http://${this.host}/v2/${repository}/manifests/${tag}`, {
      method: 'HEAD',
      headers: { accept: MANIFEST },
    });
    return status === 200;
  }

  /** Pushes the image of an OCI layout folder. */
  async push(layout, repository, tag) {
    const file = (digest) => join(layout, 'blobs', 'sha256', digest.split(':')[1]);
    const [{ digest }] = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')).manifests;
    const bytes = readFileSync(file(digest));
    const { config, layers } = JSON.parse(bytes);
    for (const blob of [config, ...layers]) await this.#pushBlob(repository, blob, file(blob.digest));
    await this.#call(`/v2/${repository}/manifests/${tag}`, {
      method: 'PUT',
      headers: { 'content-type': MANIFEST },
      body: bytes,
    });
  }

  stop() {
    process.off('exit', this.#end);
    this.#end();
  }

  async #pushBlob(repository, { digest, size }, path) {
    const begun = await this.#call(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const place = new URL(begun.headers.get('location'), `http://${this.host}`);
    place.searchParams.set('digest', digest);
    await this.#call(place.pathname + place.search, {
      method: 'PUT',
      headers: { 'content-length': String(size), 'content-type': 'application/octet-stream' },
      body: createReadStream(path),
      duplex: 'half',
    });
  }

  async #call(path, options) {
    const response = await fetch(`http://${this.host}${path}`, options);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response;
  }

  #ask(path) {
    return fetch(`http://${this.slowHost}${path}`);
  }

  #spawn(program, args, stdout) {
    const child = spawn(program, args, { stdio: ['ignore', stdout, 'ignore'] });
    this.#processes.push(child);
    return child;
  }

  async #answers() {
    for (let i = 0; i < STARTS; i++) {
      if (await fetch(`http://${this.host}/v2/`).catch(() => null)) return;
      await sleep(100);
    }
    throw new Error('docker-registry did not come up');
  }
}

/** What the names of converted images depend on: a registry's data outlives the run that pushed them. */
export function fingerprint(...parts) {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12);
}
