import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';

/** The header of a file; its size in base 256 where 11 octal digits can't hold it. */
export function fileHeader(name: string, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write('0000644\0' + '0000000\0' + '0000000\0', 100);
  if (size < 2 ** 33) {
    block.write(size.toString(8).padStart(11, '0'), 124);
  } else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  block.write('14000000000\0' + '        0', 136);
  block.write('ustar\0' + '00', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** A tar of one file that is a hole on the disk. */
export function writeSparseTar(path: string, size: number): void {
  const file = openSync(path, 'w');
  writeSync(file, fileHeader('hole', size));
  ftruncateSync(file, 512 + size + 1024);
  closeSync(file);
}
