import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { DockerRegistry } from './docker-registry';
import { RedisServer } from './redis-server';
import { serve, stop } from './serving-process';
import { WorkerProcess } from './worker-process';

/** What tests of queues work with: a folder, Redis, a registry, and the processes that they start. */
export class Fleet {
  /** What events for the hook server of these tests are signed with. */
  readonly secret = 'a secret of hooks, for a test';
  folder = '';
  redis!: RedisServer;
  /** Where it was asked for. */
  registry!: DockerRegistry;
  /** Those of the test that runs. */
  workers: WorkerProcess[] = [];
  private servers: ChildProcess[] = [];

  async start(needs: { registry: boolean }): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'fleet-'));
    this.redis = await RedisServer.start(join(this.folder, 'redis'));
    if (needs.registry) this.registry = await DockerRegistry.start(join(this.folder, 'registry'));
  }

  async endProcesses(): Promise<void> {
    await Promise.all([
      ...this.workers.map((worker) => worker.end('SIGKILL')),
      ...this.servers.map((child) => stop(child)),
    ]);
    [this.workers, this.servers] = [[], []];
  }

  async stop(): Promise<void> {
    await this.redis.kill();
    await (this.registry as DockerRegistry | undefined)?.stop();
    await rm(this.folder, { recursive: true });
  }

  /** The address of a queue of its own. */
  queueOf(name: string): string {
    return `${this.redis.url}?prefix=${name}`;
  }

  startWorker(queue: string, flags: string[] = [], env: NodeJS.ProcessEnv = {}): WorkerProcess {
    const worker = WorkerProcess.start(queue, ['--threads', '1', '--lease', '3', ...flags], { env });
    this.workers.push(worker);
    return worker;
  }

  /** Starts a command that serves something; resolves when it does. */
  serve(...args: string[]): Promise<{ url: string; child: ChildProcess }> {
    return serve(this.servers, ...args);
  }

  /** The file of a list for `batch`. */
  async writeList(name: string, jobs: readonly object[]): Promise<string> {
    const file = join(this.folder, `${name}.json`);
    await writeFile(file, JSON.stringify(jobs));
    return file;
  }

  /** The file of a policy for `hooks`. */
  async writePolicy(name: string, rules: readonly object[]): Promise<string> {
    const [file, secretFile] = [join(this.folder, `${name}.yaml`), join(this.folder, 'secret')];
    await writeFile(secretFile, `${this.secret}\n`);
    await writeFile(file, JSON.stringify({ 'secret-file': secretFile, rules }));
    return file;
  }
}

/** Gives the tests of the calling file a fleet, whose processes end with each test; `whyNot` they are skipped, nothing is started. */
export function useFleet(whyNot: string | null, { registry = false }: { registry?: boolean } = {}): Fleet {
  const fleet = new Fleet();
  if (whyNot !== null) return fleet;
  beforeAll(() => fleet.start({ registry }));
  afterEach(() => fleet.endProcesses());
  afterAll(() => fleet.stop());
  return fleet;
}
