import { describe, expect, it } from 'vitest';
import { parseChallenges } from '../../../src/store/registry/challenge';
import { unionOf } from '../../../src/store/registry/token';
import { shown } from '../../../src/store/registry/refusal';

const parsed = (...headers: string[]) =>
  parseChallenges(headers).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('WWW-Authenticate', () => {
  it.each([
    ['Basic realm="x"', [['basic', { realm: 'x' }]]],
    ['BASIC', [['basic', {}]]],
    [
      'Bearer realm="https://a.test/t",service="s",scope="repository:a/b:pull,push"',
      [['bearer', { realm: 'https://a.test/t', service: 's', scope: 'repository:a/b:pull,push' }]],
    ],
    ['Bearer  Realm = "a\\"b\\\\c" , service=plain', [['bearer', { realm: 'a"b\\c', service: 'plain' }]]],
    [
      'Negotiate YIIabc==, Basic realm="x, y=z", Bearer realm=r',
      [
        ['negotiate', {}],
        ['basic', { realm: 'x, y=z' }],
        ['bearer', { realm: 'r' }],
      ],
    ],
    ['Negotiate', [['negotiate', {}]]],
    ['', []],
    [',,, ;;; "', []],
    [
      'Bearer realm="never closed',
      [
        ['bearer', {}],
        ['realm', {}],
        ['never', {}],
      ],
    ],
  ])('%s', (header, expected) => {
    expect(parsed(header)).toEqual(expected);
  });

  it('may come in several headers', () => {
    expect(parsed('Basic realm=a', 'Bearer realm=b')).toEqual([
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b' }],
    ]);
  });

  it('is read with little work, whatever it is', () => {
    const before = process.cpuUsage();
    for (const piece of ['a=', '"', '\\', 'a="\\', ' ', 'a ', ',', 'a b=c ']) {
      parseChallenges([piece.repeat(16_000 / piece.length)]);
    }
    expect(process.cpuUsage(before).user).toBeLessThan(1e6); // µs
  });
});

describe('scopes', () => {
  it('are united by resource', () => {
    expect(
      unionOf(['repository:b:pull', 'repository:a:push,pull', 'repository:b:push', 'registry:catalog:*']),
    ).toEqual(['registry:catalog:*', 'repository:a:pull,push', 'repository:b:pull,push']);
    expect(unionOf(['repository:host:5000/a:pull', 'repository:host:5000/a:pull'])).toEqual([
      'repository:host:5000/a:pull',
    ]);
  });
});

describe('text of a server', () => {
  it('is short, and does nothing to a terminal', () => {
    expect(shown('a\x1b[31mred\u0007\u202e\n two')).toBe('a\\u001b[31mred\\u0007\\u202e two');
    expect(shown('x'.repeat(1000))).toHaveLength(201);
  });
});
