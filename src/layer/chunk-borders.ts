/** Where the data of files lies in an image: offset and length of each piece in turn, by rising offset. */
export type FilePieces = Float64Array;

/** How the image data of a layer is divided. All in bytes. */
interface BorderOptions {
  /** Of the EROFS image. */
  imageSize: number;
  /** Of the image and what is behind it: its dm-verity tree. */
  dataSize: number;
  /** No chunk is longer. */
  chunkSize: number;
}

/** To be raised when other borders are chosen. */
const version = 1;

/** How the descriptor of a layer says that it was cut by chunkBorders(), and the key of a cache: the same name, the same borders. */
export function chunkingName(chunkSize: number): string {
  return `files-${version}/${chunkSize}`;
}

/** A file from this part of a chunk on has chunks of its own. */
const ownChunkShare = 1 / 4;
/** What small files that share a chunk take of it, on the average. */
const sharedChunkShare = 1 / 2;

/**
 * Where the chunks of a layer begin, and where the last one ends, so that what two images have in common is in chunks with equal bytes: a large
 * file has chunks of its own, cut from its beginning on. Small ones share chunks, which end where the lengths of two neighbours say so: behind
 * a file that is new, changed or gone the borders are soon the same again, whatever is before. Metadata and the tree are cut into equal chunks.
 */
export function chunkBorders(pieces: FilePieces, options: BorderOptions): Float64Array {
  const { imageSize, dataSize, chunkSize } = options;
  const cuts = new Cuts(chunkSize);
  const own = chunkSize * ownChunkShare;
  cuts.at(pieces[0] ?? imageSize);
  let before = 0;
  for (let i = 0; i < pieces.length; i += 2) {
    const [offset, length] = [pieces[i]!, pieces[i + 1]!];
    const next = pieces[i + 2] ?? imageSize;
    if (length >= own || next - cuts.last > chunkSize || endsChunk(before, length, chunkSize))
      cuts.at(offset);
    if (length >= own) cuts.at(next);
    before = length;
  }
  cuts.at(imageSize);
  cuts.at(dataSize);
  return cuts.starts;
}

/** Borders in rising order, none further from the last than a chunk is long. */
class Cuts {
  private readonly list = [0];
  last = 0;

  constructor(private readonly chunkSize: number) {}

  /** A border here, and as many before it as it takes. */
  at(offset: number): void {
    while (offset - this.last > this.chunkSize) this.list.push((this.last += this.chunkSize));
    if (offset > this.last) this.list.push((this.last = offset));
  }

  get starts(): Float64Array {
    return Float64Array.from(this.list);
  }
}

/** Whether a chunk begins between two small files of these lengths: the likelier, the longer the second is. */
function endsChunk(before: number, length: number, chunkSize: number): boolean {
  const mixed = mix(Math.imul(before, 0x9e3779b1) ^ mix(length));
  return mixed * chunkSize * sharedChunkShare < length * 2 ** 32;
}

/** Spreads a number over 32 bits: the last steps of MurmurHash3, which every bit of the result depends on. */
function mix(value: number): number {
  let bits = value | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
