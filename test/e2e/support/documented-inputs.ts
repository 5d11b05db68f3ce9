import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { hostPlatform } from '../../../src/oci/platform';
import { archiveOf, layoutArchive } from '../../store/docker/docker-archives';
import type { FakeRegistry } from '../../support/fake-registry';
import { documentOf } from '../run-cli';
import { blobPath, makeTar, noise, readBlob, writeLayout } from '../sample';

const program = resolve(__dirname, '../../../dist/cli/main.js');

interface Named {
  mediaType: string;
  digest: string;
  annotations: Record<string, string>;
}

interface Manifest {
  config: { digest: string };
  layers: { digest: string }[];
}

/** The layers of the image that the documents call `app`. */
async function appTars(): Promise<[Buffer, Buffer]> {
  const dir = { type: 'directory', mode: 0o755 } as const;
  const base = await makeTar([
    { name: 'etc/', ...dir },
    { name: 'etc/hostname', content: 'app\n' },
    { name: 'etc/os-release', content: 'PRETTY_NAME="Example Linux 1"\nID=example\n' },
    { name: 'usr/bin/app', mode: 0o755, content: noise(3_000_000, 'app') },
    { name: 'usr/share/words', content: 'all work and no play\n'.repeat(100_000) },
  ]);
  const top = await makeTar([{ name: 'etc/app.conf', content: 'port = 8080\n' }]);
  return [base, top];
}

/** Puts what the documents' commands read into a folder and a registry. `bin` of the folder has the program by its name. */
export async function placeInputs(folder: string, registry: FakeRegistry): Promise<void> {
  const tars = await appTars();
  await writeProgram(join(folder, 'bin'));
  for (const name of ['lib', 'cache']) await mkdir(join(folder, 'var', name), { recursive: true });
  await writeLayoutOf(join(folder, 'app'), tars, ['latest', 'v1', 'v2']);
  await writeFile(join(folder, 'layer.tar'), tars[0]);
  await writeFile(join(folder, 'layer.tar.gz'), gzipSync(tars[0]));
  await writeFile(join(folder, 'saved.tar'), await archiveOf(layoutArchive([...tars], ['app:v1'])));
  await convert(folder, 'oci:app:latest', 'oci:app:erofs', '--dm-verity');
  for (const [repository, tag] of [
    ['app', 'v1'],
    ['app', 'v2'],
    ['app', '1'],
    ['library/alpine', 'latest'],
  ] as const)
    await pushImage(join(folder, 'app'), registry, repository, tag);
  await convert(folder, 'oci:app:latest', `docker://${registry.host}/app:erofs`);
  await writeTrace(folder, registry.host);
  const app = { source: 'docker://registry.example/app:v1', destination: 'oci:images:app' };
  const saved = { source: 'docker-archive:saved.tar:app:v1', destination: 'oci:images:app-too' };
  for (const [name, jobs] of Object.entries({ images: [app], more: [app, saved] }))
    await writeFile(join(folder, `${name}.yaml`), mapPlaces(JSON.stringify(jobs), registry.host)); // JSON is YAML
}

/** Text in which the documents' registries are the one that is here, and folders of the machine are in the working folder. */
export function mapPlaces(text: string, host: string): string {
  return text
    .replaceAll('docker.io', host)
    .replaceAll('registry.example', host)
    .replace(/(?<=[ :])\/var\//g, 'var/');
}

async function writeProgram(bin: string): Promise<void> {
  await mkdir(bin, { recursive: true });
  const path = join(bin, 'seekable-erofs');
  await writeFile(path, `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`);
  await chmod(path, 0o755);
}

async function convert(folder: string, ...args: string[]): Promise<void> {
  await documentOf(['convert', ...args], { cwd: folder });
}

/** One image under several names. */
async function writeLayoutOf(dir: string, tars: Buffer[], refs: string[]): Promise<void> {
  const { os, architecture } = hostPlatform();
  await writeLayout(dir, tars, { ref: refs[0]!, platforms: [`${os}/${architecture}`] });
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as { manifests: [Named] };
  const name = 'org.opencontainers.image.ref.name';
  const manifests = refs.map((ref) => ({ ...index.manifests[0], annotations: { [name]: ref } }));
  await writeFile(join(dir, 'index.json'), JSON.stringify({ ...index, manifests }));
}

/** Copies the first image of a layout to a registry. */
async function pushImage(
  dir: string,
  registry: FakeRegistry,
  repository: string,
  tag: string,
): Promise<void> {
  const { manifests } = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as { manifests: [Named] };
  const [{ digest, mediaType }] = manifests;
  const { config, layers } = await readBlob<Manifest>(dir, digest);
  for (const blob of [config, ...layers])
    registry.putBlob(repository, await readFile(blobPath(dir, blob.digest)));
  registry.putManifest(repository, tag, mediaType, await readFile(blobPath(dir, digest)));
}

async function writeTrace(folder: string, host: string): Promise<void> {
  const image = `docker://${host}/app:erofs`;
  const digest = await documentOf<{ digest: string }>(['inspect', image, '--depth', '0'], {
    cwd: folder,
  });
  const layer = `sha256:${'a'.repeat(64)}`;
  const reads = ['/usr/bin/app', '/usr/share/words'].map((path, i) => ({
    path,
    layer,
    ranges: [[0, 65_536]],
    firstMs: 20 * i,
  }));
  const { os, architecture } = hostPlatform();
  const trace = { schema: 1, image: `${image}@${digest.digest}`, platform: `${os}/${architecture}`, reads };
  await writeFile(join(folder, 'app.trace'), JSON.stringify(trace));
}
