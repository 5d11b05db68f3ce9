import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { SignalWatch } from '../../src/cli/signals';
import { failure, type SeekableErofsError } from '../../src/errors';

function setUp() {
  const source = new EventEmitter();
  const exits: number[] = [];
  const watch = new SignalWatch(source, (code) => exits.push(code));
  const send = (name: string): boolean => source.emit(name, name);
  return { source, exits, watch, send };
}

test.each([
  ['SIGINT', 130, 'interrupted'],
  ['SIGTERM', 143, 'terminated'],
  ['SIGHUP', 129, 'ended by SIGHUP'],
  ['SIGQUIT', 131, 'ended by SIGQUIT'],
])('%s aborts, and the run ends with %d', (name, exitCode, why) => {
  const { watch, send, exits } = setUp();
  send(name);
  expect(watch.signal.aborted).toBe(true);
  expect(exits).toEqual([]);
  const error = watch.explain(failure('CANCELLED', 'layer.tar', 'cancelled')) as SeekableErofsError;
  expect(error).toMatchObject({ code: 'CANCELLED', what: 'layer.tar', why });
  expect(error.exitCode).toBe(exitCode);
});

test('the second signal ends the process at once', () => {
  const { send, exits } = setUp();
  send('SIGINT');
  send('SIGTERM');
  expect(exits).toEqual([143]);
});

test('signals that are lent go to the borrower alone, and come back', () => {
  const { watch, send, exits } = setUp();
  const delivered: string[] = [];
  const takeBack = watch.lend((name) => delivered.push(name));
  send('SIGINT');
  send('SIGINT');
  send('SIGTERM');
  expect(delivered).toEqual(['SIGINT', 'SIGINT', 'SIGTERM']);
  expect([watch.signal.aborted, exits]).toEqual([false, []]);
  takeBack();
  send('SIGTERM');
  expect([watch.signal.aborted, delivered.length]).toEqual([true, 3]);
});

test('a failure that the signal did not cause stays what it is', () => {
  const { watch, send } = setUp();
  const cancelled = failure('CANCELLED', 'a', 'b');
  expect(watch.explain(cancelled)).toBe(cancelled);
  send('SIGINT');
  const full = failure('NO_SPACE', 'a', 'b');
  expect(watch.explain(full)).toBe(full);
});

test("an abort error of Node's own counts as the signal's", () => {
  const { watch, send } = setUp();
  send('SIGTERM');
  const error = watch.explain(watch.signal.reason) as SeekableErofsError;
  expect(error.exitCode).toBe(143);
});

test('nothing listens after the run', () => {
  const { source, watch } = setUp();
  expect(source.eventNames()).toEqual(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1']);
  watch.dispose();
  expect(source.eventNames()).toEqual([]);
});
