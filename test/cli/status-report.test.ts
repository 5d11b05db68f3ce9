import { expect, test } from 'vitest';
import { StatusReport } from '../../src/cli/status-report';

function shown(json: boolean, update: (status: StatusReport) => void): string[] {
  const lines: string[] = [];
  const status = new StatusReport(json);
  status.printBy({ print: (line) => lines.push(line) });
  update(status);
  status.show();
  return lines;
}

function fill(status: StatusReport): void {
  status.update({ phase: 'plan', item: 'a', done: 5, total: 10, unit: 'bytes' });
  status.update({ phase: 'encode', item: 'b\x1b', done: 5, total: 10, unit: 'bytes' });
  status.update({ phase: 'encode', item: 'a', done: 1, total: 10, unit: 'bytes' });
  status.update({ phase: 'encode', item: 'done', done: 10, total: 10, unit: 'bytes' });
}

test('says of each item under way what is being done, the last one moved last', () => {
  expect(shown(false, fill)).toEqual(['encode b\\x1b: 50 % of 10 bytes', 'encode a: 10 % of 10 bytes']);
});

test('says something before anything is known', () => {
  expect(shown(false, () => undefined)).toEqual(['begin: 0 bytes']);
});

test('is JSON lines where progress is', () => {
  const [first] = shown(true, fill);
  expect(JSON.parse(first!)).toEqual({ phase: 'encode', item: 'b\x1b', done: 5, total: 10, unit: 'bytes' });
});
