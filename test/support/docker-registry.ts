import { spawn, type ChildProcess } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** How docker-registry is set up; without options it is open to all, over plain HTTP. */
export interface DockerRegistryOptions {
  /** One that is free, where the registry is to be started again. */
  port?: number;
  /** Where it sends its notifications, with this Authorization header. */
  notify?: { url: string; authorization: string };
  /** Lines of an htpasswd file with bcrypt hashes. */
  htpasswd?: string;
  tls?: { certFile: string; keyFile: string };
  token?: { realm: string; service: string; certFile: string };
}

/** Debian's docker-registry on 127.0.0.1, with its storage in a folder. */
export class DockerRegistry {
  private constructor(
    private readonly child: ChildProcess,
    /** `127.0.0.1:PORT` */
    readonly host: string,
    /** The folder of its storage. */
    readonly data: string,
    private readonly log: () => string,
  ) {}

  /** Starts one with everything in `folder`, which is made. */
  static async start(folder: string, options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    await mkdir(folder, { recursive: true });
    const file = join(folder, 'config.json');
    await writeFile(file, JSON.stringify(await configOf(folder, options))); // JSON is YAML
    const child = spawn('docker-registry', ['serve', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    try {
      const host = await new Promise<string>((resolve, reject) => {
        const take = (text: string): void => {
          log = (log + text).slice(-100_000);
          const address = /listening on (127\.0\.0\.1:\d+)/.exec(log)?.[1];
          if (address !== undefined) resolve(address);
        };
        child.stdout.setEncoding('utf8').on('data', take);
        child.stderr.setEncoding('utf8').on('data', take);
        child.on('error', reject);
        child.on('exit', (code) => {
          reject(new Error(`docker-registry ended with ${code}: ${log}`));
        });
      });
      return new DockerRegistry(child, host, join(folder, 'data'), () => log);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** What it printed last, for failures. */
  get lastWords(): string {
    return this.log().slice(-4000);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}

async function configOf(
  folder: string,
  { htpasswd, tls, token, port = 0, notify }: DockerRegistryOptions,
): Promise<object> {
  const passwords = join(folder, 'htpasswd');
  if (htpasswd !== undefined) await writeFile(passwords, htpasswd);
  return {
    version: '0.1',
    log: { level: 'info', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, 'data') }, delete: { enabled: true } },
    http: {
      addr: `127.0.0.1:${port}`,
      relativeurls: true,
      ...(tls && { tls: { certificate: tls.certFile, key: tls.keyFile } }),
    },
    ...(notify && {
      notifications: {
        endpoints: [
          {
            name: 'hooks',
            url: notify.url,
            headers: { Authorization: [notify.authorization] },
            timeout: '5s',
            threshold: 5,
            backoff: '1s',
          },
        ],
      },
    }),
    ...(htpasswd !== undefined && { auth: { htpasswd: { realm: 'test', path: passwords } } }),
    ...(token && {
      auth: {
        token: {
          realm: token.realm,
          service: token.service,
          issuer: 'token-server',
          rootcertbundle: token.certFile,
        },
      },
    }),
  };
}
