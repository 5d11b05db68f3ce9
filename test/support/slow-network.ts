import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What lies between a client and its server. */
interface Network {
  /** Of a request; a new connection takes as long once more. In milliseconds. */
  roundTrip: number;
  /** Bytes a second of all answers together. */
  bandwidth: number;
}

/** A way on 127.0.0.1 to a server, as long and as narrow as a network's. */
export class SlowNetwork {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  /** When the line has carried what was sent so far: performance.now(). */
  private free = 0;

  private constructor(
    target: string,
    private readonly network: Network,
  ) {
    const [host, port] = target.split(':');
    this.server = createServer((client) => {
      this.carry(client, connect(Number(port), host));
    });
  }

  static async start(target: string, network: Network): Promise<SlowNetwork> {
    const slow = new SlowNetwork(target, network);
    await new Promise<void>((resolve) => slow.server.listen(0, '127.0.0.1', resolve));
    return slow;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private carry(client: Socket, server: Socket): void {
    const opened = performance.now() + this.network.roundTrip;
    this.pass(client, server, () => Math.max(opened, performance.now()) + this.network.roundTrip);
    this.pass(server, client, (size) => this.carried(size));
  }

  /** Hands on what comes, each piece at the time that `due` gives for its size: performance.now(). They stay in order. */
  private pass(from: Socket, to: Socket, due: (size: number) => number): void {
    let last = Promise.resolve();
    const after = (time: number, act: () => void): void => {
      last = last.then(() => sleep(time - performance.now())).then(act);
    };
    this.sockets.add(from);
    from.on('data', (piece: Buffer) => {
      after(due(piece.length), () => to.write(piece));
    });
    from.on('end', () => {
      after(due(0), () => to.end());
    });
    from.on('error', () => to.destroy());
    from.on('close', () => this.sockets.delete(from));
  }

  /** When the line has carried so many bytes more. */
  private carried(size: number): number {
    this.free = Math.max(this.free, performance.now()) + (size / this.network.bandwidth) * 1000;
    return this.free;
  }
}
