import type { EntryNotice } from '../../native/binding';
import { showBytes } from '../../format/escaped-path';

/** Gathers what couldn't be restored: thousands of entries that lack the same thing make one line, about the first by its path. */
export class ExtractNotices {
  /** Devices that were not made. */
  missing = 0;
  private readonly kinds = new Map<string, { first: EntryNotice; count: number }>();

  add(notices: readonly EntryNotice[]): void {
    for (const notice of notices) {
      if (notice.subject === 'device') this.missing++;
      const kind = `${notice.subject} ${notice.why}`;
      const known = this.kinds.get(kind);
      if (known === undefined) {
        this.kinds.set(kind, { first: notice, count: 1 });
        continue;
      }
      known.count++;
      if (notice.path < known.first.path) known.first = notice;
    }
  }

  lines(): string[] {
    return [...this.kinds.values()].map(({ first: { path, subject, why }, count }) => {
      const what = subject === 'device' ? 'device not made' : `${showBytes(subject)} not restored`;
      const others = count === 1 ? '' : ` (and of ${count - 1} more)`;
      return `/${showBytes(path)}: ${what}: ${why}${others}`;
    });
  }
}
