import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeekableErofsError, type ErrorCode } from '../errors';
import { listenForDoor } from './door-socket';
import type { RegistryOptions } from '../store/registry/options';

/** What the process of the doors is started with. */
export interface DoorSettings {
  state?: string | undefined;
  /** Sockets; absent: no such door. */
  snapshotter?: string | undefined;
  differ?: string | undefined;
  /** Where containerd keeps its data. */
  root: string;
  /** Its own socket. */
  address: string;
  /** How registries are spoken to. */
  access: RegistryOptions;
  /** A JSON object for each line of the log. */
  json: boolean;
}

/** What that process tells. */
export type DoorMessage =
  { ready: true } | { failed: { code: ErrorCode; what: string; why: string; hint?: string | undefined } };

const restartPause = 100;
/** It answers calls that are under way, and a layer takes its time to be unpacked. */
const stopTime = 20_000;

/** A service, by the flag that asks for it. */
export type Door = 'snapshotter' | 'differ';

/**
 * The doors to containerd: their sockets, which this process keeps, and the process that answers. One that dies is followed by another, which goes
 * on with the same snapshots; who connects meanwhile waits, instead of being refused. One that is told to be replaced ends its calls first.
 */
export class Doors {
  private child: ChildProcess | null = null;
  private isReady = false;
  private isStopping = false;
  private readonly listeners: Server[] = [];
  /** Connections that no process has taken yet. */
  private readonly waiting: { door: Door; connection: Socket }[] = [];

  constructor(
    private readonly settings: DoorSettings,
    private readonly onWarning: (line: string) => void,
  ) {}

  /** Resolves when all doors are open. @throws FAILED when somebody listens on a socket, and what the first process was refused with */
  async start(): Promise<void> {
    for (const door of ['snapshotter', 'differ'] as const) {
      const path = this.settings[door];
      if (path === undefined) continue;
      const onConnection = (connection: Socket): void => {
        this.waiting.push({ door, connection });
        this.handOver();
      };
      this.listeners.push(await listenForDoor(path, onConnection));
    }
    await this.run();
  }

  /** Replaces the process, by a newer version if one was installed. */
  restart(): void {
    this.child?.kill('SIGTERM');
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    for (const listener of this.listeners.splice(0)) listener.close();
    for (const { connection } of this.waiting.splice(0)) connection.destroy();
    const { child } = this;
    if (child === null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTime);
    await ended;
    clearTimeout(timer);
  }

  private handOver(): void {
    if (!this.isReady || this.child?.connected !== true) return;
    for (const { door, connection } of this.waiting.splice(0))
      this.child.send({ door }, connection, (error) => error && connection.destroy());
  }

  private async run(): Promise<void> {
    const child = spawn(process.execPath, [join(__dirname, 'door-main.js'), JSON.stringify(this.settings)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.child = child;
    let why: Error = new Error('it has ended before it was ready');
    const ready = new Promise<boolean>((resolve) => {
      child.on('message', (message: DoorMessage) => {
        if ('failed' in message) why = new SeekableErofsError(message.failed.code, message.failed);
        else resolve(true);
      });
      child.once('error', (error) => (why = error));
      child.once('close', () => {
        resolve(false);
      });
    });
    child.once('close', () => {
      this.child = null;
      this.isReady = false;
      void ready.then((wasReady) => (wasReady ? this.again() : undefined));
    });
    if (!(await ready)) throw why;
    this.isReady = true;
    this.handOver();
  }

  private async again(): Promise<void> {
    for (;;) {
      await sleep(restartPause);
      if (this.isStopping) return;
      this.onWarning('the doors to containerd are opened again: their process had ended');
      try {
        await this.run();
        return;
      } catch (error) {
        this.onWarning(`${(error as Error).message}; trying again`);
      }
    }
  }
}
