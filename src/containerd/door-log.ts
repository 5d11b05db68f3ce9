import { logLine } from '../lazy/log-line';

type Fields = Readonly<Record<string, string | number>>;

/** What the doors to containerd have done, one line an event. */
export class DoorLog {
  /** @param json one object a line */
  constructor(private readonly json = false) {}

  event(name: string, fields: Fields = {}): void {
    if (this.json) {
      logLine(JSON.stringify({ time: new Date().toISOString(), event: name, ...fields }));
      return;
    }
    const shown = Object.entries(fields).map(
      ([key, value]) => `${key}=${/[\s"]/.test(`${value}`) ? JSON.stringify(value) : value}`,
    );
    logLine(['containerd:', name, ...shown].join(' '));
  }

  warning(line: string): void {
    if (this.json) this.event('warning', { message: line });
    else logLine(`warning: ${line}`);
  }
}
