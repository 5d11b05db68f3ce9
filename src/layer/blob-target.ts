import { native, type NativeBlobSink } from '../native/binding';

const interval = 50; // milliseconds

/** Where the bytes of a blob go. */
export interface BlobTarget {
  /** Of an empty file. */
  fd: number;
  name: string;
  /** Whether the file is read again and given up: then it need not go to the disk. Default: false. */
  isTemporary?: boolean;
  /** Told now and then, and when all is written, that the first `size` bytes will not change. */
  onWritten?(size: number): void;
}

/** Runs `write`, which fills the blob of `target`, and returns how large it became. */
export async function writeBlobTo<T extends { size: number }>(
  target: BlobTarget,
  write: (sink: NativeBlobSink) => Promise<T>,
): Promise<T> {
  const sink = new native.BlobSink(target.fd, target.name, target.isTemporary);
  const tell = (): void => {
    if (sink.written > 0) target.onWritten?.(sink.written);
  };
  const timer = target.onWritten && setInterval(tell, interval).unref();
  try {
    const written = await write(sink);
    target.onWritten?.(written.size); // all of it: a check of what it was made of may follow
    return written;
  } finally {
    clearInterval(timer);
    sink.close();
  }
}
