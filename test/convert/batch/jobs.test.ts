import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { planJobs, type BatchJob } from '../../../src/convert/batch/jobs';
import { parseBatchList } from '../../../src/convert/batch/list';
import { matcher, type RegistryNames } from '../../../src/convert/batch/template';
import type { ConvertOptions } from '../../../src/convert/convert-options';
import { caught } from '../../support/caught';

/** A registry that has these tags of these repositories, and remembers what it was asked for. */
class Registry implements RegistryNames {
  readonly asked: string[] = [];

  constructor(private readonly content: Record<string, string[]>) {}

  async *catalogue(host: string): AsyncGenerator<string> {
    this.asked.push(host);
    yield* await Promise.resolve(Object.keys(this.content));
  }

  async *tags({ host, repository }: { host: string; repository: string }): AsyncGenerator<string> {
    this.asked.push(`${host}/${repository}`);
    yield* await Promise.resolve(this.content[repository] ?? []);
  }
}

const shop = new Registry({
  app: ['1.0', '1.1', 'latest'],
  'team/web': ['1.0'],
  'team/db/primary': ['2.0', 'latest'],
});

const plan = (
  list: string,
  defaults: ConvertOptions = {},
  registry: RegistryNames = shop,
): Promise<BatchJob[]> => planJobs(parseBatchList(list, 'list'), defaults, () => registry);

const pairs = async (list: string, registry?: RegistryNames): Promise<string[]> =>
  (await plan(list, {}, registry)).map(({ source, destination }) => `${source} ${destination}`);

const keysOf = async (list: string, defaults?: ConvertOptions): Promise<string[]> =>
  (await plan(list, defaults)).map(({ key }) => key);

const job = (extra = ''): string => `- {source: 'oci:a:1', destination: 'oci:b:1'${extra}}\n`;

test('what a job says goes before the list’s defaults, these before those of the command line', async () => {
  const list = `
defaults: {level: 5, chunk-size: 64KiB}
jobs:
  - {source: 'oci:a:1', destination: 'oci:b:1'}
  - {source: 'oci:a:2', destination: 'oci:b:2', level: 7, dm-verity: false}
`;
  const jobs = await plan(list, { level: 3, dmVerity: true, chunkSize: '1MiB' });
  expect(jobs.map(({ options }) => options)).toEqual([
    { level: 5, dmVerity: true, chunkSize: '64KiB' },
    { level: 7, dmVerity: false, chunkSize: '64KiB' },
  ]);
});

test('what is said for all jobs is left out where it can do nothing', async () => {
  const mixed = `
- {source: 'oci:a:1', destination: 'oci:b:1'}
- {source: 'docker://registry.example/app:1', destination: 'erofs-cache:cache'}
`;
  const jobs = await plan(mixed, { retryTime: 5, chunkSize: '1MiB' });
  expect(jobs.map(({ options }) => options)).toEqual([{ chunkSize: '1MiB' }, { retryTime: 5 }]);
});

test.each([
  [job(), { insecureHttp: true }, '--insecure-http'],
  [job(', authfile: auth.json'), {}, '--authfile'],
  [`defaults: {cert-dir: certs}\njobs:\n${job()}`, {}, '--cert-dir'],
  ["- {source: 'oci:a:1', destination: 'erofs-cache:c', level: 5}", {}, '--level'],
  ["- {source: 'oci:a:1', destination: 'erofs-cache:c'}", { level: 5 }, '--level'],
])('what can do nothing in any job is refused: %s %j', async (list, defaults, flag) => {
  const error = await caught(() => plan(list, defaults));
  expect(error.code).toBe('USAGE');
  expect(`${error.what} ${error.hint}`).toContain(flag);
});

test('what a job says puts an end to the opposite in the defaults', async () => {
  const defaults = { allPlatforms: true, mkfs: '-zlz4' };
  const [one] = await plan(job(', platform: linux/arm64, mkfs-tar-index: true'), defaults);
  expect(one!.options).toEqual({ platforms: ['linux/arm64'], mkfsTarIndex: true });
  const [other] = await plan(job(', all-platforms: false'), { platforms: ['linux/arm64'] });
  expect(other!.options).toEqual({ platforms: ['linux/arm64'], allPlatforms: false });
});

test('a job’s key is its source, destination and the options that shape the result', async () => {
  const [key] = await keysOf(job());
  expect(key).toMatch(/^[0-9a-f]{32}$/);
  expect(await keysOf(job(), { threads: 3, tmpDir: '/x' })).toEqual([key]);
  expect(await keysOf(`- {source: 'oci:./a:1', destination: 'oci:${resolve('b')}:1'}`)).toEqual([key]);
  expect(await keysOf(job(', level: 7, dm-verity: true'))).toEqual(
    await keysOf(job(', dm-verity: true, level: 7')),
  );
  const others = [
    job(', level: 7'),
    job(', level: 8'),
    job(', dm-verity: false'),
    job().replace('a:1', 'a:2'),
  ];
  const keys = (await Promise.all(others.map((list) => keysOf(list)))).flat();
  expect(new Set([key, ...keys]).size).toBe(5);
});

test('the same image of a registry, however it is written', async () => {
  const list = (source: string): string => `- {source: '${source}', destination: 'oci:b:1'}`;
  expect(await keysOf(list('docker://alpine'))).toEqual(
    await keysOf(list('docker://docker.io/library/alpine:latest')),
  );
});

test.each([
  ["- {source: 'app.tar', destination: 'oci:b'}", 'app.tar: not an image reference'],
  ["- {source: 'oci:b', destination: './out'}", './out: not an image reference'],
  ["- {source: 'oci:b', destination: 'https://host/x'}", 'not an image reference'],
  ["- {source: 'oci-archive:-', destination: 'oci:b'}", 'standard input'],
  ["- {source: 'oci:a', destination: 'oci-archive:-:x'}", 'standard input'],
  ["- {source: 'oci:', destination: 'oci:b'}", 'the path is missing'],
  ["- {source: 'docker://Host/UPPER', destination: 'oci:b'}", 'UPPER'],
  ["- {source: 'oci:a', destination: 'oci:b:c d'}", 'no legal name'],
  ["- {source: 'oci:a', destination: 'docker-archive:x'}", 'docker-archive: is a source only'],
  ["- {source: 'erofs-cache:x', destination: 'oci:b'}", 'erofs-cache: is a destination only'],
  [job(', chunk-size: 100'), 'chunk size: 100 is no multiple of 4096'],
  [job(', profile: zip'), 'profile'],
  [job(', level: 99'), 'level: 99'],
])('refuses %s before anything begins, with its line', async (list, why) => {
  const error = await caught(() => plan(job().replace('b:1', 'c:9') + list));
  expect(error.code).toBe('USAGE');
  expect(error.what).toMatch(/^list:2: job 2( \(line 2\))?$/);
  expect(error.why).toContain(why);
});

test.each([
  ['the same layout and name', ['oci:out:a', 'oci:./out:a']],
  ['the same layout without a name', ['oci:out', `oci:${resolve('out')}`]],
  ['one archive', ['oci-archive:x.tar:a', 'oci-archive:x.tar:b']],
  ['one tag', ['docker://host.example/a', 'docker://host.example/a:latest']],
])('refuses two jobs that write %s', async (_title, [one, two]) => {
  const list = `- {source: 'oci:a:1', destination: '${one}'}\n- {source: 'oci:a:2', destination: '${two}'}`;
  const error = await caught(() => plan(list));
  expect(error).toMatchObject({ code: 'USAGE', what: 'list:2: job 2' });
  expect(error.why).toContain('another job writes it too: list:1: job 1');
});

test('several images of one layout, and into one cache', async () => {
  expect(await pairs(`${job()}${job().replaceAll(':1', ':2')}`)).toHaveLength(2);
  const cached = (name: string): string => `- {source: 'oci:a:${name}', destination: 'erofs-cache:c'}\n`;
  expect(await pairs(cached('1') + cached('2'))).toHaveLength(2);
  expect(await caught(() => plan(cached('1') + cached('1')))).toMatchObject({ code: 'USAGE' });
});

const template = (extra = '', destination = 'oci:out:{repo}-{tag}'): string =>
  `- {source: 'docker://host:5000/{repo}:{tag}', destination: '${destination}'${extra}}`;

test('a template stands for every tag of every repository', async () => {
  expect(await pairs(template())).toEqual([
    'docker://host:5000/app:1.0 oci:out:app-1.0',
    'docker://host:5000/app:1.1 oci:out:app-1.1',
    'docker://host:5000/app:latest oci:out:app-latest',
    'docker://host:5000/team/web:1.0 oci:out:team/web-1.0',
    'docker://host:5000/team/db/primary:2.0 oci:out:team/db/primary-2.0',
    'docker://host:5000/team/db/primary:latest oci:out:team/db/primary-latest',
  ]);
});

test('patterns select repositories and tags, and only what they select is asked for', async () => {
  const registry = new Registry({ app: ['1.0'], 'team/web': ['1.0', 'v2'], 'team/db/primary': ['1.0'] });
  expect(await pairs(template(", repos: 'team/*', tags: ['1.*', v?]"), registry)).toEqual([
    'docker://host:5000/team/web:1.0 oci:out:team/web-1.0',
    'docker://host:5000/team/web:v2 oci:out:team/web-v2',
  ]);
  expect(registry.asked).toEqual(['host:5000', 'host:5000/team/web']);
});

test('a template of one repository’s tags, and of all repositories’ one tag', async () => {
  expect(
    await pairs(
      "- {source: 'docker://host:5000/app:{tag}', destination: 'docker://mirror:5000/app:{tag}-erofs'}",
    ),
  ).toEqual([
    'docker://host:5000/app:1.0 docker://mirror:5000/app:1.0-erofs',
    'docker://host:5000/app:1.1 docker://mirror:5000/app:1.1-erofs',
    'docker://host:5000/app:latest docker://mirror:5000/app:latest-erofs',
  ]);
  expect(
    await pairs("- {source: 'docker://host:5000/{repo}:latest', destination: 'oci:out:{repo}', repos: app}"),
  ).toEqual(['docker://host:5000/app:latest oci:out:app']);
});

test('a template’s options are those of all its jobs', async () => {
  const jobs = await plan(template(', level: 9, repos: app'));
  expect(jobs.map(({ options }) => options)).toEqual([{ level: 9 }, { level: 9 }, { level: 9 }]);
});

test.each([
  [template('', 'oci:out:{repo}'), 'another job writes it too'],
  ["- {source: 'docker://host:5000/app:1', destination: 'oci:out:{tag}'}", 'the destination has {tag}'],
  ["- {source: 'docker://host:5000/app:{tag}', destination: 'oci:out:{repo}'}", 'the destination has {repo}'],
  [job(', tags: x'), 'it has "tags", but its source no {tag}'],
  ["- {source: 'oci:{repo}', destination: 'oci:out:{repo}'}", 'a template is of images in a registry'],
  [
    "- {source: 'docker://host:5000/team-{repo}:{tag}', destination: 'oci:o:{repo}{tag}'}",
    'the whole repository',
  ],
  ["- {source: 'docker://host:5000/{repo}:v{tag}', destination: 'oci:o:{repo}{tag}'}", 'the whole tag'],
  ["- {source: 'docker://{repo}:{tag}', destination: 'oci:o:{repo}{tag}'}", 'the whole repository'],
])('refuses the template %s', async (list, why) => {
  const error = await caught(() => plan(list));
  expect(error.code).toBe('USAGE');
  expect(error.why).toContain(why);
});

test('a template that matches nothing says so', async () => {
  expect(await caught(() => plan(template(', tags: none')))).toMatchObject({
    code: 'NOT_FOUND',
    what: 'list:1: job 1',
  });
});

test.each([
  ['../../etc', 'x'],
  ['a/../b', 'x'],
  ['Upper', 'x'],
  ['', 'x'],
  ['a:b', 'x'],
  [`a@sha256:${'0'.repeat(64)}`, 'x'],
  ['other.example/a', '../x'],
  ['a', 'x/../../y'],
  ['a', ''],
  ['a', 'x@y'],
])('a registry’s name that could lead elsewhere is refused: %s:%s', async (repository, tag) => {
  const list = template('', 'oci:out/{repo}:{tag}');
  expect(await caught(() => plan(list, {}, new Registry({ [repository]: [tag] })))).toMatchObject({
    code: 'CORRUPT',
    why: expect.stringContaining('illegal name') as string,
  });
});

test('a name of absurd length is refused before any pattern meets it', async () => {
  const registry = new Registry({ ['a'.repeat(1e6)]: ['x'] });
  expect(await caught(() => plan(template(", repos: '*a*a*a*b'"), {}, registry))).toMatchObject({
    code: 'UNSUPPORTED',
  });
});

test('an endless catalogue ends', async () => {
  const endless: RegistryNames = {
    async *catalogue() {
      for (;;) yield await Promise.resolve('other');
    },
    tags: () => shop.tags({ host: '', repository: '' }),
  };
  expect(await caught(() => plan(template(', repos: app'), {}, endless))).toMatchObject({
    code: 'UNSUPPORTED',
  });
});

test.each([
  ['*', 'app', true],
  ['*', 'team/app', false],
  ['**', 'team/app', true],
  ['team/*', 'team/app', true],
  ['team/*', 'team/a/b', false],
  ['team/**', 'team/a/b', true],
  ['v?', 'v1', true],
  ['v?', 'v10', false],
  ['1.0', '1x0', false],
  ['a+(b)', 'a+(b)', true],
  ['app', 'my-app', false],
])('pattern %s, name %s: %s', (pattern, name, matches) => {
  expect(matcher(['none', pattern])(name)).toBe(matches);
});
