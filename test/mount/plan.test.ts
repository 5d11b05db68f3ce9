import { describe, expect, test } from 'vitest';
import { mountKey } from '../../src/lazy/layer-key';
import { backingOf, decideVerity, planMount, type VerityPolicy } from '../../src/mount/plan';
import { refusal } from '../support/refusal';

const decide = (
  policy: VerityPolicy,
  tree: 'vouched' | 'unvouched' | 'absent',
  whyNot: string | null = null,
) => decideVerity('layer', policy, tree, whyNot);

describe('who checks a layer', () => {
  test('auto: the kernel, else this program, else nobody', () => {
    expect(decide('auto', 'vouched')).toEqual({ mode: 'kernel' });
    expect(decide('auto', 'vouched', 'none')).toEqual({ mode: 'userspace' });
    expect(decide('auto', 'absent')).toEqual({ mode: 'none' });
    const { mode, warning } = decide('auto', 'unvouched');
    expect(mode).toBe('none');
    expect(warning).toContain('layer: no descriptor vouches');
  });

  test('require: the kernel or nothing; the layer is at fault before the machine is', () => {
    expect(decide('require', 'vouched')).toEqual({ mode: 'kernel' });
    expect(() => decide('require', 'vouched', 'no module')).toThrow(refusal('MACHINE', 'no module'));
    expect(() => decide('require', 'absent', 'no module')).toThrow(refusal('FAILED', 'no dm-verity tree'));
    expect(() => decide('require', 'unvouched')).toThrow(refusal('FAILED', 'no descriptor vouches'));
  });

  test('off: nobody, whatever there is', () => {
    for (const tree of ['vouched', 'unvouched', 'absent'] as const)
      expect(decide('off', tree, 'none')).toEqual({ mode: 'none' });
  });
});

describe('the key of a layer', () => {
  const plain = { diffId: 'sha256:d', rootDigest: null, extra: [], files: [] };

  test('differs by all that tells two mounts apart', () => {
    const keys = [
      plain,
      { ...plain, diffId: 'sha256:e' },
      { ...plain, rootDigest: 'sha512:r' },
      { ...plain, rootDigest: 'sha512:r', extra: ['ignore_corruption'] },
      { ...plain, files: ['1:2:3:4'] },
    ].map(mountKey);
    expect(new Set(keys).size).toBe(keys.length);
    expect(mountKey({ ...plain })).toBe(keys[0]);
    expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('the plan', () => {
  const layer = (key: string, mode: 'kernel' | 'userspace' | 'none' = 'none') => ({ key, mode });
  const readOnly = { writable: false, fileBacked: true };

  test('one layer is seen as it is', () => {
    expect(planMount([layer('a')], readOnly)).toEqual({
      kind: 'erofs',
      lower: ['a'],
      data: [],
      steps: [{ kind: 'erofs', key: 'a' }, { kind: 'bind' }],
    });
  });

  test('several are one overlay, from the lowest up', () => {
    const plan = planMount([layer('a', 'kernel'), layer('b', 'userspace'), layer('c')], {
      writable: false,
      fileBacked: false,
    });
    expect(plan.kind).toBe('overlay');
    expect(plan.lower).toEqual(['c', 'b', 'a']);
    const names = plan.steps.map((step) => ('key' in step ? `${step.kind} ${step.key}` : step.kind));
    expect(names).toEqual([
      ...['loop a', 'verity a', 'erofs a'],
      ...['loop b', 'erofs b'],
      ...['loop c', 'erofs c'],
      'overlay',
    ]);
  });

  test('a writable mount is an overlay, of one layer too', () => {
    expect(planMount([layer('a')], { writable: true, fileBacked: true }).kind).toBe('overlay');
  });

  test('a data-only layer is mounted, and makes an overlay of a single other one', () => {
    const plan = planMount([layer('a'), { ...layer('b'), role: 'data' }], readOnly);
    expect(plan).toEqual({
      kind: 'overlay',
      lower: ['a'],
      data: ['b'],
      steps: [{ kind: 'erofs', key: 'a' }, { kind: 'erofs', key: 'b' }, { kind: 'overlay' }],
    });
  });

  test('a layer that comes twice is in its upper place only', () => {
    const { lower, steps } = planMount([layer('a'), layer('b'), layer('a')], readOnly);
    expect(lower).toEqual(['a', 'b']);
    expect(steps).toHaveLength(3);
    expect(planMount([layer('a'), layer('a')], readOnly).kind).toBe('erofs');
  });

  test('dm-verity is upon a block device, whatever else the kernel could', () => {
    expect(backingOf('kernel', true)).toBe('verity');
    expect(backingOf('userspace', true)).toBe('file');
    expect(backingOf('none', false)).toBe('loop');
  });
});
