import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { batchKeys } from '../../../src/convert/batch/keys';
import { parseBatchList, readBatchList } from '../../../src/convert/batch/list';
import { caught } from '../../support/caught';

const parse = (text: string) => parseBatchList(text, 'list.yaml');
const job = '- source: oci:a\n  destination: oci:b\n';

test('a list in YAML, with the flags of convert as keys', () => {
  const { defaults, entries } = parse(`
# what we ship
- source: docker://registry.example/app:1.0
  destination: oci:out:app-1.0
- source: 'oci:b'
  destination: "oci:c"
  dm-verity: true
  chunk-size: 64KiB
  dm-verity-block-size: 4096
  level: 19
  platform: [linux/amd64, linux/arm64/v8]
`);
  expect(defaults).toEqual({});
  expect(entries).toEqual([
    {
      source: 'docker://registry.example/app:1.0',
      destination: 'oci:out:app-1.0',
      options: {},
      where: 'list.yaml:3: job 1',
    },
    {
      source: 'oci:b',
      destination: 'oci:c',
      options: {
        dmVerity: true,
        chunkSize: '64KiB',
        dmVerityBlockSize: 4096,
        level: 19,
        platforms: ['linux/amd64', 'linux/arm64/v8'],
      },
      where: 'list.yaml:5: job 2',
    },
  ]);
});

test('the same in JSON, indented with tabs, with defaults', () => {
  const list = {
    defaults: { level: 5, mkfs: '-zlz4' },
    jobs: [{ source: 'oci:a', destination: 'oci:b', platform: 'linux/s390x', 'dm-verity': false }],
  };
  expect(parse(JSON.stringify(list, null, '\t'))).toEqual({
    defaults: { level: 5, mkfs: '-zlz4' },
    entries: [
      {
        source: 'oci:a',
        destination: 'oci:b',
        options: { platforms: ['linux/s390x'], dmVerity: false },
        where: 'list.yaml:7: job 1',
      },
    ],
  });
});

test('what YAML takes for numbers is text where text is wanted, as it was written', () => {
  const { entries } = parse(`${job}  repos: 1.10\n  tags: [1.0, 0x10, v2]\n  mkfs: 7\n`);
  expect(entries[0]).toMatchObject({ repos: ['1.10'], tags: ['1.0', '0x10', 'v2'], options: { mkfs: '7' } });
});

test('an alias stands for a value', () => {
  const { entries } = parse(`- &first {source: 'oci:a', destination: &d 'oci:b', platform: &p [linux/arm64]}
- {source: *d, destination: 'oci:c', platform: *p}
`);
  expect(entries[1]).toMatchObject({ source: 'oci:b', options: { platforms: ['linux/arm64'] } });
});

const bomb = `a: &a [x]\n${Array.from({ length: 30 }, (_, i) => `${i}: &${i} [*${i - 1}, *${i - 1}]`).join('\n')}`;

test.each([
  ['', 'list.yaml:1', 'it is no list of jobs'],
  ['just text', 'list.yaml:1', 'it is no list of jobs'],
  ['[]', 'list.yaml:1', 'there are no jobs in it'],
  ['jobs: []', 'list.yaml:1', 'there are no jobs in it'],
  ['jobs: 7', 'list.yaml:1', '"jobs" must be a list of jobs'],
  ['defaults: {}', 'list.yaml:1', '"jobs" must be a list of jobs'],
  ['defaults: 7\njobs: []', 'list.yaml:1: defaults', 'it must be a map'],
  ['- oci:a', 'list.yaml:1: job 1', 'it must be a map'],
  [`${job}- [1]`, 'list.yaml:3: job 2', 'it must be a map'],
  ['- source: oci:a', 'list.yaml:1: job 1', 'it has no "destination"'],
  ['- destination: oci:a', 'list.yaml:1: job 1', 'it has no "source"'],
  ['- {source: [a], destination: b}', 'list.yaml:1: job 1', '"source" must be a reference'],
  ["- {source: '', destination: b}", 'list.yaml:1: job 1', '"source" must be a reference'],
  [`${job}  level: high`, 'list.yaml:1: job 1 (line 3)', '"level" must be a whole number, not "high"'],
  [`${job}  level: "3"`, 'list.yaml:1: job 1 (line 3)', '"level" must be a whole number, not "3"'],
  [`${job}  level: 1.5`, 'list.yaml:1: job 1 (line 3)', '"level" must be a whole number, not 1.5'],
  [`${job}  dm-verity: yes`, 'list.yaml:1: job 1 (line 3)', '"dm-verity" must be true or false, not "yes"'],
  [`${job}  dm-verity:`, 'list.yaml:1: job 1 (line 3)', '"dm-verity" must be true or false, not null'],
  [`${job}  chunk-size: 4 apples`, 'list.yaml:1: job 1 (line 3)', '"4 apples" is no size'],
  [
    `${job}  chunk-size: [1]`,
    'list.yaml:1: job 1 (line 3)',
    '"chunk-size" must be a size like 4MiB, not a list',
  ],
  [`${job}  profile: {a: 1}`, 'list.yaml:1: job 1 (line 3)', '"profile" must be text, not a map'],
  [`${job}  platform: [[1]]`, 'list.yaml:1: job 1 (line 3)', '"platform" must be text or a list of texts'],
  [`${job}  repos: []`, 'list.yaml:1: job 1', '"repos" must be a pattern'],
  [`${job}  tags: [true]`, 'list.yaml:1: job 1', '"tags" must be a pattern'],
  [
    `${job}  mkfs: -a\n  mkfs-tar-index: true`,
    'list.yaml:1: job 1',
    '"mkfs" and "mkfs-tar-index" exclude each other',
  ],
  [`${job}  platform: linux/arm\n  all-platforms: true`, 'list.yaml:1: job 1', 'exclude each other'],
  ['jobs: []\nlevel: 3', 'list.yaml:1 (line 2)', 'there is no key "level"'],
  ['defaults: {source: a}\njobs: []', 'list.yaml:1: defaults (line 1)', 'there is no key "source"'],
  ['- {<<: {source: a}, destination: b}', 'list.yaml:1: job 1 (line 1)', 'there is no key "<<"'],
  ['- {[a]: b}', 'list.yaml:1: job 1 (line 1)', 'there is no key "?"'],
  ['- source: a\n  source: b\n  destination: c', 'list.yaml:2', 'Map keys must be unique'],
  ['- source: *none', 'list.yaml:1: job 1', '"source" must be a reference'],
  ['--- a\n--- b', 'list.yaml:2', 'multiple documents'],
  ['- {source: docker://h/{repo}:{tag}, destination: b}', 'list.yaml:1', 'Unexpected'],
  ['['.repeat(5000), 'list.yaml:1', 'Maximum call stack size exceeded'],
  [bomb, 'list.yaml:1 (line 1)', 'there is no key "a"'],
])('refuses %j', async (text, what, why) => {
  const error = await caught(() => parse(text));
  expect(error).toMatchObject({ code: 'USAGE', what });
  expect(error.why).toContain(why);
});

test.each([
  ['dm_verity: true', 'did you mean "dm-verity"?'],
  ['dmVerity: true', 'did you mean "dm-verity"?'],
  ['threads: 2', 'give --threads on the command line'],
  ['tmpDir: x', 'give --tmp-dir on the command line'],
  ['colour: red', 'there is source, destination, repos, tags, profile'],
])('an unknown key: %s → %s', async (line, hint) => {
  const error = await caught(() => parse(`${job}  ${line}`));
  expect(error).toMatchObject({ what: 'list.yaml:1: job 1 (line 3)' });
  expect(error.hint).toContain(hint);
});

test('a list of many jobs is read in a moment', () => {
  const text = Array.from(
    { length: 5000 },
    (_, i) => `- {source: 'oci:a:${i}', destination: 'oci:b:${i}'}\n`,
  );
  expect(parse(text.join('')).entries).toHaveLength(5000);
});

test('a file that is none, or too long', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'batch-list-'));
  try {
    const path = join(folder, 'list');
    expect(await caught(() => readBatchList(path))).toMatchObject({ code: 'NOT_FOUND', what: path });
    writeFileSync(path, job);
    expect((await readBatchList(path)).entries).toHaveLength(1);
    writeFileSync(path, Buffer.alloc(17 << 20, '#'));
    expect(await caught(() => readBatchList(path))).toMatchObject({ code: 'USAGE', what: path });
    mkdirSync(join(folder, 'folder'));
    expect(await caught(() => readBatchList(join(folder, 'folder')))).toMatchObject({ code: 'USAGE' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a key and its rival name each other', () => {
  for (const [name, { rival }] of batchKeys) {
    if (rival !== undefined) expect(batchKeys.get(rival)?.rival).toBe(name);
  }
});
