import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { systemdUnit } from '../../src/cli/systemd-unit';

test('the unit runs what was called, with its flags', () => {
  const unit = systemdUnit({ state: 'a folder', ioTimeout: 20, cacheSize: '5GiB', background: undefined });
  const start = unit.find((line) => line.startsWith('ExecStart='));
  expect(start).toContain(` serve --state "${resolve('a folder')}" --io-timeout 20 --cache-size 5GiB`);
  expect(start).not.toContain('background');
  expect(unit).toContain('SuccessExitStatus=143');
});

test('what systemd would expand is not expanded', () => {
  expect(systemdUnit({ metrics: '100%$HOME"' }).join('\n')).toContain('--metrics "100%%$$HOME\\""');
});
