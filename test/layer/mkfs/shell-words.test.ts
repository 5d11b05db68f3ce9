import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

import { splitWords } from '../../../src/layer/mkfs/shell-words';
import { refusal } from '../../support/refusal';

const lines = [
  '',
  '  \t ',
  '-zlz4',
  ' -zlz4   -C65536 ',
  `-L 'two words' "three 'more' words"`,
  `a"b c"'d e'f\\ g`,
  `"" '' x`,
  `"a\\"b\\\\c\\d"`,
  `\\'x \\"y \\\\z`,
  `--a=b#c`,
  `'\\'`,
  'a\nb',
];

describe('splitWords', () => {
  it.each(lines)('splits %j as sh does', (line) => {
    const { stdout } = spawnSync('sh', [
      '-c',
      `for word in ${line.replace('\n', ' ')}; do printf '%s\\0' "$word"; done`,
    ]);
    expect(splitWords(line, 'x')).toEqual(stdout.toString().split('\0').slice(0, -1));
  });

  it('expands nothing', () => {
    expect(splitWords('$HOME `id` "$(id)" * ~ ; | > a', 'x')).toEqual([
      '$HOME',
      '`id`',
      '$(id)',
      '*',
      '~',
      ';',
      '|',
      '>',
      'a',
    ]);
  });

  it.each([`'a`, `b "c`, `"c\\"`, `d\\`])('refuses %j', (line) => {
    expect(() => splitWords(line, '--mkfs')).toThrow(refusal('USAGE', '--mkfs: nothing closes'));
  });
});
