import data from './seccomp-profile.json';

/** One rule of Docker's profile: a rule of the OCI runtime specification, and where it counts. */
interface ProfileRule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: object[];
  includes?: RuleScope;
  excludes?: RuleScope;
}

interface RuleScope {
  arches?: string[];
  caps?: string[];
}

/** What a container's filter depends on. */
interface SeccompTarget {
  /** As Node calls it. */
  arch: string;
  /** Of the bounding set. */
  capabilities: readonly string[];
}

/** Node's names of architectures, in the profile's rules and in filters. */
const architectures: Record<string, { name: string; filter: string }> = {
  x64: { name: 'amd64', filter: 'SCMP_ARCH_X86_64' },
  arm64: { name: 'arm64', filter: 'SCMP_ARCH_AARCH64' },
  riscv64: { name: 'riscv64', filter: 'SCMP_ARCH_RISCV64' },
  loong64: { name: 'loong64', filter: 'SCMP_ARCH_LOONGARCH64' },
  s390x: { name: 's390x', filter: 'SCMP_ARCH_S390X' },
};

/**
 * The socket calls of 32-bit x86 programs: a filter can't see what socket they make, so they would pass AF_VSOCK. Refused with ENOSYS, on
 * which programs try socket(2) itself, or do without.
 */
const socketcall = 'socketcall';
const refuseSocketcall = { names: [socketcall], action: 'SCMP_ACT_ERRNO', errnoRet: 38 };

/**
 * Docker's default seccomp filter, as `linux.seccomp` of the OCI runtime specification, and no socketcall: unknown calls are refused, and
 * sockets of all kinds that a network namespace does not contain, such as AF_VSOCK. The kernels that mount here are newer than any that the
 * profile asks for.
 */
export function seccompFilter({ arch, capabilities }: SeccompTarget): object {
  const { profile } = data;
  const { name, filter } = architectures[arch] ?? { name: arch, filter: '' };
  const own = profile.archMap.find(({ architecture }) => architecture === filter);
  const isMeant = ({ includes, excludes }: ProfileRule): boolean =>
    (includes?.arches ?? [name]).includes(name) &&
    (includes?.caps ?? []).every((capability) => capabilities.includes(capability)) &&
    !(excludes?.arches ?? []).includes(name) &&
    !(excludes?.caps ?? []).some((capability) => capabilities.includes(capability));
  const rules = (profile.syscalls as ProfileRule[]).filter(isMeant);
  return {
    defaultAction: profile.defaultAction,
    defaultErrnoRet: profile.defaultErrnoRet,
    ...(own && { architectures: [own.architecture, ...(own.subArchitectures ?? [])] }),
    syscalls: [
      ...rules.map(({ names, action, errnoRet, args }) => ({
        names: names.filter((call) => call !== socketcall),
        action,
        errnoRet,
        args,
      })),
      refuseSocketcall,
    ],
  };
}
