import { closeSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { native } from '../../src/native/binding';
import { refusal } from '../support/refusal';

/** A number that no open file has. */
function closedDescriptor(): number {
  const fd = openSync('/dev/null', 'r');
  closeSync(fd);
  return fd;
}

test('what the addon throws at once is an error of this package, as what it rejects with', () => {
  const fd = closedDescriptor();
  const slice = { fd, offset: 0, size: 1, name: 'file' };
  expect(() => new native.Source(slice)).toThrow(refusal('IO', 'file'));
  expect(() => new native.BlobSink(fd, 'file')).toThrow(refusal('IO', 'file'));
  expect(() => native.tryLock(fd)).toThrow(refusal('IO', 'lock file'));
  const full = openSync('/dev/full', 'w');
  const sink = new native.BlobSink(full, 'full');
  expect(() => {
    sink.append(new Uint8Array(1));
  }).toThrow(refusal('NO_SPACE', 'full'));
  sink.close();
  closeSync(full);
});

test('its classes know their own objects', () => {
  const fd = openSync(__filename, 'r');
  const source = new native.Source({ fd, offset: 0, size: 2, name: 'file' });
  const both = native.concatenate([source, source]);
  expect([source instanceof native.Source, both.size]).toEqual([true, 4]);
  both.close();
  source.close();
  closeSync(fd);
});
