// Claim: a random read costs the decompression and the check of the chunks that it touches, and nothing else; a chunk that is cached, next
// to nothing.
import { inputFile } from '../lib/contestants.mjs';
import { serve } from '../lib/peers.mjs';

export const title = 'random reads of a seekable blob (latency)';

const COUNT = 200;
const SIZES = [
  ['4 KiB', 4096],
  ['1 MiB', 1 << 20],
];

export async function* cases(context) {
  for (const chunkSize of ['4MiB', '64KiB']) {
    const blob = context.inputs.blob({ chunkSize });
    const server = await serve(context, blob.path);
    let frame;
    const frameParts = () => (frame ??= averageFrame(context, blob)); // once: it reads the whole blob
    try {
      for (const [label, size] of SIZES) {
        yield readCase(context, blob, {
          name: `${label}, file, ${chunkSize} chunks`,
          size,
          frameParts,
          withGo: chunkSize === '4MiB',
        });
        yield readCase(context, blob, {
          name: `${label}, HTTP, ${chunkSize} chunks`,
          size,
          frameParts,
          url: server.url,
        });
      }
      yield readCase(context, blob, {
        name: `4 KiB, cached, ${chunkSize} chunks`,
        size: 4096,
      });
    } finally {
      await server.stop();
    }
  }
}

function readCase(context, blob, { name, size, url, frameParts, withGo = false }) {
  const mode = frameParts === undefined ? 'cached' : 'fresh';
  const count = mode === 'cached' ? 20 * COUNT : COUNT;
  const chunks = Math.max(1, size / blob.descriptor.chunkSize);
  return {
    name,
    input: inputFile('blob', blob.path),
    cores: 1,
    measured: ({ metrics }) => metrics.p50,
    contestants: [
      {
        key: 'ours',
        label: 'ours',
        argv: context.job('read', url ?? blob.path, blob.descriptorPath, count, size, mode),
        result: (output) => ({ metrics: JSON.parse(output) }),
      },
      ...(withGo ? [go(context, blob, size)] : []),
    ],
    ...(frameParts && {
      limit() {
        const { unzstd, frameSha512 } = frameParts();
        return { lanes: [{ parts: { unzstd: unzstd * chunks, frameSha512: frameSha512 * chunks } }] };
      },
    }),
  };
}

/** Decompression and SHA-512 of one frame, on average. */
function averageFrame(context, blob) {
  const { parts, bytes, alone } = context.parts.read(blob.path, { leaves: 'none', written: false });
  return { unzstd: parts.unzstd / bytes.frames, frameSha512: alone / bytes.frames };
}

function go(context, blob, size) {
  const [key, label] = ['go', 'Go, the same checks'];
  if (context.goMissing !== undefined) return { key, label, skip: context.goMissing };
  const table = blob.descriptor.annotations['dev.containerd.erofs.zstd.chunk_table_offset'];
  return {
    key,
    label,
    argv: context.go(['read', '-table', table, '-count', String(COUNT), '-size', String(size), blob.path]),
    result(output) {
      const { p50, p99 } = JSON.parse(output);
      return { metrics: { p50, p99 } };
    },
  };
}
