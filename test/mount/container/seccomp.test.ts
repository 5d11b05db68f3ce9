import { expect, test } from 'vitest';
import { seccompFilter } from '../../../src/mount/container/seccomp';
import data from '../../../src/mount/container/seccomp-profile.json';

interface Filter {
  defaultAction: string;
  defaultErrnoRet: number;
  architectures?: string[];
  syscalls: {
    names: string[];
    action: string;
    errnoRet?: number;
    args?: { index: number; value: number }[];
  }[];
}
const filterOf = (arch: string, ...capabilities: string[]) => seccompFilter({ arch, capabilities }) as Filter;
const allowed = ({ syscalls }: Filter, name: string): boolean =>
  syscalls.some(({ names, action }) => action === 'SCMP_ACT_ALLOW' && names.includes(name));

test('the data says where it is from, and under which licence', () => {
  expect(data.source).toMatch(/^github\.com\/moby\/profiles\/seccomp v\d/);
  expect(data.license).toContain('Apache-2.0');
});

test('what is not named is refused with EPERM', () => {
  const { defaultAction, defaultErrnoRet } = filterOf('x64');
  expect([defaultAction, defaultErrnoRet]).toEqual(['SCMP_ACT_ERRNO', 1]);
});

test('no rule lets AF_VSOCK (40) or AF_ALG (38) pass', () => {
  const rules = filterOf('x64').syscalls.filter(({ names }) => names.includes('socket'));
  expect(rules.length).toBeGreaterThan(3);
  for (const { args } of rules) {
    expect(args).toHaveLength(1);
    expect([38, 40]).not.toContain(args![0]!.value);
    expect(args![0]).toMatchObject(
      args![0]!.value === 3 ? { index: 0, op: 'SCMP_CMP_LT' } : { index: 0, op: 'SCMP_CMP_EQ' },
    );
  }
  expect(allowed(filterOf('x64'), 'socketcall')).toBe(false);
  expect(filterOf('x64').syscalls.at(-1)).toEqual({
    names: ['socketcall'],
    action: 'SCMP_ACT_ERRNO',
    errnoRet: 38,
  });
});

test('rules of an architecture and of capabilities', () => {
  expect(filterOf('x64').architectures).toEqual(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32']);
  expect(filterOf('arm64').architectures).toEqual(['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
  expect(filterOf('unheard-of').architectures).toBeUndefined();
  expect([allowed(filterOf('x64'), 'arch_prctl'), allowed(filterOf('arm64'), 'arch_prctl')]).toEqual([
    true,
    false,
  ]);
  expect([allowed(filterOf('x64'), 'chroot'), allowed(filterOf('x64', 'CAP_SYS_CHROOT'), 'chroot')]).toEqual([
    ...[false, true],
  ]);
  const clone3 = (filter: Filter) => filter.syscalls.find(({ names }) => names.includes('clone3'))!.action;
  expect([clone3(filterOf('x64')), clone3(filterOf('x64', 'CAP_SYS_ADMIN'))]).toEqual([
    ...['SCMP_ACT_ERRNO', 'SCMP_ACT_ALLOW'],
  ]);
  for (const call of ['bpf', 'mount', 'keyctl', 'io_uring_setup', 'kexec_load', 'open_by_handle_at'])
    expect(allowed(filterOf('x64', 'CAP_CHOWN'), call)).toBe(false);
});
