import { tmpdir } from 'node:os';
import { failure, SeekableErofsError } from '../../errors';
import { formatDigest } from '../../format/digest';
import type { ResourceOptions } from '../../job';
import { native } from '../../native/binding';
import { runNative } from '../../native/run';
import { parseImageConfig } from '../../oci/config';
import { maxListSize, serializeJson } from '../../format/json';
import { corrupt, parseJsonObject } from '../../oci/json';
import type { BlobFile, SourceStore } from '../../oci/store';
import type { Descriptor } from '../../oci/types';
import type { ByteSource } from '../../source/byte-source';
import { openArchiveFile } from '../archive/open-archive';
import { openArchiveFiles, type ArchiveFiles } from '../archive/tar-members';
import { checkSize } from '../blob-content';
import { agreeingManifest } from './layout';
import { findImage, isLayerId, parseDockerManifest, parseRepositories } from './manifest';
import { configOfV1, parentOf, readV1Layers } from './v1';
import { readSmallFile, type LayoutFile, type LayoutSource } from '../layout/source';
import { DerivedManifest } from './derived-manifest';
import { humanCount } from '../../quantity';

/**
 * Opens what `docker save` wrote, in any of its forms: with a `manifest.json` (Docker 1.10 and later), with nothing but a folder for each
 * layer and mostly `repositories` (before that), and with an image layout as well (Docker 25 and later), which must agree. `-` is
 * standard input, spooled to an unlinked temporary file as a gzip-compressed one is.
 */
export async function openDockerArchiveSource(
  path: string,
  options: ResourceOptions = {},
): Promise<DockerArchiveSource> {
  const files = await openArchiveFiles(await openArchiveFile(path, options), options);
  return new DockerArchiveSource(`docker-archive:${path}`, files, options);
}

/** A `docker save` archive that images are read from. Unless it is a layout as well, descriptors and manifest are made here. */
class DockerArchiveSource implements SourceStore {
  private readonly made: DerivedManifest;
  private layout: LayoutSource | null = null;

  constructor(
    readonly name: string,
    private readonly files: ArchiveFiles,
    private readonly options: ResourceOptions,
  ) {
    this.made = new DerivedManifest(name, options);
  }

  /** @throws NOT_FOUND when it is no such archive, or has no such image; CORRUPT, MISMATCH */
  async resolve(reference: string | undefined): Promise<Descriptor> {
    if (!this.files.has('manifest.json')) return this.resolveV1(reference);
    const what = `${this.name}, manifest.json`;
    const images = parseDockerManifest(
      await readSmallFile(this.files, 'manifest.json', what, maxListSize),
      what,
    );
    const image = findImage(images, reference, this.name);
    const config = await this.readPart(image.config);
    const agreed = await agreeingManifest(this.name, this.files, image, config);
    if (agreed !== null) {
      this.layout = agreed.layout;
      return agreed.descriptor;
    }
    const { rootfs } = parseImageConfig(config, `${this.name}, ${image.config}`);
    const diffIds = rootfs?.diff_ids ?? [];
    if (diffIds.length !== image.layers.length) {
      throw corrupt(
        what,
        `${humanCount(image.layers.length, 'layer')}, but ${image.config} has ${humanCount(diffIds.length, 'diff_id')}`,
      );
    }
    return this.addImage(config, image.layers, diffIds);
  }

  async readJson(descriptor: Descriptor): Promise<Buffer> {
    return this.layout === null ? this.made.document(descriptor) : this.layout.readJson(descriptor);
  }

  async openBlob(descriptor: Descriptor): Promise<ByteSource> {
    return this.openFile(descriptor);
  }

  async openFile(descriptor: Descriptor): Promise<BlobFile> {
    if (this.layout !== null) return this.layout.openFile(descriptor);
    const { digest, size } = descriptor;
    const file = await this.openPart(this.made.path(descriptor), `blob ${digest}`);
    checkSize(digest, size, file.size);
    return file;
  }

  async close(): Promise<void> {
    await this.files.close();
  }

  /** An archive from before `manifest.json` has no config, and DiffIDs have to be computed. */
  private async resolveV1(reference: string | undefined): Promise<Descriptor> {
    const { top } = findImage(await this.listV1(), reference, this.name);
    const layers = await readV1Layers(top, (id) => this.readPart(`${id}/json`), this.name);
    const paths = layers.map(({ id }) => `${id}/layer.tar`);
    const diffIds: string[] = [];
    for (const path of paths) diffIds.push(await this.diffIdOf(path));
    const config = serializeJson(configOfV1(layers, diffIds, this.name), this.name);
    return this.addImage(config, paths, diffIds);
  }

  /** Of an image that was saved by its ID there is no tag: it is what no layer has for its parent. */
  private async listV1(): Promise<{ top: string; tags: string[] }[]> {
    if (this.files.has('repositories')) {
      const what = `${this.name}, repositories`;
      const tags = parseRepositories(
        await readSmallFile(this.files, 'repositories', what, maxListSize),
        what,
      );
      return [...tags].map(([tag, top]) => ({ top, tags: [tag] }));
    }
    const folders = [...this.files.paths()].flatMap((path) => /^([^/]+)\/json$/.exec(path)?.[1] ?? []);
    const ids = folders.filter(isLayerId);
    if (ids.length === 0) {
      const hint = this.files.has('oci-layout') ? 'it is an image layout: oci-archive:' : undefined;
      throw failure('NOT_FOUND', this.name, 'there is neither manifest.json nor a layer in it', hint);
    }
    const parents = new Set<string | undefined>();
    for (const id of ids) {
      const what = `${this.name}, ${id}/json`;
      parents.add(parentOf(parseJsonObject(await this.readPart(`${id}/json`), what), what));
    }
    return ids.filter((id) => !parents.has(id)).map((top) => ({ top, tags: [] }));
  }

  private async addImage(config: Buffer, paths: readonly string[], diffIds: readonly string[]) {
    const layers: Descriptor[] = [];
    for (const [i, path] of paths.entries()) {
      layers.push(await this.made.addLayer(path, await this.openPart(path), diffIds[i]!));
    }
    return this.made.addManifest(config, layers);
  }

  private async diffIdOf(path: string): Promise<string> {
    const file = await this.openPart(path);
    const plain = new native.Source(file);
    const { tmpDir = tmpdir() } = this.options;
    try {
      const content = await runNative(this.options, (job) => native.openInput(plain, { tmpDir }, job), path);
      const digest =
        content.contentDigest ??
        (await runNative(this.options, (job) => native.hashSource(content.source, job), path));
      content.source.close();
      return formatDigest('sha256', digest);
    } finally {
      plain.close();
    }
  }

  private async readPart(path: string): Promise<Buffer> {
    return this.part(path, () => readSmallFile(this.files, path, `${this.name}, ${path}`));
  }

  private async openPart(path: string, name = `${this.name}, ${path}`): Promise<LayoutFile> {
    return this.part(path, () => this.files.open(path, name));
  }

  /** What the archive itself names must be in it. */
  private async part<T>(path: string, open: () => Promise<T>): Promise<T> {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof SeekableErofsError) || error.code !== 'NOT_FOUND') throw error;
      throw corrupt(this.name, `it names ${JSON.stringify(path.slice(0, 200))}, which is no file in it`);
    }
  }
}
