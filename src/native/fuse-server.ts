/** What a FuseServer tells: see native/fuse/server.h. `first` and `last` are chunks of the file `node`. */
export interface FuseEvent {
  kind: 'read' | 'missing' | 'initialised' | 'ended';
  node: number;
  first: number;
  last: number;
  /** Of "initialised": the kernel can repeat requests for a server that takes over. */
  resends: boolean;
}

/** A file of a FuseServer: chunk i is its bytes [starts[i], starts[i + 1]). */
export interface FuseFile {
  /** Above 1, below 2^53. */
  node: number;
  name: string;
  /** The store's file; the descriptor stays the caller's. */
  fd: number;
  starts: Float64Array;
  /** A bit for each chunk that `fd` has already, the lowest first. */
  present: Uint8Array;
  /** Keep a log of what is read, for takeReads(). */
  keepsLog: boolean;
  /** The folder in which it is shown; default: the root, 1. */
  folder?: number;
}

/** What a FuseServer counts of a file. */
interface FuseCounts {
  reads: number;
  bytesRead: number;
  hits: number;
  bytesHit: number;
  waiting: number;
  opened: number;
}

/** A folder of layer files on /dev/fuse. Events come on JavaScript's thread; after stop() none does. */
export interface NativeFuseServer {
  /** Once the mount is there. `takeOver`: the kernel repeats what another server left unanswered. */
  start(takeOver: boolean): void;
  /** Reads that wait stay unanswered, for the next server. */
  stop(): void;
  add(file: FuseFile): void;
  /** Reads that wait get EIO; all names of the file go. */
  remove(node: number): void;
  /** A folder within another (the root: 1), whose number no file has. */
  addFolder(folder: number, name: string, node: number): void;
  /** Another name of a file, in a folder. */
  link(folder: number, name: string, node: number): void;
  /** Takes a name away, of a file or of a folder with what is in it. */
  unlink(folder: number, name: string): void;
  /** The chunk is in the store's file now. */
  stored(node: number, chunk: number): void;
  /** The chunk could not be stored: these bytes answer the reads that wait for it now. */
  delivered(node: number, chunk: number, bytes: Uint8Array): void;
  /** Reads that wait for the chunk get this errno. */
  failed(node: number, chunk: number, errno: number): void;
  /** Since the file was added: reads and their bytes; of both, what waited for no chunk; reads that wait now; how often it is open, by this server. Null when there is no such file. */
  counts(node: number): FuseCounts | null;
  /** What was read for the first time since the last call: offset, length, milliseconds since add(), in turn. */
  takeReads(node: number): Float64Array;
}
