/*
 * What execve(2) takes: a script (`#! INTERPRETER`), or an ELF file (elf(5)): 0 magic   4 class   18 machine u16, then
 *   64 bits: 32 program headers u64   54 size of one u16   56 count u16; a header: 0 type u32    8 offset u64   32 size u64
 *   32 bits: 28 program headers u32   42 size of one u16   44 count u16; a header: 0 type u32    4 offset u32   16 size u32
 */

/** The program that the kernel starts for a file, null for none; or why it can't execute the file. */
export type Interpreter = { interpreter: string | null } | { why: string };

/** Reads at most as many bytes as are asked for: fewer at the end of the file. */
type ReadBytes = (offset: number, length: number) => Promise<Buffer>;

/** Machine numbers of programs that Node's architectures execute, those of 32 bits too. */
const machines: Partial<Record<string, readonly number[]>> = { x64: [62, 3], arm64: [183, 40] };
const headSize = 256;
const interpreterType = 3;
const maxInterpreter = 4096;
const maxHeaders = 512;

/** Looks at the beginning of a file as the kernel would on a machine of `arch`. */
export async function programInterpreter(read: ReadBytes, arch: string): Promise<Interpreter> {
  const head = await read(0, headSize);
  const script = /^#![ \t]*([^ \t\n]+)/.exec(head.toString('latin1'));
  if (script !== null) return { interpreter: script[1]! };
  if (head.length < 64 || head.readUInt32BE(0) !== 0x7f454c46)
    return { why: 'exec format error: it is neither an ELF program nor a script' };
  const machine = head.readUInt16LE(18);
  const known = machines[arch];
  if (known?.includes(machine) === false)
    return {
      why: `exec format error: it is for another architecture (ELF machine ${machine}, here ${arch})`,
    };
  return { interpreter: await elfInterpreter(head, read) };
}

async function elfInterpreter(head: Buffer, read: ReadBytes): Promise<string | null> {
  const isWide = head[4] === 2;
  const word = (bytes: Buffer, at: number): number =>
    isWide ? Number(bytes.readBigUInt64LE(at)) : bytes.readUInt32LE(at);
  const size = head.readUInt16LE(isWide ? 54 : 42);
  const count = head.readUInt16LE(isWide ? 56 : 44);
  if (size < (isWide ? 56 : 32) || count > maxHeaders) return null;
  const headers = await read(word(head, isWide ? 32 : 28), size * count);
  for (let at = 0; at + size <= headers.length; at += size) {
    if (headers.readUInt32LE(at) !== interpreterType) continue;
    const length = word(headers, at + (isWide ? 32 : 16));
    const path = await read(word(headers, at + (isWide ? 8 : 4)), Math.min(length, maxInterpreter));
    return path.toString('latin1').split('\0')[0]!;
  }
  return null;
}
