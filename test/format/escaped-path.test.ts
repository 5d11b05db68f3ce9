import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { escapePath, unescapePath } from '../../src/format/escaped-path';
import { refusal } from '../support/refusal';

describe('escaped paths', () => {
  it('are printable ASCII', () => {
    expect(escapePath(Buffer.from('/a b~\n\\\x7f\xff\0é', 'latin1'))).toBe(
      '/a b~\\x0a\\x5c\\x7f\\xff\\x00\\xe9',
    );
  });

  it('stand for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(unescapePath(escapePath(bytes))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('may be typed in UTF-8 and in capitals', () => {
    expect(unescapePath('/é\\xC3\\xa9')).toEqual(Buffer.from('/éé'));
  });

  it.each(['\\', 'a\\b', '\\x', '\\x1', '\\xg0', '\\x41\\'])('%j is refused', (text) => {
    expect(() => unescapePath(text)).toThrow(refusal('USAGE', 'backslash'));
  });
});
