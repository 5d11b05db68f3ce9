import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { failure, type SeekableErofsError } from '../../src/errors';
import { at } from '../e2e/workspace';
import { processesOf } from './support/lazily';
import { titleOf, whyNoContainers, whyNoMounts } from './support/machine';
import { expectNothingLeft, library, root, state, useMounts } from './support/mounting';

// The claim: every command that reads an image refuses each wrong one of vectors/, exit 3, by the name of the rule that it breaks; which ones a command
// can't tell, because it does not read the data by which they are known, is what docs/format/erofs-image-spec-profile.md says.

interface Vector {
  name: string;
  verdict: 'accept' | 'refuse';
  rule: string;
}
const vectors = JSON.parse(readFileSync(join(root, 'vectors/vectors.json'), 'utf8')) as Vector[];
const bad = vectors.filter(({ verdict }) => verdict === 'refuse');
const reference = (name: string): string => `oci:${join(root, 'vectors/layout')}:${name}`;
const anyLayer = { allowUnverified: true };

/** Of each vector that some commands accept, those commands, as the documentation has them. */
function acceptedBy(): Map<string, Set<string>> {
  const page = readFileSync(join(root, 'docs/format/erofs-image-spec-profile.md'), 'utf8');
  const [, section = ''] = page.split('\n#### Which command sees what\n');
  const [table = ''] = section.split('\n## ');
  const rows = [...table.matchAll(/^\| `([a-z-]+)` \|.*\|.*\| ([^|]*) \|$/gm)];
  return new Map(
    rows.map(([, name, commands]) => [
      name!,
      new Set([...commands!.matchAll(/`([^`]+)`/g)].map(([, command]) => command!)),
    ]),
  );
}
const accepted = acceptedBy();

const {
  verifyImage,
  listImage,
  readImageFile,
  extractImage,
  mountImage,
  unmountImage,
  runImage,
  inspect,
  checkImage,
  convertImage,
  planConversion,
} = library;

type Command = (image: string) => Promise<unknown>;
const mounted =
  (lazy: boolean): Command =>
  async (image) => {
    await mountImage(image, at('target'), { ...anyLayer, state, lazy });
    await unmountImage(at('target'), { state });
  };
const destination = (): string => `oci:${at('converted')}:image`;

const commands: Record<string, Command> = {
  inspect: (image) => inspect(image),
  ls: (image) => listImage(image, '/', { ...anyLayer, recursive: true }),
  cat: async (image) => {
    const listed = await listImage(image, '/', { ...anyLayer, recursive: true });
    const files = listed.filter(({ type }) => type === 'file').map(({ path }) => path);
    await readImageFile(image, files, async () => true, anyLayer);
  },
  extract: (image) => extractImage(image, at('tree'), anyLayer),
  verify: async (image) => {
    const { ok, layers } = await verifyImage(image, anyLayer);
    const { error = '' } = layers.find((layer) => layer.error !== undefined) ?? {};
    if (!ok) throw failure('CORRUPT', 'verified', error);
  },
  check: (image) => checkImage(image, image, anyLayer),
  convert: (image) => convertImage(image, destination()),
  // Refuses roles, where nothing is wrong that it can see.
  'convert --profile containerd': async (image) => {
    const converting = convertImage(image, destination(), { profile: 'containerd' });
    await converting.catch((error: unknown) => {
      const { code, message } = error as SeekableErofsError;
      if (code !== 'UNSUPPORTED' || !message.includes('has the role')) throw error;
    });
  },
  'convert --dry-run': (image) => planConversion(image, destination()),
};
const mounting: Record<string, Command> = { mount: mounted(false), 'mount --lazy': mounted(true) };
// A program of which it is not known before whether it is there: the image is mounted for it.
const running =
  (lazy: boolean): Command =>
  async (image) => {
    const ran = runImage(image, ['/proc/none'], { ...anyLayer, state, lazy });
    await ran.catch((error: unknown) => {
      if ((error as SeekableErofsError).code !== 'NO_PROGRAM') throw error;
    });
  };
const containers: Record<string, Command> = { run: running(false), 'run --lazy': running(true) };

useMounts();
afterEach(() => {
  for (const program of ['keeper-main', 'server-main'])
    for (const pid of processesOf(program)) process.kill(pid, 'SIGKILL');
});

/** Rules of composition are named; what is wrong with a blob is told by its own words. */
function expectRule({ message }: Error, rule: string): void {
  if (!['chunk-index', 'digest', 'dm-verity'].includes(rule))
    expect(message).toContain(`breaks the rule "${rule}"`);
}

async function expectVerdict(name: string, command: Command, { name: vector, rule }: Vector): Promise<void> {
  const isAccepted = accepted.get(vector)?.has(name) ?? false;
  const error = await command(reference(vector)).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (isAccepted) {
    expect(error).toBeNull();
  } else {
    expect(error).toMatchObject({ exitCode: 3 });
    expectRule(error as Error, rule);
  }
}

const byName = bad.map((vector) => [vector.name, vector] as const);

it('the documentation names vectors and commands that there are', () => {
  const all = new Set([...Object.keys(commands), ...Object.keys(mounting), ...Object.keys(containers)]);
  expect(accepted.size).toBeGreaterThan(0);
  for (const [name, by] of accepted) {
    expect(bad.map((vector) => vector.name)).toContain(name);
    expect(by.size).toBeGreaterThan(0);
    for (const command of by) expect(all).toContain(command);
  }
});

describe.each(Object.entries(commands))('%s', (name, command) => {
  it.each(byName)('%s', async (_, vector) => {
    await expectVerdict(name, command, vector);
  });
});

const noMounts = whyNoMounts();

describe.skipIf(noMounts !== null)(titleOf('with the kernel', noMounts), () => {
  describe.each(Object.entries(mounting))('%s', (name, command) => {
    it.each(byName)('%s', async (_, vector) => {
      await expectVerdict(name, command, vector);
      if (!name.includes('lazy')) await expectNothingLeft();
    });
  });
});

const noContainers = noMounts ?? whyNoContainers();

describe.skipIf(noContainers !== null)(titleOf('with a runtime', noContainers), () => {
  describe.each(Object.entries(containers))('%s', (name, command) => {
    it.each(byName)('%s', async (_, vector) => {
      await expectVerdict(name, command, vector);
    });
  });
});
