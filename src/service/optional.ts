import { failure } from '../errors';

/** What a queue needs is not installed with the package: most of its users have no use for it. */
export const queuePackages = ['bullmq', 'ioredis'] as const;
export const dashboardPackages = ['@bull-board/api', '@bull-board/express'] as const;

/** Loads a package that users install by themselves. MACHINE, with what to install, where it is missing. */
export async function optional<T>(
  load: () => Promise<T>,
  what: string,
  packages: readonly string[],
): Promise<T> {
  try {
    return await load();
  } catch (error) {
    if (!['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw error;
    const missing = packages.join(' and ');
    throw failure('MACHINE', what, `it needs ${missing}`, `npm install ${packages.join(' ')}`);
  }
}
