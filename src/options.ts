import { closestName } from './closest-name';
import { failure } from './errors';

/** How the value of an option is written. A size is bytes, or text like `4MiB`; a file or folder is none that `-` stands for; "object" and "function" are what programs alone can give. */
type ValueKind =
  'boolean' | 'integer' | 'number' | 'size' | 'text' | 'texts' | 'file' | 'object' | 'function';

/** What an option may be. */
export interface OptionRule {
  kind: ValueKind;
  /** Of the program; absent for what programs alone can give. */
  flag?: string;
  /** Of a number. */
  min?: number;
  max?: number;
  choices?: readonly string[];
  /** The option without which this one does nothing. */
  needs?: string;
  /** The option that says the opposite. */
  rival?: string;
  /** Of a conversion: whether it changes the result, or only how that is got. Absent: no key of a batch's jobs. */
  job?: 'shapes' | 'other';
}

/** More threads than this is a typing error, and would only exhaust the machine. */
export const maxThreads = 1024;
const threads = { kind: 'integer', min: 1, max: maxThreads } as const;

const silentResources = {
  signal: { kind: 'object' },
  onProgress: { kind: 'function' },
  threads: { ...threads, flag: 'threads' },
  tmpDir: { kind: 'file', flag: 'tmp-dir' },
} satisfies Rules;

/** What every long call takes. */
const resources = { ...silentResources, onWarning: { kind: 'function' } } satisfies Rules;

const build = {
  mkfs: { kind: 'text', flag: 'mkfs', rival: 'mkfsTarIndex', job: 'shapes' },
  mkfsTarIndex: { kind: 'boolean', flag: 'mkfs-tar-index', rival: 'mkfs', job: 'shapes' },
  bottomLayer: { kind: 'boolean' },
} satisfies Rules;

const encode = {
  profile: {
    kind: 'text',
    flag: 'profile',
    choices: ['containerd', 'erofs-image-spec'],
    job: 'shapes',
  },
  chunkSize: { kind: 'size', flag: 'chunk-size', job: 'shapes' },
  level: { kind: 'integer', flag: 'level', job: 'shapes' },
  dmVerity: { kind: 'boolean', flag: 'dm-verity', job: 'shapes' },
  dmVerityBlockSize: { kind: 'size', flag: 'dm-verity-block-size', needs: 'dmVerity', job: 'shapes' },
  dmVerityHash: {
    kind: 'text',
    flag: 'dm-verity-hash',
    choices: ['sha512', 'sha256'],
    needs: 'dmVerity',
    job: 'shapes',
  },
  index: { kind: 'text', flag: 'index', choices: ['embedded', 'standalone'], job: 'shapes' },
  noCompress: { kind: 'boolean', flag: 'no-compress', job: 'shapes' },
  chunking: { kind: 'text', flag: 'chunking', choices: ['fixed', 'files'], job: 'shapes' },
} satisfies Rules;

const platforms = {
  platforms: { kind: 'texts', flag: 'platform', rival: 'allPlatforms', job: 'shapes' },
  allPlatforms: { kind: 'boolean', flag: 'all-platforms', rival: 'platforms', job: 'shapes' },
} satisfies Rules;

const convert = {
  appendToIndex: { kind: 'boolean', flag: 'append-to-index', job: 'shapes' },
  osFeatures: { kind: 'boolean', flag: 'os-features', job: 'shapes' },
  keepForeign: { kind: 'boolean', flag: 'keep-foreign', job: 'shapes' },
  order: { kind: 'file', flag: 'order', job: 'shapes' },
  deviceTar: { kind: 'boolean', flag: 'device-tar', job: 'shapes' },
  replace: { kind: 'boolean', flag: 'replace', job: 'other' },
  cache: { kind: 'file', flag: 'cache', job: 'other' },
  check: { kind: 'boolean', flag: 'check', job: 'other' },
  fleet: { kind: 'object' },
  pool: { kind: 'object' },
  inputs: { kind: 'texts' },
} satisfies Rules;

/** By which a registry lets this program in. */
const access = {
  authFile: { kind: 'file', flag: 'authfile', job: 'other' },
  certDir: { kind: 'file', flag: 'cert-dir', job: 'other' },
  insecureHttp: { kind: 'boolean', flag: 'insecure-http', job: 'other' },
} satisfies Rules;

const registry = {
  ...access,
  concurrency: { ...threads, flag: 'concurrency', job: 'other' },
  retryTime: { kind: 'integer', min: 0, flag: 'retry-time', job: 'other' },
  retry: { kind: 'object' },
  traffic: { kind: 'object' },
  timeout: { kind: 'integer', min: 1 },
  privateHosts: { kind: 'texts' },
} satisfies Rules;

const read = {
  descriptor: { kind: 'object', flag: 'descriptor' },
  indexLayer: { kind: 'object' },
  allowUnverified: { kind: 'boolean', flag: 'allow-unverified' },
} satisfies Rules;

const frameCache = {
  cacheDir: { kind: 'file', flag: 'cache' },
  cacheDirBytes: { kind: 'number', min: 0 },
} satisfies Rules;

const view = {
  ...read,
  ...registry,
  ...frameCache,
  platform: { kind: 'text', flag: 'platform' },
  oneLayer: { kind: 'integer', min: 0, flag: 'one-layer' },
  devices: { kind: 'texts', flag: 'device' },
} satisfies Rules;

const encodeLayer = { ...resources, ...encode, ...build } satisfies Rules;
const convertImage = {
  ...encodeLayer,
  ...platforms,
  ...convert,
  ...registry,
  feature: { kind: 'text' },
} satisfies Rules;

const lazy = {
  lazy: { kind: 'boolean', flag: 'lazy' },
  mirrors: { kind: 'texts', flag: 'mirror', needs: 'lazy' },
  prefetch: { kind: 'file', flag: 'prefetch', needs: 'lazy' },
  record: { kind: 'file', flag: 'record' },
  background: { kind: 'size', flag: 'background', needs: 'lazy' },
  ioTimeout: { kind: 'integer', min: 1, flag: 'io-timeout', needs: 'lazy' },
  cacheSize: { kind: 'size', flag: 'cache-size', needs: 'lazy' },
  metrics: { kind: 'text', flag: 'metrics', needs: 'lazy' },
} satisfies Rules;

const state = { state: { kind: 'file', flag: 'state' } } satisfies Rules;

/** Of what is read at any place. */
const blob = {
  ...read,
  timeout: registry.timeout,
  cacheBytes: { kind: 'number', min: 0 },
  ...frameCache,
  signal: resources.signal,
  onWarning: resources.onWarning,
} satisfies Rules;

const verityTree = {
  ...silentResources,
  algorithm: { kind: 'text', choices: ['sha512', 'sha256'] },
  blockSize: { kind: 'integer' },
  salt: { kind: 'object' },
} satisfies Rules;

const run = {
  ...resources,
  ...read,
  ...registry,
  ...lazy,
  platform: view.platform,
  devices: view.devices,
  verity: { kind: 'text', choices: ['auto', 'require', 'off'], flag: 'verity' },
  ...state,
  checkAtMostOnce: { kind: 'boolean', flag: 'check-at-most-once' },
  verityOptions: { kind: 'text', flag: 'verity-options' },
} satisfies Rules;

type Rules = Record<string, OptionRule>;

/** The options of the library's calls, which the program's flags and the keys of a batch's jobs stand for. */
export const optionsOf = {
  buildErofs: { ...resources, ...build },
  encodeLayer,
  convertImage,
  convertBatch: {
    ...resources,
    defaults: { kind: 'object' },
    jobs: { ...threads, flag: 'jobs' },
    restart: { kind: 'boolean', flag: 'restart' },
    report: { kind: 'boolean', flag: 'report' },
    onJob: { kind: 'function' },
  },
  queueBatch: {
    ...resources,
    queue: { kind: 'text', flag: 'queue' },
    priority: { kind: 'integer', min: 0, max: 2_000_000, flag: 'priority', needs: 'queue' },
    defaults: { kind: 'object' },
    jobs: { ...threads, flag: 'jobs' },
    restart: { kind: 'boolean', flag: 'restart' },
    report: { kind: 'boolean', flag: 'report' },
    onJob: { kind: 'function' },
  },
  runWorker: {
    ...resources,
    ...registry,
    jobs: { ...threads, flag: 'jobs' },
    cache: convert.cache,
    grace: { kind: 'integer', min: 0, flag: 'grace' },
    lease: { kind: 'integer', min: 1, flag: 'lease' },
    limits: { kind: 'object', flag: 'limit' },
    onEvent: { kind: 'function' },
    onReady: { kind: 'function' },
    metrics: { kind: 'text', flag: 'metrics' },
  },
  serveHooks: {
    ...registry,
    listen: { kind: 'text', flag: 'listen' },
    policy: { kind: 'file', flag: 'policy' },
    queue: { kind: 'text', flag: 'queue' },
    poll: { kind: 'integer', min: 1, flag: 'poll' },
    signal: resources.signal,
    onReady: { kind: 'function' },
    onWarning: resources.onWarning,
  },
  decodeBlob: {
    ...resources,
    ...read,
    dmVerity: { kind: 'boolean', flag: 'dm-verity' },
    inputs: { kind: 'texts' },
  },
  verifyImage: { ...resources, ...read, ...registry, platforms: platforms.platforms },
  checkImage: {
    ...resources,
    ...read,
    ...registry,
    platforms: platforms.platforms,
    maxDifferences: { kind: 'integer', min: 0, flag: 'max-differences' },
  },
  inspect: {
    ...resources,
    ...read,
    ...registry,
    platforms: platforms.platforms,
    depth: { kind: 'integer', min: 0, flag: 'depth' },
    measure: { kind: 'boolean' },
    sharedWith: { kind: 'texts', flag: 'shared-with' },
  },
  writeImagePage: {
    ...resources,
    ...read,
    ...registry,
    platform: view.platform,
    trace: { kind: 'text', flag: 'trace' },
    sharedWith: { kind: 'text', flag: 'shared-with' },
  },
  listEntries: { ...resources, ...view, recursive: { kind: 'boolean', flag: 'recursive' } },
  readImageFile: { ...resources, ...view },
  extractImage: {
    ...resources,
    ...view,
    paths: { kind: 'texts' },
    force: { kind: 'boolean', flag: 'force' },
    inputs: { kind: 'texts' },
  },
  mountImage: { ...run, rw: { kind: 'file', flag: 'rw' } },
  runImage: {
    ...run,
    relaySignals: { kind: 'function' },
    pidsLimit: { kind: 'integer', min: 1, flag: 'pids-limit' },
    memory: { kind: 'integer', min: 1, flag: 'memory' },
  },
  unmountImage: state,
  listMounts: state,
  repairMounts: state,
  doctor: { repair: { kind: 'boolean', flag: 'repair' }, state: { ...state.state, needs: 'repair' } },
  serveLazily: {
    ...state,
    background: lazy.background,
    ioTimeout: lazy.ioTimeout,
    cacheSize: lazy.cacheSize,
    metrics: lazy.metrics,
    keep: { kind: 'number', min: 0, flag: 'keep' },
    erofsCache: { kind: 'file', flag: 'erofs-cache' },
    snapshotter: { kind: 'file', flag: 'snapshotter' },
    differ: { kind: 'file', flag: 'differ' },
    containerdRoot: { kind: 'file', flag: 'containerd-root' },
    containerdAddress: { kind: 'file', flag: 'containerd-address' },
    authFile: registry.authFile,
    certDir: registry.certDir,
    insecureHttp: registry.insecureHttp,
    concurrency: registry.concurrency,
    jsonLog: { kind: 'boolean' },
    notify: { kind: 'boolean' },
    registry: { kind: 'text', flag: 'registry', needs: 'erofsCache' },
    upstreams: { kind: 'texts', flag: 'upstream', needs: 'registry' },
    signal: resources.signal,
    leave: resources.signal,
    onReady: { kind: 'function' },
    onWarning: resources.onWarning,
  },
  addLazyImage: {
    ...state,
    ...access,
    layersFrom: { kind: 'text', flag: 'layers-from' },
    platform: view.platform,
    mirrors: { kind: 'texts', flag: 'mirror' },
    allowUnverified: read.allowUnverified,
    signal: resources.signal,
  },
  removeLazyImage: state,
  listLazyImages: state,
  pushTrace: { ...resources, ...registry },
  traceShare: { ...resources, ...registry },
  pullTrace: { ...resources, ...registry, platform: view.platform },
  openBlob: blob,
  openErofsSource: { ...resources, ...blob },
  openRegistryBlob: { ...resources, ...registry },
  openErofs: { devices: { kind: 'object' }, signal: resources.signal },
  verityTree,
  verityRoot: verityTree,
} as const satisfies Record<string, Rules>;

/** USAGE for an option that a call of the library does not take, with what was meant, and for a value that it can't have. */
export function checkOptions(call: keyof typeof optionsOf, options: object): void {
  const rules: Rules = optionsOf[call];
  if (typeof options !== 'object') throw failure('USAGE', call, `its options must be an object`);
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (value === undefined) continue;
    if (!Object.hasOwn(rules, name)) {
      const meant = closestName(name, Object.keys(rules));
      const hint =
        meant === undefined ? `there is ${Object.keys(rules).join(', ')}` : `did you mean "${meant}"?`;
      throw failure('USAGE', call, `there is no option "${name.slice(0, 60)}"`, hint);
    }
    const wanted = wantedInstead(rules[name]!, value);
    if (wanted !== null)
      throw failure('USAGE', call, `"${name}" must be ${wanted}, not ${describeValue(value)}`);
  }
}

/** What a value must be that isn't; null for one that is. */
export function wantedInstead(rule: OptionRule, value: unknown): string | null {
  const { kind, min = -Infinity, max = Infinity, choices } = rule;
  if (!hasKind[kind](value)) return names[kind];
  if (choices !== undefined) return choices.includes(value as string) ? null : choices.join(' or ');
  if (typeof value !== 'number' || (value >= min && value <= max)) return null;
  return max === Infinity ? `${min} or more` : `a number from ${min} to ${max}`;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const names: Record<ValueKind, string> = {
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  size: 'a size like 4MiB',
  text: 'text',
  texts: 'a list of texts',
  file: 'the name of a file or folder, ./- if it is called so',
  object: 'an object',
  function: 'a function',
};
const hasKind: Record<ValueKind, (value: unknown) => boolean> = {
  boolean: (value) => typeof value === 'boolean',
  integer: (value) => Number.isSafeInteger(value),
  number: (value) => typeof value === 'number' && !Number.isNaN(value),
  size: (value) => isText(value) || Number.isSafeInteger(value),
  text: isText,
  texts: (value) => Array.isArray(value) && value.every(isText),
  file: (value) => isText(value) && value !== '-',
  object: (value) => typeof value === 'object' && value !== null,
  function: (value) => typeof value === 'function',
};

/** A wrong value, as a message shows it. */
export function describeValue(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  return isText(value) ? `"${value.slice(0, 40)}"` : String(value);
}
