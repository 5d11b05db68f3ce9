import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { SeekableErofsError } from '../../errors';
import type { JobOptions, WarningOptions } from '../../job';
import { startListening, untilAborted } from '../../listening';
import { answerMetrics } from '../../metrics-server';
import { checkOptions } from '../../options';
import type { RegistryOptions } from '../../store/registry/options';
import { queueCounters, type ServiceCounters } from '../counters';
import { Queues } from '../queues';
import { Intake, type Outcome } from './intake';
import { parseNotification } from './notification';
import { readPolicy } from './policy';
import { poll } from './poll';
import { isSigned, readSecret, shownBy } from './secret';

/** How webhooks are taken. */
export interface HookOptions extends Pick<JobOptions, 'signal'>, WarningOptions, RegistryOptions {
  /** `ADDR:PORT` */
  listen: string;
  /** The policy's file (docs/service.md). */
  policy: string;
  /** The queue's URL. */
  queue: string;
  /** Look at the registries too, every so many seconds. */
  poll?: number | undefined;
  /** Called with the URL. */
  onReady?: ((url: string) => void) | undefined;
}

/** Bytes of a notification: Distribution's with a hundred events are smaller. */
const maxBody = 1 << 20;
/** Bodies that are read at once, so that memory is bounded whoever sends. */
const atOnce = 64;
const requestTimeout = 10_000; // milliseconds

/**
 * Takes webhooks until `signal` is aborted, and puts what the policy says into the queue. 202 when Redis has it, 401 for what shows no secret, 413 for what
 * is too large, 400 for what makes no sense, 503 while Redis is away or too much comes at once: registries then send it again.
 * @throws USAGE for a policy that makes no sense, and as Queues.open(); IO when the address can't be had
 */
export async function serveHooks(options: HookOptions): Promise<void> {
  checkOptions('serveHooks', options);
  const { listen, signal, onReady } = options;
  const policy = await readPolicy(options.policy);
  const secret = await readSecret(policy);
  const queues = await Queues.open(options.queue, options);
  try {
    const counters = await queueCounters(queues);
    const intake = countedIntake(new Intake(queues, policy), counters);
    const hooks = new HookServer(intake, secret, counters);
    const isReady = (): boolean => queues.redis.status === 'ready';
    const server = createServer((request, response) => {
      if (!answerMetrics(request, response, counters, isReady)) void hooks.answer(request, response);
    });
    server.requestTimeout = requestTimeout;
    server.maxConnections = 1000;
    onReady?.(await startListening(server, listen));
    const polling = poll(intake, policy, options);
    await untilAborted(signal);
    await hooks.untilQuiet();
    server.closeAllConnections();
    server.close();
    await polling;
  } finally {
    await queues.close();
  }
}

/** What is heard and what is found by looking is counted alike. */
function countedIntake(intake: Pick<Intake, 'take'>, { hooks }: ServiceCounters): Pick<Intake, 'take'> {
  return {
    async take(image) {
      const outcome = await intake.take(image);
      hooks.inc({ outcome });
      return outcome;
    },
  };
}

class HookServer {
  private underWay = 0;

  constructor(
    private readonly intake: Pick<Intake, 'take'>,
    private readonly secret: string | null,
    private readonly counters: ServiceCounters,
  ) {}

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.underWay++;
    try {
      const [status, document] = await this.handle(request);
      this.counters.hooks.inc({ outcome: status === 202 ? 'answered' : String(status) });
      response.writeHead(status, {
        'content-type': 'application/json',
        // What was not read would be taken for the next request.
        ...(request.complete ? {} : { connection: 'close' }),
        ...(status === 503 && { 'retry-after': '5' }),
      });
      response.end(`${JSON.stringify(document)}\n`);
    } catch {
      response.destroy(); // the other side has gone
    } finally {
      this.underWay--;
    }
  }

  /** What is under way is answered before the end. */
  async untilQuiet(): Promise<void> {
    while (this.underWay > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  private async handle(request: IncomingMessage): Promise<[number, object]> {
    if (request.method !== 'POST') return [405, { error: 'POST notifications here' }];
    const shown = shownBy(request.headers, this.secret);
    if (shown === 'nothing') return [401, { error: 'the secret is wrong, or missing' }];
    if (Number(request.headers['content-length'] ?? 0) > maxBody) return [413, { error: 'too large' }];
    if (this.underWay > atOnce) return [503, { error: 'too much at once' }];
    const body = await readBody(request);
    if (body === null) return [413, { error: 'too large' }];
    if (shown === 'signature' && !isSigned(request.headers, body, this.secret!))
      return [401, { error: 'the signature is wrong' }];
    return this.take(body);
  }

  private async take(body: Buffer): Promise<[number, object]> {
    const counts: Record<Outcome, number> = { accepted: 0, duplicate: 0, own: 0, unmatched: 0 };
    try {
      for (const image of parseNotification(JSON.parse(body.toString()))) {
        counts[await this.intake.take(image)]++;
      }
      return [202, counts];
    } catch (error) {
      if (error instanceof SyntaxError) return [400, { error: 'it is no JSON' }];
      if (!(error instanceof SeekableErofsError)) return [503, { error: 'the queue is away' }];
      return [error.code === 'IO' ? 503 : 400, { error: error.message }];
    }
  }
}

/** Null for one that is too large; the rest of it is not read. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > maxBody) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
