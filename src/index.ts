/** Everything that `seekable-erofs-native` exports; no logic here. */
export { SeekableErofsError, exitCodes, failure, type ErrorCode, type ErrorParts } from './errors';
export type { JobOptions, ProgressEvent, ResourceOptions, WarningOptions } from './job';
export { parseByteSize, formatByteSize } from './format/byte-size';
export { hostPlatform } from './oci/platform';
export { parseChunkTable, serializeChunkTable, type ChunkTable } from './format/chunk-table';
export type { DigestAlgorithm } from './format/digest';
export { JsonNumber, parseJson } from './format/json';
export type { EncodeChoices, Profile } from './format/profiles';
export type { ByteSource } from './source/byte-source';
export { openBlob, type BlobOptions, type BlobReader } from './layer/open-blob';
export { openErofsSource, type ErofsSourceOptions } from './layer/erofs-source';
export type { LayerLocation } from './layer/location';
export type { SeekableBlob } from './layer/seekable';
export type { LoneIndex } from './layer/chunk-index-section';
export type { FrameSection } from './layer/frame-section';
export type { VeritySuperblock } from './format/verity-superblock';
export type { BlobTree } from './layer/verity-section';
export {
  openErofs,
  type DirectoryEntry,
  type ErofsFilesystem,
  type ErofsInfo,
  type ErofsPath,
  type WalkEntry,
} from './erofs/filesystem';
export type { ErofsInode, FileType } from './erofs/inode';
export type { OpenErofsOptions } from './erofs/open';
export type { PlacedExtent, Segment } from './erofs/data';
export type { Xattr } from './erofs/xattr';
export { escapePath, unescapePath } from './format/escaped-path';
export { mergeTraces, parseTrace, serializeTrace, type Trace, type TraceRead } from './format/trace';
export { readTrace } from './image/trace-file';
export { traceShare, type TraceShare, type TraceShareOptions } from './image/trace-share';
export { pullTrace, pushTrace, type PushedTrace, type PulledTrace } from './image/trace-transfer';
export type { PullTraceOptions, PushTraceOptions } from './image/trace-transfer';
export { buildErofs, type BuiltErofs } from './layer/build';
export type { BuildOptions } from './layer/layer-image';
export type { MkfsChoices } from './layer/mkfs/options';
export { encodeLayer, type EncodeOptions } from './layer/encode';
export type { EncodedLayer } from './layer/encoded-layer';
export type { LayerDescriptor, ReadOptions } from './layer/decode';
export { decodeBlob, type DecodedBlob, type DecodeOptions } from './layer/decode-blob';
export { verityRoot, verityTree, type VerityOptions, type VerityTree } from './layer/verity';
export type { FrameTable, HashName } from './native/binding';
export type { Descriptor, ImageConfig, Index, Manifest, Platform } from './oci/types';
export { parseReference, type Reference, type RegistryReference } from './oci/reference';
export type { RegistryOptions, StoreOptions } from './store/registry/options';
export { openRegistryBlob } from './store/registry/source';
export type { RetryOptions } from './source/retry';
export type { PlatformSelection } from './image/image-set';
export { writeImagePage, type ImagePage, type ImagePageOptions } from './image/page/page';
export { inspect, openInspection } from './image/inspect';
export type { ImageInspection, InspectOptions, OpenInspection } from './image/inspect';
export type { StreamedImage, StreamedManifest } from './image/inspect';
export type { BlobInspection, StreamedBlob, TableInspection, VerityInspection } from './image/inspect-layer';
export type { MetadataShare } from './image/inspect-tree';
export type { SharedWith, Sharing } from './image/sharing';
export { listEntries, listImage, type ListedEntry, type ListOptions } from './image/list';
export { readImageFile } from './image/cat';
export { extractImage, type Extracted, type ExtractOptions } from './image/extract/extract';
export type { ViewOptions } from './image/open-view';
export { verifyImage, type LayerVerification, type Verification } from './image/verify';
export type { VerifiedLayer } from './image/verify-layer';
export { checkImage, type CheckOptions, type CheckResult } from './image/check/check';
export type { ConfigDifference } from './image/check/compare-configs';
export type { Difference, DifferenceField, DifferenceValue } from './image/check/differences';
export { convertImage } from './convert/image';
export { planConversion, type ConversionPlan, type PlannedAction, type PlannedLayer } from './convert/plan';
export type { ConvertOptions } from './convert/convert-options';
export type { LeftOut } from './convert/companions';
export type { ConvertResult, ResultLayer } from './convert/convert-result';
export { ConversionPool } from './convert/pool';
export type { BatchError } from './convert/batch/batch-error';
export {
  convertBatch,
  type BatchJobEvent,
  type BatchJobResult,
  type BatchOptions,
  type BatchProgressEvent,
  type BatchResult,
} from './convert/batch/batch';
export type { BatchSummary } from './convert/batch/tally';
export { planBatch, type BatchPlan, type PlannedJob } from './convert/batch/plan';
export { queueBatch, type QueueBatchOptions } from './service/batch';
export { runWorker, parseLimit, type WorkerEvent, type WorkerOptions } from './service/worker';
export { withQueue, type QueueAdmin, type QueuedJob, type QueuedJobDetails } from './service/admin';
export { serveDashboard, type DashboardOptions } from './service/dashboard';
export { serveHooks, type HookOptions } from './service/hooks/serve';
export type { RegistryLimit } from './service/fleet-traffic';
export { serveLazily, type ServeOptions } from './containerd/serve';
export type { KeeperOptions, LazyServeOptions } from './lazy/keeper';
export type { CachedImageStatus, LazyCounts, LazyStatus } from './lazy/messages';
export {
  addLazyImage,
  listLazyImages,
  removeLazyImage,
  type AddLazyImageOptions,
  type LazyImagesOptions,
} from './lazy/erofs-cache/client';
export type { LazyOptions } from './mount/lazy-layers';
export { doctor, type DoctorOptions, type DoctorReport } from './mount/doctor/doctor';
export type { DoctorCheck } from './mount/doctor/check';
export { runImage, type RunOptions, type RunResult } from './mount/container/run';
export type { SignalRelay } from './mount/container/process';
export { mountImage, type MountOptions } from './mount/mount';
export { listMounts, type MountedLazily, type MountResult } from './mount/mounts';
export { repairMounts, unmountImage, type Unmounted } from './mount/unmount';
export type { UndoneKind } from './mount/release';
export type { MountedLayer } from './mount/state-records';
export type { MountSourceOptions } from './mount/source-layer';
export type { StateOptions } from './mount/state';
export type { VerityMode, VerityPolicy } from './mount/plan';
