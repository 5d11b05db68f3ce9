import { describe, expect, test } from 'vitest';
import { commonName } from '../../src/service/hooks/globs';
import { parseNotification } from '../../src/service/hooks/notification';
import { jobFor, parsePolicy, rulesFor } from '../../src/service/hooks/policy';
import { isSigned, readSecret, shownBy } from '../../src/service/hooks/secret';
import { createHmac } from 'node:crypto';
import { caught } from '../support/caught';

const digest = `sha256:${'a'.repeat(64)}`;

describe('a policy', () => {
  const text = `
hosts: { 'registry:5000': registry.example }
rules:
  - source: docker://registry.example/{repo}:{tag}
    destination: docker://registry.example/{repo}:{tag}-erofs
    repos: team/*
    tags: 'v*'
    not-tags: '*-erofs'
    priority: 5
    dm-verity: true
`;

  test('says which images are converted, and where to', () => {
    const policy = parsePolicy(text, 'p');
    const [rule] = rulesFor(policy, { host: 'registry:5000', repository: 'team/app', tag: 'v1' });
    expect(jobFor(rule!, { repository: 'team/app', tag: 'v1' })).toMatchObject({
      source: 'docker://registry.example/team/app:v1',
      destination: 'docker://registry.example/team/app:v1-erofs',
      options: { dmVerity: true },
    });
    const others = [
      { host: 'other.example', repository: 'team/app', tag: 'v1' },
      { repository: 'team/app', tag: 'v1-erofs' },
      { repository: 'team/app/sub', tag: 'v1' },
      { repository: 'team/app', tag: 'latest' },
    ];
    for (const image of others) expect(rulesFor(policy, image)).toEqual([]);
  });

  test('an event that does not say which registry it is of is one of each that has such an image', () => {
    const silent = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      repository: 'team/app',
      tag: 'v1',
    };
    const [image] = parseNotification({ events: [{ action: 'push', target: { ...silent, digest } }] });
    expect(image).toEqual({ host: undefined, repository: 'team/app', tag: 'v1', digest });
    const policy = parsePolicy(text, 'p');
    // The source is the rule's registry, whoever told it: nothing of the event can lead elsewhere.
    expect(rulesFor(policy, image!).map((rule) => jobFor(rule, image!).source)).toEqual([
      'docker://registry.example/team/app:v1',
    ]);
    expect(rulesFor(policy, { ...image!, host: '' })).toEqual([]);
  });

  const rules = (...lines: string[]): string => `rules:\n${lines.map((line) => `  - ${line}\n`).join('')}`;
  const host = 'docker://r.example';
  test.each([
    [
      'its own output',
      rules(`{ source: '${host}/{repo}:{tag}', destination: '${host}/{repo}:{tag}-erofs' }`),
    ],
    [
      'its own output, although it excludes some',
      rules(
        `{ source: '${host}/{repo}:{tag}', destination: '${host}/{repo}:{tag}-erofs', not-tags: 'v*-erofs' }`,
      ),
    ],
    [
      "another rule's output",
      rules(
        `{ source: '${host}/a/{repo}:v1', destination: '${host}/b/{repo}:v1', repos: x }`.replace(
          'a/{repo}',
          '{repo}',
        ),
        `{ source: '${host}/{repo}:v1', destination: 'oci:/out/{repo}:v1', repos: 'b/*' }`,
      ),
    ],
    ['itself in its place', rules(`{ source: '${host}/a:{tag}', destination: '${host}/a:{tag}' }`)],
  ])('that would convert %s is refused', async (_, bad) => {
    const error = await caught(() => parsePolicy(bad, 'p'));
    expect(error).toMatchObject({ code: 'USAGE', why: expect.stringContaining('converted again') as string });
  });

  test.each(['not-tags: null', 'not-tags: [a, null]', 'not-repos: 1'])(
    'a pattern that is no text is refused: %s',
    async (key) => {
      const text = rules(
        `{ source: 'docker://a.example/{repo}:v1', destination: 'oci:out/{repo}:v1', ${key} }`,
      );
      expect(await caught(() => parsePolicy(text, 'p'))).toMatchObject({ why: 'a pattern must be text' });
    },
  );

  test.each([
    rules(
      `{ source: '${host}/{repo}:{tag}', destination: '${host}/{repo}:{tag}-erofs', not-tags: '*-erofs' }`,
    ),
    rules(
      `{ source: '${host}/{repo}:{tag}', destination: '${host}/erofs/{repo}:{tag}', not-repos: 'erofs/**' }`,
    ),
    rules(`{ source: '${host}/{repo}:{tag}', destination: 'docker://other.example/{repo}:{tag}' }`),
    rules(`{ source: '${host}/{repo}:{tag}', destination: '${host}/{repo}:{tag}', append-to-index: true }`),
  ])('that leads nowhere twice is taken: %s', (good) => {
    expect(parsePolicy(good, 'p').rules).toHaveLength(1);
  });

  test('what two sets of names have in common is found, or there is nothing', () => {
    const framed = { prefix: 'x-', patterns: ['a*', '**/b'], suffix: '-y' };
    expect(commonName(framed, { patterns: ['x-a?c-y'], not: [] })).toMatch(/^x-a.c-y$/);
    expect(commonName(framed, { patterns: ['*-z', 'q**'], not: [] })).toBeNull();
    expect(commonName(framed, { patterns: ['**'], not: ['x-*-y'] })).toMatch(/^x-.*\/b-y$/);
    expect(commonName(framed, { patterns: ['**'], not: ['x-**'] })).toBeNull();
  });
});

describe('notifications', () => {
  test('of Distribution, Harbor and anybody', () => {
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const target = { mediaType: type, repository: 'a/b', tag: 'v1', digest };
    const events = [
      { action: 'push', target, request: { host: 'r:5000' } },
      { action: 'pull', target },
      { action: 'push', target: { ...target, mediaType: 'application/octet-stream' } },
      { action: 'push', target: { ...target, tag: undefined } },
    ];
    expect(parseNotification({ events })).toEqual([{ host: 'r:5000', repository: 'a/b', tag: 'v1', digest }]);
    const harbor = {
      type: 'PUSH_ARTIFACT',
      event_data: {
        resources: [{ digest, tag: 'v1', resource_url: 'h.example/a/b:v1' }],
        repository: { repo_full_name: 'a/b' },
      },
    };
    expect(parseNotification(harbor)).toEqual([{ host: 'h.example', repository: 'a/b', tag: 'v1', digest }]);
    expect(parseNotification({ image: 'docker://r.example/a:v1', digest })).toEqual([
      { host: 'r.example', repository: 'a', tag: 'v1', digest },
    ]);
  });

  test.each([
    { image: 'oci:/etc' },
    { image: 'docker://r.example/a:v1', digest: 'sha256:x' },
    {
      events: [
        {
          action: 'push',
          target: { mediaType: 'application/vnd.oci.image.index.v1+json', repository: '../x', tag: 'v' },
        },
      ],
    },
    'text',
    { events: Array.from({ length: 1001 }, () => ({})) },
  ])('that make no sense are refused: %j', async (body) => {
    expect(await caught(() => parseNotification(body))).toMatchObject({ code: 'USAGE' });
  });
});

test('a secret is shown, or a signature that fits the body', async () => {
  const secret = 'a secret of some length';
  const body = Buffer.from('body');
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  expect(shownBy({ authorization: `Bearer ${secret}` }, secret)).toBe('secret');
  expect(shownBy({ authorization: secret }, secret)).toBe('secret');
  expect(shownBy({ authorization: 'Bearer wrong', 'x-hub-signature-256': signature }, secret)).toBe(
    'nothing',
  );
  expect(shownBy({}, secret)).toBe('nothing');
  expect(shownBy({ 'x-hub-signature-256': signature }, secret)).toBe('signature');
  expect(isSigned({ 'x-hub-signature-256': signature }, body, secret)).toBe(true);
  expect(isSigned({ 'x-hub-signature-256': signature }, Buffer.from('other'), secret)).toBe(false);
  const policy = { rules: [], hosts: new Map<string, string>(), isOpen: false };
  expect(await caught(() => readSecret(policy, {}))).toMatchObject({ code: 'USAGE' });
  expect(await caught(() => readSecret(policy, { SEEKABLE_EROFS_HOOK_SECRET: 'short' }))).toMatchObject({
    code: 'USAGE',
  });
});
