import { checkOptions } from '../options';
import { keepServer, type KeeperOptions } from './keeper';

/** What serveLazily() takes. */
export type ServeOptions = Omit<KeeperOptions, 'untilIdle'>;

/**
 * Runs the machine's lazy server until `signal` is aborted: mounts with `lazy: true` and the same state folder use it instead of starting one
 * of their own. FAILED when one runs already, MACHINE without root or FUSE.
 */
export async function serveLazily(options: ServeOptions = {}): Promise<void> {
  checkOptions('serveLazily', options);
  return keepServer(options);
}
