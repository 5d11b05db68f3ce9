import { Option, type Command } from 'commander';
import type { QueueAdmin, QueuedJob } from '../../index';
import { defineCommand, finishCommand, type Session } from '../command';
import { library } from '../library';
import { parseCount } from '../options';
import type { Report } from '../output';
import { humanCount, table } from '../text';
import { dashboardCommand } from './dashboard';
import { queueFlag } from './queue-flag';

const states = ['waiting', 'active', 'delayed', 'failed', 'done'] as const;

/** `queue ls`, `queue show` and what else can be done to a queue. */
export function queueCommand(session: Session): Command {
  const command = defineCommand('queue', 'See and steer what a queue has', [
    'queue ls --state failed --queue redis://queue.example',
    'queue retry --queue redis://queue.example',
    'queue dashboard --listen 127.0.0.1:8080 --queue redis://queue.example',
  ]);
  command.addCommand(listCommand(session));
  for (const [usage, { summary, work }] of Object.entries(acts))
    command.addCommand(actCommand(session, usage, summary, work));
  command.addCommand(dashboardCommand(session));
  return command;
}

type Act = (queue: QueueAdmin, args: string[]) => Promise<Report>;

const acts: Record<string, { summary: string; work: Act }> = {
  'show <ID>': {
    summary: 'Show all that is known of a job',
    work: async (queue, [id]) => {
      const job = await queue.show(id!);
      const text = Object.entries(job).map(([key, value]) => `${key}: ${asText(value)}`);
      return { document: job, text };
    },
  },
  'retry [ID...]': {
    summary: 'Give jobs that failed new attempts: those named, or all',
    work: async (queue, ids) => {
      const count = await queue.retry(ids);
      return {
        document: { retried: count },
        text: [],
        summary: [`${humanCount(count, 'job waits', 'jobs wait')} again`],
      };
    },
  },
  'rm <ID...>': {
    summary: 'Remove jobs',
    work: async (queue, ids) => {
      await queue.remove(ids);
      return { document: { removed: ids }, text: [], summary: [`removed ${ids.length}`] };
    },
  },
  pause: {
    summary: 'Have workers take nothing new',
    work: async (queue) => {
      await queue.pause();
      return { document: { paused: true }, text: [], summary: ['paused'] };
    },
  },
  resume: {
    summary: 'Have workers take jobs again',
    work: async (queue) => {
      await queue.resume();
      return { document: { paused: false }, text: [], summary: ['workers take jobs'] };
    },
  },
  drain: {
    summary: 'Remove all jobs that wait; what is under way ends',
    work: async (queue) => {
      const removed = await queue.drain();
      return { document: { removed }, text: [], summary: [`removed ${removed}`] };
    },
  },
};

function actCommand(session: Session, usage: string, summary: string, work: Act): Command {
  const command = defineCommand(usage, summary, [
    `queue ${usage.toLowerCase()} --queue redis://queue.example`,
  ]);
  command.addOption(queueFlag().makeOptionMandatory());
  return finishCommand(command, session, async (_, args) => {
    const { withQueue } = await library();
    return withQueue(command.opts<{ queue: string }>().queue, (queue) => work(queue, args));
  });
}

function listCommand(session: Session): Command {
  const command = defineCommand('ls', 'List the jobs', [
    'queue ls --state failed --queue redis://queue.example',
  ]);
  command
    .addOption(queueFlag().makeOptionMandatory())
    .addOption(new Option('--state <state>', 'only these').choices(states))
    .option('--limit <n>', 'at most so many (default: 10000)', parseCount);
  return finishCommand(command, session, async () => {
    const {
      queue: url,
      state,
      limit,
    } = command.opts<{ queue: string; state?: QueuedJob['state']; limit?: number }>();
    const { withQueue } = await library();
    const document = await withQueue(url, (queue) => queue.list(state && [state], limit));
    const rows = document.map((job) => [
      ...[job.id, job.state, String(job.attempts), job.source, job.destination],
      job.error ?? '',
    ]);
    return { document, text: table(rows) };
  });
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
