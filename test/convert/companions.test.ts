import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { leftOutLines } from '../../src/cli/text';
import type { ConvertOptions } from '../../src/convert/convert-options';
import { inspect } from '../../src/image/inspect';
import { verifyImage } from '../../src/image/verify';
import { convertImage } from '../../src/convert/image';
import {
  digestOf,
  host,
  LayoutBuilder,
  oci,
  other,
  type Descriptor,
  type Layer,
} from '../conformance/support/image';
import { checkCleanLayout } from '../conformance/support/layout-check';
import { makeTar } from '../e2e/sample';
import { at, useFolders } from '../e2e/workspace';
import { caught } from '../support/caught';

// What is in an index beside images: attestations, and artifacts that only their manifests tell from images.

useFolders();

let builder: LayoutBuilder;
let layer: Layer;
let images: Descriptor[];
beforeEach(async () => {
  builder = new LayoutBuilder(at('source'));
  layer = builder.tarLayer(await makeTar([{ name: 'file', content: 'x' }]));
  images = [host, other].map((platform) => builder.image([layer], { platform }));
});

const convert = (options: ConvertOptions, source = 'image') =>
  convertImage(`oci:${at('source')}:${source}`, `oci:${at('dst')}:a`, options);
const entries = (digest: string | null): Descriptor[] => {
  const bytes = readFileSync(at(`dst/blobs/sha256/${digest!.slice(7)}`), 'utf8');
  return (JSON.parse(bytes) as { manifests: Descriptor[] }).manifests;
};

/** A manifest of one layer and a config, of these media types, and neither artifactType nor platform. */
function artifact(configType: string, layerType: string, config: object = { made: layerType }): Descriptor {
  return builder.put(oci.manifest, {
    schemaVersion: 2,
    mediaType: oci.manifest,
    config: builder.put(configType, config),
    layers: [builder.put(layerType, { content: layerType })],
  });
}

function attestation(of: Descriptor): Descriptor {
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': of.digest,
  };
  const platform = { architecture: 'unknown', os: 'unknown' };
  return {
    ...artifact(oci.config, 'application/vnd.in-toto+json', { of: of.digest }),
    annotations,
    platform,
  };
}

const emptyConfig = {
  architecture: '',
  os: '',
  config: {},
  rootfs: { type: 'layers', diff_ids: [digestOf(Buffer.of())] },
};

describe('artifacts in an index', () => {
  let artifacts: Descriptor[];
  beforeEach(() => {
    artifacts = [
      artifact(
        'application/vnd.cncf.helm.config.v1+json',
        'application/vnd.cncf.helm.chart.content.v1.tar+gzip',
      ),
      artifact(oci.config, 'application/vnd.dev.cosign.simplesigning.v1+json', emptyConfig),
      artifact('application/vnd.wasm.config.v0+json', 'application/wasm'),
      {
        ...artifact(oci.config, 'application/wasm', { ...emptyConfig, os: 'wasip1' }),
        platform: { os: 'wasip1', architecture: 'wasm' },
      },
      {
        ...artifact('application/vnd.oci.empty.v1+json', 'text/plain', {}),
        artifactType: 'application/x',
      } as Descriptor,
    ];
  });

  test('are copied as they are when all platforms are converted', async () => {
    builder.name(builder.index([artifacts[0]!, ...images, ...artifacts.slice(1)]));
    const { digest, manifests, summary } = await convert({ allPlatforms: true });
    expect(manifests.map(({ platform }) => platform)).toEqual([`linux/${host.architecture}`, 'linux/s390x']);
    expect(entries(digest).slice(2)).toEqual(artifacts);
    expect(summary.leftOut).toEqual({ attestations: 0, artifacts: 0 });
    checkCleanLayout(at('dst'));
  });

  test('are said to be left out by what looks at all images', async () => {
    builder.name(builder.index([...images, ...artifacts]));
    for (const look of [verifyImage, inspect]) {
      const warnings: string[] = [];
      await look(`oci:${at('source')}:image`, { onWarning: (line) => void warnings.push(line) });
      const said = `${artifacts.length} entries of its index are no images`;
      expect(warnings.filter((line) => line.includes(said))).toHaveLength(1);
    }
  });

  test('alone are no image', async () => {
    builder.name(builder.index(artifacts));
    expect(await caught(() => convert({ allPlatforms: true }))).toMatchObject({
      code: 'NOT_FOUND',
      why: 'there is no container image in its index',
    });
  });

  test('an image with a layer of an unknown type is none of them', async () => {
    const encrypted = {
      ...layer,
      descriptor: { ...layer.descriptor, mediaType: `${oci.tarGzip}+encrypted` },
    };
    builder.name(builder.index([builder.image([encrypted])]));
    expect((await caught(() => convert({ allPlatforms: true }))).code).toBe('UNSUPPORTED');
  });
});

describe('attestations', () => {
  let attestations: Descriptor[];
  beforeEach(() => {
    attestations = images.map(attestation);
    builder.name(builder.index([...images, ...attestations]));
  });

  const selections: [ConvertOptions, number[], number][] = [
    [{ allPlatforms: true }, [0, 1], 0],
    [{ platforms: [`linux/${host.architecture}`, 'linux/s390x'] }, [0, 1], 0],
    [{ platforms: ['linux/s390x'], appendToIndex: true }, [1], 1],
    [{ appendToIndex: true, allPlatforms: true }, [0, 1], 0],
  ];
  test.each(selections)('go with the images that they are about: %j', async (options, along, leftOut) => {
    const { digest, summary } = await convert(options);
    const there = entries(digest).filter(({ platform }) => platform?.os === 'unknown');
    expect(there).toEqual(along.map((i) => attestations[i]));
    expect(summary.leftOut).toEqual({ attestations: leftOut, artifacts: 0 });
    checkCleanLayout(at('dst'));
  });

  test('have no place beside a lone manifest, and the summary says so', async () => {
    const { summary } = await convert({});
    expect(summary.leftOut).toEqual({ attestations: 2, artifacts: 0 });
    expect(leftOutLines(summary.leftOut)).toEqual(['left out of the index: 2 attestations']);
    expect(leftOutLines({ attestations: 1, artifacts: 2 })).toEqual([
      'left out of the index: 1 attestation, 2 artifacts',
    ]);
    expect(leftOutLines({ attestations: 0, artifacts: 0 })).toEqual([]);
  });
});
