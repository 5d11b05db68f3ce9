import { expandTemplate, isTemplate } from '../../convert/batch/template';
import { SeekableErofsError } from '../../errors';
import type { JobOptions, WarningOptions } from '../../job';
import { parseReference } from '../../oci/reference';
import { openSource } from '../../store/open';
import { listRepositories, listTags } from '../../store/registry/names';
import type { RegistryOptions } from '../../store/registry/options';
import { realClock } from '../clock';
import type { Intake } from './intake';
import type { Policy, PolicyRule } from './policy';

type PollOptions = Pick<JobOptions, 'signal'> &
  WarningOptions &
  RegistryOptions & { poll?: number | undefined };

/** Looks at the registries of a policy every `poll` seconds, for those that send no events, and for events that got lost; until `signal` is aborted. */
export async function poll(
  intake: Pick<Intake, 'take'>,
  { rules }: Policy,
  options: PollOptions,
): Promise<void> {
  const { poll: seconds, signal, onWarning } = options;
  if (seconds === undefined) return;
  while (signal?.aborted !== true) {
    for (const rule of rules) {
      await look(intake, rule, options).catch((error: unknown) => {
        if (!(error instanceof SeekableErofsError)) throw error;
        if (signal?.aborted !== true && error.code !== 'NOT_FOUND') onWarning?.(error.message);
      });
    }
    await realClock.sleep(seconds * 1000, signal).catch(() => undefined);
  }
}

async function look(
  intake: Pick<Intake, 'take'>,
  { entry }: PolicyRule,
  options: PollOptions,
): Promise<void> {
  const { signal, authFile, certDir, insecureHttp, concurrency } = options;
  const access = { signal, authFile, certDir, insecureHttp, concurrency };
  const names = {
    catalogue: (host: string) => listRepositories(host, access),
    tags: (place: Parameters<typeof listTags>[0]) => listTags(place, access),
  };
  for await (const { source } of isTemplate(entry) ? expandTemplate(entry, names) : [entry]) {
    const reference = parseReference(source);
    if (reference.transport !== 'docker') continue;
    const { store, reference: name } = await openSource(source, access);
    try {
      const { digest } = await store.resolve(name);
      const { host, repository, tag = 'latest' } = reference;
      await intake.take({ host, repository, tag, digest });
    } finally {
      await store.close();
    }
  }
}
