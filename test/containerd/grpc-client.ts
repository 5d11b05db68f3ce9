import * as grpc from '@grpc/grpc-js';
import { definitionOf, type ServiceName } from '../../src/containerd/grpc-server';

/** Calls to a service, as containerd makes them. */
export interface ServiceClient {
  /** Rejects with an error that has a `code` (a gRPC status). */
  call(method: string, request: object, options?: grpc.CallOptions): Promise<Record<string, unknown>>;
  /** All messages of the answer. */
  list(method: string, request: object): Promise<Record<string, unknown>[]>;
  close(): void;
}

export function connectService(socket: string, service: ServiceName): ServiceClient {
  const definition = definitionOf(service);
  const client = new grpc.Client(`unix:${socket}`, grpc.credentials.createInsecure());
  return {
    call: (method, request, options = {}) =>
      new Promise((resolve, reject) => {
        const { path, requestSerialize, responseDeserialize } = definition[method]!;
        const answered = (error: Error | null, answer?: unknown): void => {
          if (error !== null) reject(error);
          else resolve(answer as Record<string, unknown>);
        };
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, options, answered);
      }),
    list: async (method, request) => {
      const { path, requestSerialize, responseDeserialize } = definition[method]!;
      const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
      const messages: Record<string, unknown>[] = [];
      for await (const message of stream) messages.push(message as Record<string, unknown>);
      return messages;
    },
    close: () => {
      client.close();
    },
  };
}
