// What binaries are released: made by prebuild.mjs, checked by check-package.mjs and check-prebuilds.mjs.

/** Debian 10 and RHEL 8 have it, and so has whatever runs the official builds of Node 20. */
export const glibcFloor = '2.28';

// zig turns off by default what its clang needs for 512-bit registers in functions that ask for AVX-512.
const x64 = { arch: 'x64', cpu: 'x86_64+evex512' };
const arm64 = { arch: 'arm64', cpu: 'generic' };

export const targets = [
  { ...x64, libc: 'glibc', triple: `x86_64-linux-gnu.${glibcFloor}` },
  { ...x64, libc: 'musl', triple: 'x86_64-linux-musl' },
  { ...arm64, libc: 'glibc', triple: `aarch64-linux-gnu.${glibcFloor}` },
  { ...arm64, libc: 'musl', triple: 'aarch64-linux-musl' },
].map((target) => ({ ...target, name: `linux-${target.arch}-${target.libc}` }));

/** Where node-gyp-build looks, from prebuilds/. */
export function binaryPath({ arch, libc }) {
  return `linux-${arch}/seekable-erofs-native.${libc}.node`;
}
