import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { JobOptions, WarningOptions } from '../job';
import { parseListen, startListening, untilAborted } from '../listening';
import { answerMetrics } from '../metrics-server';
import { queueCounters } from './counters';
import { dashboardPackages, optional } from './optional';
import { Queues } from './queues';

/** How the page is served. */
export interface DashboardOptions extends Pick<JobOptions, 'signal'>, WarningOptions {
  /** Whoever sees the page may retry and remove jobs, and stop the queue. */
  write?: boolean | undefined;
  /** Called with the page's URL. */
  onReady?: ((url: string) => void) | undefined;
}

/** Names that browsers of this machine know it by: others lead here by a foreign page's doing. */
const ownNames = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/**
 * Serves Bull Board, a web page that shows a queue, with `/metrics`, `/healthz` and `/readyz` beside it, until `signal` is aborted. There is no
 * log-in: on loopback, only pages of this machine's names are answered.
 * @throws as Queues.open(), MACHINE where Bull Board is not installed, IO when the address can't be had
 */
export async function serveDashboard(url: string, listen: string, options: DashboardOptions): Promise<void> {
  const { host } = parseListen(listen);
  const isLoopback = ownNames.test(host) || host === '::1';
  if (!isLoopback)
    options.onWarning?.(
      `whoever reaches ${listen} sees the queue${options.write === true ? ', and may change it' : ''}`,
    );
  const queues = await Queues.open(url, options);
  try {
    const page = await createPage(queues, options.write !== true);
    const counters = await queueCounters(queues);
    const server = createServer((request, response) => {
      if (isLoopback && !ownNames.test(request.headers.host ?? '')) response.writeHead(403).end();
      else if (isForbidden(request, options.write === true)) response.writeHead(405).end();
      else if (!answerMetrics(request, response, counters, () => queues.redis.status === 'ready'))
        page(request, response);
    });
    options.onReady?.(await startListening(server, listen));
    await untilAborted(options.signal);
    server.closeAllConnections();
    server.close();
  } finally {
    await queues.close();
  }
}

/** Changes, unless they are allowed, and then those that another site's page asks for. */
function isForbidden({ method = 'GET', headers }: IncomingMessage, mayWrite: boolean): boolean {
  if (method === 'GET' || method === 'HEAD') return false;
  const site = headers['sec-fetch-site'];
  return !mayWrite || (site !== undefined && site !== 'same-origin' && site !== 'none');
}

async function createPage(queues: Queues, readOnlyMode: boolean): Promise<RequestListener> {
  const load = <T>(from: () => Promise<T>): Promise<T> => optional(from, 'the dashboard', dashboardPackages);
  const { createBullBoard } = await load(() => import('@bull-board/api'));
  const { BullMQAdapter } = await load(() => import('@bull-board/api/bullMQAdapter'));
  const { ExpressAdapter } = await load(() => import('@bull-board/express'));
  const serverAdapter = new ExpressAdapter();
  serverAdapter.setBasePath('/');
  createBullBoard({
    queues: [queues.images, queues.layers].map(
      (queue) => new BullMQAdapter(queue, { readOnlyMode, allowRetries: !readOnlyMode }),
    ),
    serverAdapter,
  });
  return serverAdapter.getRouter() as RequestListener;
}
