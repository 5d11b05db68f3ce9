import * as grpc from '@grpc/grpc-js';
import { digestOf } from '../format/digest';
import { parseImageConfig } from '../oci/config';
import { definitionOf } from './grpc-server';

/** An image in containerd's content store. */
export interface StoredImage {
  /** As it was pulled, `HOST/REPOSITORY@DIGEST`, without a transport. */
  reference: string;
  /** Digest of its manifest. */
  manifest: string;
}

interface Info {
  digest: string;
  created_at: { seconds: number } | null;
  labels: Record<string, string>;
}

/** containerd's labels of a manifest: which blob is its config, and where it comes from. */
const configLabel = 'containerd.io/gc.ref.content.config';
const sourcePrefix = 'containerd.io/distribution.source.';
/** The image that is being pulled is the newest, or nearly so. */
const maxImages = 200;
/** containerd is at hand, and waits; in milliseconds. */
const patience = 10_000;

/** Asks containerd for what it has, on its own socket. */
export class ContentClient {
  private readonly client: grpc.Client;
  private readonly methods = definitionOf('content');

  constructor(
    socket: string,
    private readonly namespace: string,
  ) {
    this.client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure());
  }

  /** The image that has a chain of layers, by the chain ID of its uppermost; nothing when none of the newest has. Several
   * where it may come from several ports. */
  async findImage(chainId: string): Promise<StoredImage[]> {
    const pages = (await this.call('List', { filters: [`labels."${configLabel}"`] })) as { info: Info[] }[];
    const newest = pages
      .flatMap(({ info }) => info)
      .sort((a, b) => (b.created_at?.seconds ?? 0) - (a.created_at?.seconds ?? 0))
      .slice(0, maxImages);
    for (const { digest, labels } of newest) {
      const source = Object.entries(labels).find(([name]) => name.startsWith(sourcePrefix));
      if (source === undefined || !(await this.hasChain(labels[configLabel]!, chainId))) continue;
      const [repository] = source[1].split(',');
      const hosts = await this.hostsOf(source[0].slice(sourcePrefix.length));
      return hosts.map((host) => ({ reference: `${host}/${repository}@${digest}`, manifest: digest }));
    }
    return [];
  }

  close(): void {
    this.client.close();
  }

  /** Its labels leave out the port. Images that were pulled before have it in their names. */
  private async hostsOf(name: string): Promise<string[]> {
    const { path, requestSerialize, responseDeserialize } = definitionOf('images')['List']!;
    const { images } = await new Promise<{ images: { name: string }[] }>((resolve, reject) => {
      const options = { deadline: Date.now() + patience };
      const answered = (error: Error | null, answer?: unknown): void => {
        if (error === null) resolve(answer as { images: { name: string }[] });
        else reject(error);
      };
      this.client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        {},
        this.metadata,
        options,
        answered,
      );
    });
    const hosts = images
      .map((image) => image.name.split('/')[0]!)
      .filter((host) => host.startsWith(`${name}:`));
    return [...new Set(hosts), name];
  }

  private get metadata(): grpc.Metadata {
    const metadata = new grpc.Metadata();
    metadata.set('containerd-namespace', this.namespace);
    return metadata;
  }

  /** What can't be read as a config is none that has it. */
  private async hasChain(config: string, chainId: string): Promise<boolean> {
    try {
      const parts = (await this.call('Read', { digest: config })) as {
        data: Buffer;
      }[];
      const bytes = Buffer.concat(parts.map(({ data }) => data));
      if (digestOf(bytes) !== config) return false;
      return chainIds(parseImageConfig(bytes, config).rootfs?.diff_ids ?? []).includes(chainId);
    } catch {
      return false;
    }
  }

  private async call(method: string, request: object): Promise<unknown[]> {
    const { path, requestSerialize, responseDeserialize } = this.methods[method]!;
    const options = { deadline: Date.now() + patience };
    const stream = this.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.metadata,
      options,
    );
    const messages: unknown[] = [];
    for await (const message of stream) messages.push(message);
    return messages;
  }
}

/** Of each layer and all below it (OCI image specification, "Layer ChainID"). Exported for its test. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds)
    chain.push(chain.length === 0 ? diffId : digestOf(Buffer.from(`${chain.at(-1)!} ${diffId}`)));
  return chain;
}
