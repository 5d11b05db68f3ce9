import { tarBytes } from '../tar-bytes';
import { blocks, deviceImage } from './composite-vectors';
import { chunked, erofsZstd, gzipped, indexType, octets, raw, sha256, standalone, tar, zstdOnly, type IndexChoices, type VectorLayer } from './layers';
import { bad, data, device, lower, sampleImage, topImage } from './vector';

/** Vectors of images whose layers do not go together. */

export function addOrders(): void {
  const rule = (name: string, section: string, about: string, broken: string, layers: VectorLayer[]): void => {
    bad(name, section, about, broken, layers);
  };
  const [chunks, index] = standalone(sampleImage, erofsZstd);
  const order = '3.8';
  rule('last-device', order, 'a device is last', 'last-entry', [raw(topImage), raw(blocks, device, octets)]);
  rule('last-data', order, 'a data-only layer is last', 'last-entry', [
    raw(topImage, lower),
    raw(sampleImage, data),
  ]);
  rule('last-index', order, 'an index is last', 'last-entry', [chunks, index]);
  rule('first-index', order, 'an index is first', 'index-first', [index, raw(topImage)]);
  rule('index-of-index', order, 'an index after an index', 'index-of-index', [
    chunks,
    index,
    { ...index, annotations: {} },
    raw(topImage),
  ]);
  rule('index-target', '3.4.3', 'an index for another layer than that before it', 'index-target', [
    ...standalone(sampleImage, erofsZstd, lower, { target: sha256(topImage) }),
    raw(topImage),
  ]);
  rule('role-unknown', '2.4', 'a role that the draft does not have', 'role-value', [
    raw(sampleImage, { role: 'overlay-upper' }),
    raw(topImage),
  ]);
  rule('role-of-tar', '2.4', 'a tar of role overlay-lower', 'role-media-type', [
    raw(tarBytes([{ name: 'x' }]), lower, tar),
    raw(topImage),
  ]);
  rule('role-of-octets', '2.4', 'octets of role overlay-data', 'role-media-type', [
    raw(sampleImage, data, octets),
    raw(topImage),
  ]);
  rule('unknown-media-type', '2.1', 'a layer that nobody knows', 'layer-media-type', [
    raw(sampleImage, {}, 'application/vnd.other'),
    raw(topImage),
  ]);
  rule('tar-among-erofs', '1.3', 'a tar among layers of EROFS', 'mixed-layers', [
    raw(tarBytes([{ name: 'x' }]), {}, tar),
    raw(topImage),
  ]);
  rule('device-missing', '2.4', 'an image with a device table, and no device', 'device-count', [
    raw(deviceImage),
  ]);
  rule('device-too-many', '2.4', 'more devices than the image has', 'device-count', [
    raw(blocks, device, octets),
    raw(blocks, device, octets),
    raw(deviceImage),
  ]);
  rule('device-of-none', '2.4', 'a device of an image without a device table', 'device-count', [
    raw(blocks, device, octets),
    raw(topImage),
  ]);
  rule('device-too-short', '2.4', 'a device with fewer blocks than the image says', 'device-size', [
    raw(blocks.subarray(0, 4096), device, octets),
    raw(deviceImage),
  ]);
  rule('device-not-gzip', '2.4', 'a +gzip device that is not compressed', 'device-content', [
    raw(blocks, device, `${tar}+gzip`),
    raw(deviceImage),
  ]);
  rule('device-digest', '5.2', 'a device that is not what its DiffID says', 'digest', [
    {
      ...zstdOnly(blocks, `${tar}+zstd`, { ...device, 'uncompressed-digest': sha256(topImage) }),
      diffId: sha256(topImage),
    },
    raw(deviceImage),
  ]);
  const wrongIndex = (name: string, about: string, choices: IndexChoices): void => {
    rule(name, '3.4', about, 'chunk-index', [
      ...standalone(blocks, `${tar}+zstd`, device, choices),
      raw(deviceImage),
    ]);
  };
  wrongIndex('device-index-checksum', 'a wrong checksum of a chunk of a device', { wrongChecksum: true });
  wrongIndex('device-index-says-raw', 'it says that chunks of a +zstd device are uncompressed', {
    compression: 0,
  });
  const [framed] = standalone(blocks, `${tar}+zstd`, device);
  const { index: shortIndex } = chunked(blocks.subarray(0, 4096), true, {});
  rule('device-index-too-short', '3.4', 'it has fewer chunks than its device', 'chunk-index', [
    framed,
    { mediaType: indexType, blob: shortIndex, annotations: {}, diffId: sha256(shortIndex) },
    raw(deviceImage),
  ]);
  const gzippedIndex = { ...gzipped(blocks, `${tar}+gzip`, device) };
  rule('device-gzip-index', '3.4', 'an index of a +gzip device: no chunk of it can be read', 'chunk-index', [
    gzippedIndex,
    {
      mediaType: indexType,
      blob: chunked(blocks, false, {}).index,
      annotations: {},
      diffId: sha256(chunked(blocks, false, {}).index),
    },
    raw(deviceImage),
  ]);
}

