import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../src/native/binding';
import { connectService } from '../containerd/grpc-client';
import { documentOf } from '../e2e/run-cli';
import { at } from '../e2e/workspace';
import {
  digests,
  dropCaches,
  files,
  mount,
  processesOf,
  read,
  useLazyImage,
  whyNoLazyMounts,
} from './support/lazy-image';
import { titleOf, whyWithout } from './support/machine';
import { leftovers, state, useMounts } from './support/mounting';

// The claim: the unit that `serve --print-config systemd` prints starts, stops and restarts the server while layers are read. systemd is played.

useMounts();

const exec = promisify(execFile);
const reason = whyNoLazyMounts();

/** Listens on a Unix socket, and takes no connection: as systemd holds one. */
const holder = `
import signal, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print(s.fileno(), flush=True)
signal.pause()
`;

/** Prints each datagram that comes, as a service manager gets them. */
const receiver = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True: print(s.recv(4096).decode(), flush=True)
`;

const unitOf = (...flags: string[]) =>
  documentOf<{ unit: string }>(['serve', ...flags, '--print-config', 'systemd']);

/** A unit as systemd runs it: by what it says of starting, of readiness, and of what is killed how. */
class Service {
  private main: ChildProcess | null = null;
  private readonly told: string[] = [];
  private readonly manager: ChildProcess;

  private constructor(
    private readonly unit: string,
    private readonly socket: string,
  ) {
    this.manager = spawn('python3', ['-c', receiver, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.manager.stdout!.on('data', (text: Buffer) => this.told.push(...text.toString().trim().split('\n')));
  }

  static async create(unit: string): Promise<Service> {
    const service = new Service(unit, at('notify'));
    while (service.told.shift() !== 'bound') await sleep(20);
    return service;
  }

  setting(name: string): string {
    const found = new RegExp(`^${name}=(.*)$`, 'm').exec(this.unit);
    if (found === null) throw new Error(`the unit does not say ${name}`);
    return found[1]!;
  }

  /** Resolves when it is up, as systemd sees it. */
  async start(listening: number | null = null): Promise<void> {
    expect(this.setting('Type')).toBe('notify');
    const env = { ...process.env, NOTIFY_SOCKET: this.socket };
    // systemd sets $LISTEN_PID in the process that becomes the service.
    const passing = ['sh', '-c', 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"', '-'];
    const command = this.setting('ExecStart').split(' ');
    const [program, ...args] = listening === null ? command : [...passing, ...command];
    const stdio = ['ignore', 'inherit', 'inherit', ...(listening === null ? [] : [listening])] as const;
    this.main = spawn(program!, args, { stdio: [...stdio], env });
    while (this.told.shift() !== 'READY=1') {
      if (this.main.exitCode !== null) throw new Error(`it has ended with ${this.main.exitCode}`);
      await sleep(20);
    }
  }

  /** The main process alone gets the signal. @returns its exit code */
  async stop(): Promise<number | null> {
    expect(this.setting('KillMode')).toBe('process');
    if (this.main?.exitCode !== null) return null;
    const ended = once(this.main, 'exit');
    this.main.kill(this.setting('KillSignal') as NodeJS.Signals);
    const [code] = (await ended) as [number | null];
    expect(this.told).toContain('STOPPING=1');
    this.told.length = 0;
    return code;
  }

  end(): void {
    this.manager.kill('SIGKILL');
    if (this.main?.exitCode === null) this.main.kill('SIGKILL');
  }
}

let service: Service | undefined;
let held: ChildProcess | undefined;
afterEach(() => {
  service?.end();
  held?.kill('SIGKILL');
});

describe.skipIf(reason !== null)(titleOf('the systemd unit', reason), () => {
  useLazyImage();

  test('stopped and started while layers are read: nobody notices; stopped when nothing is mounted: nothing is left', async () => {
    const { unit } = await unitOf('--background', 'off', '--state', state);
    service = await Service.create(unit);
    await service.start();
    await mount();
    expect(await read(files[0]!)).toBe(digests[0]);
    const first = processesOf('server-main')[0];
    expect(await service.stop()).toBe(0);
    expect(processesOf('server-main')).toEqual([first]);
    expect(await read(files[1]!)).toBe(digests[1]);
    await service.start();
    expect(processesOf('server-main')[0]).not.toBe(first);
    dropCaches();
    for (const [i, file] of files.entries()) expect(await read(file)).toBe(digests[i]);
    await documentOf(['umount', at('target'), '--state', state]);
    expect(await service.stop()).toBe(0);
    expect([...processesOf('server-main'), ...processesOf('main.js serve'), ...leftovers()]).toEqual([]);
  });

  test('stopped for good while something is mounted: what serves it ends with the last umount', async () => {
    service = await Service.create((await unitOf('--background', 'off', '--state', state)).unit);
    await service.start();
    await mount();
    expect(await service.stop()).toBe(0);
    expect(await read(files[0]!)).toBe(digests[0]);
    await documentOf(['umount', at('target'), '--state', state]);
    while (processesOf('server-main').length > 0) await sleep(50);
    expect([existsSync(join(state, 'lazy/socket')), leftovers()]).toEqual([false, []]);
  });

  test('a socket that systemd holds is served, and stays; who connects while nobody serves it is answered by the next', async () => {
    const socket = at('snapshotter.sock');
    const { unit } = await unitOf('--state', state, '--snapshotter', socket);
    service = await Service.create(unit);
    held = spawn('python3', ['-c', holder, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [fd] = (await once(held.stdout!, 'data')) as [Buffer];
    const listening = native.sys.takeDescriptor(held.pid!, Number(fd));
    const { ino } = statSync(socket);
    const client = connectService(socket, 'snapshots');
    const asked = client.list('List', { snapshotter: 'seekable' }); // before anybody is there
    await service.start(listening);
    expect(await asked).toEqual([{ info: [] }]);
    expect(await service.stop()).toBe(0);
    expect(statSync(socket).ino).toBe(ino);
    const next = connectService(socket, 'snapshots');
    const askedAgain = next.list('List', { snapshotter: 'seekable' });
    await service.start(listening);
    expect(await askedAgain).toEqual([{ info: [] }]);
    expect(await service.stop()).toBe(0);
    for (const one of [client, next]) one.close();
    closeSync(listening);
  });
});

const noVerify = whyWithout('systemd-analyze');

test.skipIf(noVerify !== null)(
  titleOf('systemd finds nothing to complain of in the unit', noVerify),
  async () => {
    const flags = ['--erofs-cache', at('cache'), '--registry', '127.0.0.1:5050', '--upstream', 'r.example'];
    const doors = ['--snapshotter', at('a.sock'), '--differ', at('b.sock'), '--state', at('100% $HOME')];
    writeFileSync(at('seekable.service'), (await unitOf(...flags, ...doors)).unit);
    const { stderr } = await exec('systemd-analyze', ['verify', at('seekable.service')]);
    expect(stderr).toBe('');
    expect(readFileSync(at('seekable.service'), 'utf8')).toContain('Before=containerd.service');
  },
);
