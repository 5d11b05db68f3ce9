import { setMaxListeners, type EventEmitter } from 'node:events';
import { SeekableErofsError } from '../errors';
import { toFailure } from './output';

/** 128 and the signal's number, as shells have it. */
const exitCodeOf = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGQUIT: 131 } as const;
type SignalName = keyof typeof exitCodeOf;

const whyOf: Record<SignalName, string> = {
  SIGINT: 'interrupted',
  SIGTERM: 'terminated',
  SIGHUP: 'ended by SIGHUP',
  SIGQUIT: 'ended by SIGQUIT',
};

/** Without a listener, Node would start its debugger. */
const statusSignal = 'SIGUSR1';

/** A run ended by a signal, after it has cleaned up. */
class Interrupted extends SeekableErofsError {
  constructor(
    what: string,
    private readonly signalName: SignalName,
  ) {
    super('CANCELLED', { what, why: whyOf[signalName] });
  }

  override get exitCode(): number {
    return exitCodeOf[this.signalName];
  }
}

/**
 * Turns the signals that end a program into an abort, so that the running call removes what it has begun. The second one ends
 * the process at once. SIGUSR1 asks how far it is.
 */
export class SignalWatch {
  private readonly controller = new AbortController();
  private received: SignalName | undefined;
  private borrower: ((name: SignalName) => void) | undefined;
  private quit: (() => void) | undefined;

  constructor(
    private readonly source: Pick<EventEmitter, 'on' | 'off'> = process,
    private readonly exit: (code: number) => void = (code) => process.exit(code),
    private readonly showStatus: () => void = () => undefined,
  ) {
    // Every layer under way listens; Node would warn about a leak at the eleventh.
    setMaxListeners(0, this.controller.signal);
    for (const name of Object.keys(exitCodeOf)) this.source.on(name, this.onSignal);
    this.source.on(statusSignal, this.showStatus);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** What the run failed with: the signal, when the failure is only its consequence. */
  explain(error: unknown): unknown {
    const known = toFailure(error);
    return this.received !== undefined && known.code === 'CANCELLED'
      ? new Interrupted(known.what, this.received)
      : error;
  }

  /** Hands signals to `deliver` instead, until the returned function is called. */
  lend(deliver: (name: SignalName) => void): () => void {
    this.borrower = deliver;
    return () => {
      this.borrower = undefined;
    };
  }

  /** SIGQUIT calls `act` from now on, instead of ending the run. */
  onQuit(act: () => void): void {
    this.quit = act;
  }

  dispose(): void {
    for (const name of Object.keys(exitCodeOf)) this.source.off(name, this.onSignal);
    this.source.off(statusSignal, this.showStatus);
  }

  private readonly onSignal = (name: SignalName): void => {
    if (this.borrower !== undefined) {
      this.borrower(name);
      return;
    }
    if (name === 'SIGQUIT' && this.quit !== undefined) {
      this.quit();
      return;
    }
    if (this.received !== undefined) {
      this.exit(exitCodeOf[name]);
      return;
    }
    this.received = name;
    this.controller.abort();
  };
}
