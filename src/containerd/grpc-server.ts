import * as grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { SeekableErofsError, failure, type ErrorCode } from '../errors';

/** A service of containerd that this program offers, or asks. */
export type ServiceName = 'snapshots' | 'diff' | 'content' | 'images';

/** Answers one call; what it throws becomes a status that containerd understands. `signal` is aborted when nobody waits for the answer any more. */
export type Handler = (request: never, signal: AbortSignal) => Promise<unknown>;

/** An error with the status that it is to have; others get one by their code. */
export class StatusError extends Error {
  constructor(
    readonly status: keyof typeof grpc.status,
    message: string,
  ) {
    super(message);
  }
}

/** Of errors that a mount or a layer has. What is not here is UNKNOWN. */
const statusOf: Partial<Record<ErrorCode, grpc.status>> = {
  USAGE: grpc.status.INVALID_ARGUMENT,
  NOT_FOUND: grpc.status.NOT_FOUND,
  CORRUPT: grpc.status.DATA_LOSS,
  MISMATCH: grpc.status.DATA_LOSS,
  UNVERIFIED: grpc.status.FAILED_PRECONDITION,
  UNSUPPORTED: grpc.status.FAILED_PRECONDITION,
  MACHINE: grpc.status.FAILED_PRECONDITION,
  NO_SPACE: grpc.status.RESOURCE_EXHAUSTED,
  NO_MEMORY: grpc.status.RESOURCE_EXHAUSTED,
  CANCELLED: grpc.status.CANCELLED,
};

/** Calls under way have this long when a server ends; in milliseconds. */
const closeTime = 15_000;
/** Labels of an image with many layers, and lists of snapshots. */
const maxMessage = 64 << 20;

/** A service that is offered on connections which somebody else has accepted. */
export interface GrpcServer {
  accept(connection: Socket): void;
  /** Resolves when calls under way are answered. */
  close(): Promise<void>;
}

/** @param handlers by the names of the service's calls; a list is sent as one message of a stream */
export function openGrpc(service: ServiceName, handlers: Readonly<Record<string, Handler>>): GrpcServer {
  const server = new grpc.Server({
    'grpc.max_receive_message_length': maxMessage,
    'grpc.max_send_message_length': maxMessage,
  });
  const calls = Object.entries(handlers).map(([name, handler]) => [name, answering(handler)] as const);
  server.addService(definitionOf(service), Object.fromEntries(calls));
  const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  return {
    accept: (connection) => {
      connection.on('error', () => connection.destroy());
      injector.injectConnection(connection);
    },
    close: async () => {
      await new Promise<void>((resolve) => {
        setTimeout(resolve, closeTime).unref();
        server.tryShutdown(() => {
          resolve();
        });
      });
      server.forceShutdown();
    },
  };
}

/** The definition of a service, from the files in `protos/`. */
export function definitionOf(service: ServiceName): grpc.ServiceDefinition {
  const loaded = grpc.loadPackageDefinition(
    loadSync(`${service}.proto`, {
      includeDirs: [join(__dirname, 'protos')],
      keepCase: true,
      longs: Number,
      enums: String,
      defaults: true,
    }),
  );
  const found = findService(loaded);
  if (found === null) throw failure('FAILED', `${service}.proto`, 'it has no service');
  return found;
}

function findService(object: grpc.GrpcObject): grpc.ServiceDefinition | null {
  for (const value of Object.values(object)) {
    if (typeof value === 'function' && 'service' in value) return value.service;
    const inner = 'format' in value ? null : findService(value);
    if (inner !== null) return inner;
  }
  return null;
}

/** A unary call has a callback, a call that is answered by a stream has none. */
function answering(handler: Handler) {
  return (
    call: grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerWritableStream<unknown, unknown>,
    callback?: grpc.sendUnaryData<unknown>,
  ): void => {
    const gone = new AbortController();
    call.on('cancelled', () => {
      gone.abort();
    });
    handler(call.request as never, gone.signal).then(
      (answer) => {
        if (callback !== undefined) callback(null, answer);
        if (callback !== undefined || !('write' in call)) return;
        call.write(answer);
        call.end(); // what it is given are trailers
      },
      (error: unknown) => {
        const refused = serviceError(error);
        if (callback !== undefined) callback(refused);
        else call.emit('error', refused); // destroy() would send nothing
      },
    );
  };
}

function serviceError(error: unknown): Partial<grpc.StatusObject> & Error {
  const { message } = error as Error;
  const code =
    error instanceof StatusError
      ? grpc.status[error.status]
      : ((error instanceof SeekableErofsError ? statusOf[error.code] : undefined) ?? grpc.status.UNKNOWN);
  return Object.assign(new Error(message), { code, details: message });
}
