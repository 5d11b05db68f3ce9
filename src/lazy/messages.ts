import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { exitCodes, failure, SeekableErofsError, type ErrorCode } from '../errors';
import type { Descriptor } from '../oci/types';
import type { PlainVerity } from './plain-verity';
import type { RecordRequest } from './trace-recorder';

/** How registries and web servers are spoken to; names of files with secrets, never a secret. */
export interface LazyAccess {
  authFile?: string | undefined;
  certDir?: string | undefined;
  insecureHttp?: boolean | undefined;
  /** See RegistryOptions. */
  privateHosts?: readonly string[] | undefined;
}

/** A layer, as a mount describes it to the server. */
export interface LazyLayerRequest {
  /** Names its file and its store: layers that are the same share both. */
  key: string;
  diffId: string;
  descriptor: Descriptor;
  /** Of profile "erofs-image-spec": the index where it is a layer of its own. */
  index: Descriptor | null;
  /** The kernel is going to check the layer: its tree is behind the image. */
  withTree: boolean;
  /** A reference of the image, or the address of the blob. */
  source: string;
  /** Registries that have the same blobs, in the order of trying. */
  mirrors: readonly string[];
  access: LazyAccess;
  allowUnverified: boolean;
  /** Names for what a mount asks to be checked: noted with the decoded layer when all of it is here and was checked. */
  vouchers?: readonly string[] | undefined;
  /** What to ask for before a program does: beside the hot part what a trace names, or nothing at all; absent: what is attached to the image. */
  prefetch?: 'none' | { file: string } | undefined;
  /** The image that it is of: the digest of its manifest, which a trace may be attached to, and the DiffIDs of all its layers. */
  image?: { manifest: string; diffIds: readonly string[] } | undefined;
  /** What is read of the layer is to be recorded: its file is the mount's alone then. */
  record?: RecordRequest | undefined;
}

/** What a server says of a layer that it serves now. */
export interface LazyLayerAnswer {
  /** The layer's file. */
  path: string;
  size: number;
  /** Of a layer with its tree. */
  verity: PlainVerity | null;
  /** Nothing was asked of a registry for this call: whether it would still give the layer is not known. */
  isFromDisk?: boolean | undefined;
}

/** What a layer can tell of itself. */
export interface LazyCounts {
  chunks: number;
  present: number;
  bytesPresent: number;
  bytesFetched: number;
  requests: number;
  /** Chunks that were fetched because programs are known to read them: those that one read since, and those that none did. */
  prefetchedRead: number;
  prefetchedUnread: number;
  source: string;
  /** Of demands, in milliseconds; null before the first. */
  p50: number | null;
  p99: number | null;
}

/** A lazy layer in figures. */
export interface LazyStatus extends LazyCounts {
  key: string;
  diffId: string;
  /** Who has it in use. */
  holders: string[];
  /** Reads that wait now. */
  waiting: number;
  /** Reads by the kernel, and the bytes that they were given. */
  reads: number;
  bytesRead: number;
  /** Of both, what was here already. */
  hits: number;
  bytesHit: number;
}

/** An image whose layers `--erofs-cache` is to show. */
export interface AddImageRequest {
  reference: string;
  /** An image that was made of it: its layers are shown in the place of the tars'. */
  layersFrom?: string | undefined;
  /** `os/arch[/variant]` of an index; absent: the machine's. */
  platform?: string | undefined;
  mirrors: readonly string[];
  access: LazyAccess;
  allowUnverified: boolean;
}

/** An image of the cache. */
export interface CachedImageStatus {
  reference: string;
  /** Of what the reference named. */
  digest: string;
  /** By the DiffIDs under which they are shown. */
  layers: { diffId: string; chunks: number; present: number }[];
}

/** Who has a layer in use when nobody else is named: mounts, of which the state folder has records. */
export const mountsHolder = 'mounts';

/** What may be asked of a server, and what it answers. */
interface LazyCalls {
  /** `holder`: who has the layer in use from now on; absent: mounts, here and below. */
  add: { request: LazyLayerRequest & { holder?: string | undefined }; answer: LazyLayerAnswer };
  /** Layers that `holder` does not need any more. */
  release: { request: { keys: string[]; holder?: string | undefined }; answer: Record<string, never> };
  /** Images of the cache that `serve --erofs-cache` shows. */
  addImage: { request: AddImageRequest; answer: CachedImageStatus };
  removeImage: { request: { reference: string }; answer: Record<string, never> };
  images: { request: Record<string, never>; answer: { images: CachedImageStatus[] } };
  status: { request: Record<string, never>; answer: { pid: number; version: string; layers: LazyStatus[] } };
}

/** To be raised when calls or answers change: a server that runs since before an upgrade refuses what it may misunderstand. Exported for its test. */
export const protocolVersion = 1;

interface Request {
  protocol: number;
  id: number;
  call: keyof LazyCalls;
  request: unknown;
}

type Response =
  | { id: number; answer: unknown }
  | { id: number; error: { code: ErrorCode; what: string; why: string; hint?: string | undefined } };

/** A line may hold a descriptor with its annotations, and no more. */
const maxLine = 1 << 20;

/** What a server answers with. */
export type LazyAnswers = {
  [Call in keyof LazyCalls]?: (request: LazyCalls[Call]['request']) => Promise<LazyCalls[Call]['answer']>;
};

/** Answers the calls that come on a connection: a JSON object a line. UNSUPPORTED for others. */
export function answerCalls(socket: Socket, calls: LazyAnswers): void {
  limitLines(socket);
  onLine(socket, (line) => {
    void (async () => {
      const { protocol, id, call, request } = JSON.parse(line) as Request;
      const answering =
        protocol === protocolVersion ? callOf(calls, call)(request) : refuse(otherProtocol(protocol));
      const response: Response = await answering.then(
        (answer) => ({ id, answer }),
        (error: unknown) => ({ id, error: plainError(error) }),
      );
      socket.write(`${JSON.stringify(response)}\n`);
    })().catch(() => socket.destroy());
  });
}

function callOf(calls: LazyAnswers, call: string): (request: unknown) => Promise<unknown> {
  const found = Object.hasOwn(calls, call) ? calls[call as keyof LazyCalls] : undefined;
  if (found !== undefined) return found as (request: unknown) => Promise<unknown>;
  return () =>
    refuse(failure('UNSUPPORTED', 'lazy server', `it does not know the call ${call.slice(0, 40)}`));
}

const refuse = (error: Error): Promise<never> => Promise.reject(error);

interface WaitingCall {
  line: string;
  /** Servers that ended while they had it. */
  losses: number;
  resolve: (answer: unknown) => void;
  reject: (error: Error) => void;
}

/** A call that so many servers did not survive may be the reason. */
const maxLosses = 5;

/** Calls to a server. When it is replaced meanwhile, its successor is asked again: all calls may be repeated. Without one they fail with MACHINE. */
export class LazyConnection {
  private readonly waiting = new Map<number, WaitingCall>();
  private next = 0;
  private isClosed = false;

  /** @param reconnect gives the successor's socket; null when there is none */
  constructor(
    private socket: Socket,
    private readonly reconnect: () => Promise<Socket | null> = () => Promise.resolve(null),
  ) {
    this.listen(socket);
  }

  async call<Call extends keyof LazyCalls>(
    call: Call,
    request: LazyCalls[Call]['request'],
  ): Promise<LazyCalls[Call]['answer']> {
    const id = this.next++;
    const line = `${JSON.stringify({ protocol: protocolVersion, id, call, request } satisfies Request)}\n`;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { line, losses: 0, resolve: resolve as (answer: unknown) => void, reject });
      if (this.socket.closed) this.resume();
      else this.socket.write(line);
    });
  }

  close(): void {
    this.isClosed = true;
    this.socket.end();
    this.socket.unref();
  }

  private listen(socket: Socket): void {
    this.socket = socket;
    socket.on('close', () => {
      this.resume();
    });
    onLine(socket, (line) => {
      this.take(JSON.parse(line) as Response);
    });
  }

  private resume(): void {
    for (const call of this.waiting.values()) call.losses++;
    const isHopeless = [...this.waiting.values()].some(({ losses }) => losses > maxLosses);
    const next = this.isClosed || this.waiting.size === 0 || isHopeless ? null : this.reconnect();
    Promise.resolve(next).then(
      (socket) => {
        if (socket === null) {
          this.giveUp();
          return;
        }
        this.listen(socket);
        if (socket.closed) this.resume();
        else for (const { line } of this.waiting.values()) socket.write(line);
      },
      () => {
        this.giveUp();
      },
    );
  }

  private giveUp(): void {
    for (const { reject } of this.waiting.values()) reject(failure('MACHINE', 'lazy server', 'it has ended'));
    this.waiting.clear();
  }

  private take(response: Response): void {
    const waiting = this.waiting.get(response.id);
    this.waiting.delete(response.id);
    if ('answer' in response) waiting?.resolve(response.answer);
    else waiting?.reject(new SeekableErofsError(knownCode(response.error.code), response.error));
  }
}

function otherProtocol(protocol: unknown): SeekableErofsError {
  const why = `it speaks version ${protocolVersion} of its protocol, this program version ${String(protocol).slice(0, 20)}`;
  const hint = 'end its process (pkill -f lazy/server-main): the server that is installed now takes over';
  return failure('UNSUPPORTED', 'lazy server', why, hint);
}

/** Calls `take` with each line that comes. An error ends the socket and is nobody else's: readline repeats it. */
function onLine(socket: Socket, take: (line: string) => void): void {
  socket.on('error', () => socket.destroy());
  createInterface({ input: socket, crlfDelay: Infinity })
    .on('error', () => undefined)
    .on('line', take);
}

function limitLines(socket: Socket): void {
  let length = 0;
  socket.on('data', (piece: Buffer) => {
    const end = piece.lastIndexOf(0x0a);
    length = end < 0 ? length + piece.length : piece.length - end - 1;
    if (length > maxLine) socket.destroy();
  });
}

function plainError(error: unknown) {
  if (!(error instanceof SeekableErofsError)) {
    return { code: 'FAILED' as const, what: 'lazy server', why: (error as Error).message };
  }
  const { code, what, why, hint } = error;
  return { code, what, why, hint };
}

function knownCode(code: string): ErrorCode {
  return code in exitCodes ? (code as ErrorCode) : 'FAILED';
}
