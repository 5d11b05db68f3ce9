import { RegistryClient } from '../../store/registry/client';
import { RegistrySource } from '../../store/registry/source';
import type { LazyAccess } from '../messages';

/** Repositories that are spoken to at once; the one asked longest ago is let go of. */
const maxClients = 64;
const retry = { attempts: 2, firstPause: 100, maxPause: 1000 } as const;
const connections = 32;

/** A repository of an upstream. */
export interface Repository {
  client: RegistryClient;
  store: ReturnType<typeof RegistrySource.over>;
}

/** The repositories that clients ask for, each with connections and a token of its own. */
export class Upstreams {
  private readonly clients = new Map<string, Promise<Repository>>();

  constructor(private readonly access: LazyAccess) {}

  /** @throws IO when the upstream can't be reached */
  async repository(host: string, repository: string): Promise<Repository> {
    const key = `${host}/${repository}`;
    const known = this.clients.get(key);
    this.clients.delete(key);
    const opened = known ?? this.open(host, repository);
    this.clients.set(key, opened);
    opened.catch(() => this.clients.delete(key));
    this.forgetOldest();
    return opened;
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.clients.values()].map(async (opened) => (await opened).client.close()));
  }

  private async open(host: string, repository: string): Promise<Repository> {
    const options = { ...this.access, retry, concurrency: connections };
    const client = await RegistryClient.open({ host, repository }, 'pull', options);
    return { client, store: RegistrySource.over(client) };
  }

  /** Answers that are under way there are cut off: with so many repositories at once nobody may be reading them. */
  private forgetOldest(): void {
    if (this.clients.size <= maxClients) return;
    const [[key, oldest]] = this.clients as unknown as [[string, Promise<Repository>]];
    this.clients.delete(key);
    oldest.then(
      ({ client }) => client.close(),
      () => undefined,
    );
  }
}
