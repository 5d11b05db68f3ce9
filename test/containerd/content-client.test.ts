import * as grpc from '@grpc/grpc-js';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chainIds, ContentClient } from '../../src/containerd/content-client';
import { definitionOf } from '../../src/containerd/grpc-server';

// A containerd that answers as it is told to, right or wrong.

const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const diffIds = ['a', 'b'].map((letter) => `sha256:${letter.repeat(64)}`);
const chain = chainIds(diffIds);
const config = Buffer.from(
  JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: diffIds } }),
);
const manifest = `sha256:${'c'.repeat(64)}`;
const info = {
  digest: manifest,
  created_at: { seconds: 5 },
  labels: {
    'containerd.io/gc.ref.content.config': sha256(config),
    'containerd.io/distribution.source.registry.example': 'team/app,team/other',
  },
};

interface Part {
  offset: number;
  data: Buffer;
}
type Stream = grpc.ServerWritableStream<{ digest: string }, unknown>;

let folder: string;
let socket: string;
let server: grpc.Server;
let client: ContentClient;
/** How a config is sent. */
let read: (stream: Stream) => void;
let list: (stream: Stream) => void;
let names: string[];
/** The namespaces that were asked in. */
let namespaces: Set<string>;

const sending =
  (...parts: Part[]) =>
  (stream: Stream): void => {
    for (const part of parts) stream.write(part);
    stream.end();
  };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'content-'));
  socket = join(folder, 'socket');
  read = sending({ offset: 0, data: config });
  list = (stream) => {
    stream.write({ info: [info] });
    stream.end();
  };
  names = [];
  namespaces = new Set();
  const noted =
    (answer: (stream: Stream) => void) =>
    (stream: Stream): void => {
      namespaces.add(stream.metadata.get('containerd-namespace').join());
      answer(stream);
    };
  server = new grpc.Server();
  server.addService(definitionOf('content'), {
    List: noted((stream) => {
      list(stream);
    }),
    Read: noted((stream) => {
      read(stream);
    }),
  });
  server.addService(definitionOf('images'), {
    List: (_: unknown, answer: grpc.sendUnaryData<unknown>) => {
      answer(null, { images: names.map((name) => ({ name })) });
    },
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  client = new ContentClient(socket, 'k8s.io');
});
afterEach(() => {
  client.close();
  server.forceShutdown();
  rmSync(folder, { recursive: true });
});

const found = { reference: `registry.example/team/app@${manifest}`, manifest };

test('the image of a chain of layers is found, in the namespace of who asks', async () => {
  expect(await client.findImage(chain[1]!)).toEqual([found]);
  expect(await client.findImage(chain[0]!)).toEqual([found]);
  expect(await client.findImage(diffIds[1]!)).toEqual([]);
  expect([...namespaces]).toEqual(['k8s.io']);
});

test('a config in several parts is read whole', async () => {
  read = sending({ offset: 0, data: config.subarray(0, 10) }, { offset: 10, data: config.subarray(10) });
  expect(await client.findImage(chain[1]!)).toEqual([found]);
});

test('ports, which labels leave out, are those of images that are there', async () => {
  names = ['registry.example:5000/team/app:v1', 'registry.example:5000/other:v2', 'other.example:1/x:y'];
  expect((await client.findImage(chain[1]!)).map(({ reference }) => reference)).toEqual([
    `registry.example:5000/team/app@${manifest}`,
    found.reference,
  ]);
});

test('an image without a source, or of which containerd has nothing, is none', async () => {
  list = (stream) => {
    const { 'containerd.io/gc.ref.content.config': label } = info.labels;
    stream.write({ info: [{ ...info, labels: { 'containerd.io/gc.ref.content.config': label } }] });
    stream.end();
  };
  expect(await client.findImage(chain[1]!)).toEqual([]);
  list = (stream) => stream.end();
  expect(await client.findImage(chain[1]!)).toEqual([]);
});

test.each<[string, (stream: Stream) => void]>([
  ['a stream that is too short', sending({ offset: 0, data: config.subarray(0, -1) })],
  ['nothing', sending()],
  [
    'parts from other places',
    sending({ offset: 10, data: config.subarray(10) }, { offset: 0, data: config.subarray(0, 10) }),
  ],
  ['another blob', sending({ offset: 0, data: Buffer.from(config.toString().replace('amd64', 'arm64')) })],
  [
    'a stream that is cut off by an error',
    (stream) => {
      stream.write({ offset: 0, data: config });
      stream.emit('error', Object.assign(new Error('no disk'), { code: grpc.status.CANCELLED }));
    },
  ],
])('a config that comes as %s is not believed', async (_, answer) => {
  read = answer;
  expect(await client.findImage(chain[1]!)).toEqual([]);
});

test('bytes that are no config are not one', async () => {
  const bytes = Buffer.from('{"rootfs":7}');
  list = (stream) => {
    const labels = { ...info.labels, 'containerd.io/gc.ref.content.config': sha256(bytes) };
    stream.write({ info: [{ ...info, labels }, info] });
    stream.end();
  };
  read = (stream) => {
    const data = stream.request.digest === sha256(bytes) ? bytes : config;
    sending({ offset: 0, data })(stream);
  };
  expect(await client.findImage(chain[1]!)).toEqual([found]);
});

test('a list that is cancelled, and a containerd that is gone, are errors', async () => {
  list = (stream) => {
    stream.write({ info: [info] });
    stream.emit('error', Object.assign(new Error('it was cancelled'), { code: grpc.status.CANCELLED }));
  };
  await expect(client.findImage(chain[1]!)).rejects.toMatchObject({ code: grpc.status.CANCELLED });
  const nobody = new ContentClient(join(folder, 'nobody'), 'k8s.io');
  await expect(nobody.findImage(chain[1]!)).rejects.toMatchObject({ code: grpc.status.UNAVAILABLE });
  nobody.close();
});
