import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { exitCodes } from '../src/errors';

const root = join(__dirname, '..');

/** Who may import whom. A folder may always import its own files; all may import the shared ones. */
const allowed: Record<'src' | 'native', { shared: string[]; folders: Record<string, string[]> }> = {
  src: {
    shared: [
      'closest-name',
      'errors',
      'job',
      'listening',
      'metrics-server',
      'options',
      'public-name',
      'quantity',
      'image-name',
      'no-inspector',
      'standard-output',
    ],
    folders: {
      'closest-name': [],
      errors: [],
      'public-name': [],
      quantity: [],
      'image-name': [],
      'no-inspector': [],
      job: [],
      listening: [],
      'metrics-server': [],
      'standard-output': [],
      options: [],
      format: [],
      native: [],
      fs: ['native'],
      source: ['fs'],
      erofs: ['source', 'format', 'native'],
      oci: ['format', 'source'],
      store: ['oci', 'source', 'format', 'fs', 'native'],
      layer: ['format', 'native', 'source', 'fs', 'erofs', 'oci'],
      image: ['layer', 'store', 'erofs', 'oci', 'format', 'source', 'fs', 'native'],
      convert: ['image', 'layer', 'store', 'oci', 'format', 'source', 'fs', 'native'],
      service: ['convert', 'image', 'layer', 'store', 'oci', 'format', 'source', 'fs', 'native'],
      lazy: ['image', 'layer', 'erofs', 'store', 'oci', 'format', 'source', 'fs', 'native'],
      mount: ['lazy', 'image', 'layer', 'erofs', 'store', 'oci', 'format', 'source', 'fs', 'native'],
      containerd: [
        'mount',
        'lazy',
        'image',
        'layer',
        'erofs',
        'store',
        'oci',
        'format',
        'source',
        'fs',
        'native',
      ],
      index: [
        ...[
          'containerd',
          'service',
          'convert',
          'mount',
          'lazy',
          'image',
          'layer',
          'store',
          'erofs',
          'oci',
          'format',
          'source',
          'fs',
        ],
        'native',
      ],
      cli: ['index'],
    },
  },
  native: {
    shared: ['base'],
    folders: {
      base: [],
      hash: [],
      tar: [],
      erofs: [],
      zstd: [],
      inflate: [],
      sys: [],
      fuse: [],
      verity: ['hash'],
      layer: ['hash', 'tar', 'erofs', 'zstd', 'inflate', 'verity'],
      binding: ['hash', 'tar', 'erofs', 'zstd', 'inflate', 'sys', 'fuse', 'verity', 'layer'],
    },
  },
};

/** From file to the files it imports; both relative to the tree, a TypeScript file without its ending. Data (JSON) imports nothing. */
type Imports = Map<string, string[]>;

const read = (path: string): string => readFileSync(join(root, path), 'utf8');

function filesUnder(folder: string, ending: RegExp): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => ending.test(name) && !name.startsWith('test/'));
}

/** Imports of types alone count as well: a reader has to follow them, too. */
function typescriptImports(): Imports {
  const specifier =
    /^\s*(?:import|export)\b[^;'"]*?\bfrom\s+['"](\.[^'"]*)['"]|\bimport\s*\(\s*['"](\.[^'"]*)['"]/gm;
  const files = filesUnder('src', /(?<!\.d)\.ts$|\.json$/);
  return new Map(
    files.map((file) => {
      const found = [...read(join('src', file)).matchAll(specifier)].map((match) => match[1] ?? match[2]!);
      const targets = found.map((path) => normalize(join(dirname(file), path)).replace(/\.js$/, ''));
      return [file.replace(/\.ts$/, ''), targets];
    }),
  );
}

function cppIncludes(): Imports {
  const files = filesUnder('native', /\.(cc|h|inc)$/);
  return new Map(
    files.map((file) => {
      const found = [...read(join('native', file)).matchAll(/^#include "([^"]+)"/gm)].map(
        (match) => match[1]!,
      );
      return [file, found.filter((path) => existsSync(join(root, 'native', path)))];
    }),
  );
}

const folderOf = (file: string): string => file.split('/')[0]!;

/** Imports between folders that the table does not have. */
function forbidden(imports: Imports, { shared, folders }: (typeof allowed)['src']): string[] {
  return [...imports].flatMap(([file, targets]) => {
    const from = folderOf(file);
    const may = [from, ...shared, ...(folders[from] ?? [])];
    return targets.filter((target) => !may.includes(folderOf(target))).map((target) => `${file} → ${target}`);
  });
}

/** A cycle of the graph as a path whose ends are equal; null when there is none. */
function findCycle(graph: Imports): string[] | null {
  const done = new Set<string>();
  const visit = (node: string, path: string[]): string[] | null => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return null;
    done.add(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next, [...path, node]);
      if (cycle !== null) return cycle;
    }
    return null;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node, []);
    if (cycle !== null) return cycle;
  }
  return null;
}

function betweenFolders(imports: Imports): Imports {
  const graph: Imports = new Map();
  for (const [file, targets] of imports) {
    const from = folderOf(file);
    const others = targets.map(folderOf).filter((folder) => folder !== from);
    graph.set(from, [...(graph.get(from) ?? []), ...others]);
  }
  return graph;
}

describe.each([
  { tree: 'src', imports: typescriptImports() },
  { tree: 'native', imports: cppIncludes() },
] as const)('$tree', ({ tree, imports }) => {
  test('has only folders that the table knows', () => {
    const known = Object.keys(allowed[tree].folders);
    expect([...imports.keys()].map(folderOf).filter((folder) => !known.includes(folder))).toEqual([]);
  });

  test('imports are seen at all', () => {
    expect([...imports.values()].flat().length).toBeGreaterThan(imports.size);
  });

  test('what is imported exists', () => {
    const missing = [...imports.values()].flat().filter((target) => !imports.has(target));
    expect(missing).toEqual([]);
  });

  test('imports between folders are those of the table', () => {
    expect(forbidden(imports, allowed[tree])).toEqual([]);
  });

  test('no cycles between files, none between folders', () => {
    expect(findCycle(imports)).toBeNull();
    expect(findCycle(betweenFolders(imports))).toBeNull();
  });
});

test('the checks see faults', () => {
  const bad: Imports = new Map([
    ['format/a', ['store/b']],
    ['store/b', ['format/a']],
  ]);
  expect(forbidden(bad, allowed.src)).toEqual(['format/a → store/b']);
  expect(findCycle(bad)).toEqual(['format/a', 'store/b', 'format/a']);
});

test('only native/binding knows Node', () => {
  const files = filesUnder('native', /\.(cc|h|inc)$/).filter((file) => folderOf(file) !== 'binding');
  const knowing = files.filter((file) =>
    /#include [<"](napi|node|uv|v8|js_native)/.test(read(join('native', file))),
  );
  expect(knowing).toEqual([]);
});

test('every source file of the core is compiled', () => {
  const listed = read('native/sources.txt').trim().split('\n').sort();
  expect(listed).toEqual(
    filesUnder('native', /\.cc$/)
      .map((file) => `native/${file}`)
      .sort(),
  );
});

test('every code that native code returns is in the list', () => {
  const returned = [...read('native/base/error.cc').matchAll(/return "([A-Z_]+)"/g)].map(
    (match) => match[1]!,
  );
  const declared = /enum class ErrorCode \{([^}]*)\}/s.exec(read('native/base/error.h'))![1]!;
  const members = [...declared.matchAll(/^\s*k\w+/gm)];
  expect(new Set(returned).size).toBe(members.length);
  expect(returned.filter((code) => !(code in exitCodes))).toEqual([]);
});

describe('documentation', () => {
  test('docs/map.md names files that exist', () => {
    const paths = [...read('docs/map.md').matchAll(/`([\w.@-]+(?:\/[\w.@-]*)+|\w+\.\w+)`/g)].map(
      (match) => match[1]!,
    );
    expect(paths.length).toBeGreaterThan(30);
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('docs/map.md has four walks of ten lines, each about one file, none twice', () => {
    const [, section = ''] = /^## Four walks\n([^]*?)^## /m.exec(read('docs/map.md')) ?? [];
    const walks = section.split(/^\*\*Walk: .*\*\*$/m).slice(1);
    expect(walks).toHaveLength(4);
    for (const walk of walks) {
      const lines = [...walk.matchAll(/^(\d+)\. `([\w/.-]+)`: \S.*$/gm)];
      expect(walk.trim().split('\n')).toEqual(lines.map(([line]) => line));
      expect(lines.map(([, number]) => Number(number))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      const files = lines.map(([, , file]) => file!);
      expect(new Set(files).size).toBe(10);
      expect(
        files.filter((file) => !statSync(join(root, file), { throwIfNoEntry: false })?.isFile()),
      ).toEqual([]);
    }
  });

  test('docs/map.md has every folder of the sources, and every file of some length', () => {
    const map = read('docs/map.md');
    const files = trackedFiles().filter(
      (file) => /^(src|native)\/.*\.(ts|cc)$/.test(file) && !file.startsWith('native/test/'),
    );
    const folders = new Set(files.map((file) => dirname(file)));
    const isKnown = (folder: string): boolean =>
      map.includes(`\`${folder}/\``) || files.some((file) => dirname(file) === folder && isNamed(file));
    const isNamed = (file: string): boolean => map.includes(`\`${file}\``);
    expect([...folders].filter((folder) => !isKnown(folder))).toEqual([]);
    const isLong = (file: string): boolean => read(file).split('\n').length > 150;
    expect(files.filter((file) => isLong(file) && !isNamed(file))).toEqual([]);
  });

  test('links between documents lead somewhere', () => {
    const documents = trackedFiles().filter((file) => file.endsWith('.md') && !file.startsWith('test/'));
    const broken = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
        .map((match) => match[1]!)
        .filter((target) => !existsSync(join(root, dirname(file), target)))
        .map((target) => `${file} → ${target}`),
    );
    expect(broken).toEqual([]);
  });

  test('docs/errors.md has every code with its exit code', () => {
    const rows = [...read('docs/errors.md').matchAll(/^\| `([A-Z_]+)` \| (\d+) \|/gm)];
    expect(Object.fromEntries(rows.map(([, code, exit]) => [code, Number(exit)]))).toEqual(exitCodes);
  });
});

test('every test that is skipped says why, where scripts/test-report.mjs looks for it', () => {
  const files = trackedFiles().filter((file) => /^test\/.*\.test\.ts$|^native\/test\/.*\.cc$/.test(file));
  expect(files.length).toBeGreaterThan(100);
  const skips = /\.(?:skipIf|runIf|skip|todo)\b|\bGTEST_SKIP\b/g;
  const withReason = /\.skipIf\(([\w.]+(?:\(.*?\))?) !== null\)\(\s*titleOf\([^]*?, \1\)/g;
  const without = files.filter((file) => {
    const text = read(file);
    return (text.match(skips)?.length ?? 0) !== (text.match(withReason)?.length ?? 0);
  });
  expect(without).toEqual(['test/architecture.test.ts']); // which looks for them
});

/** What git has or would take; everything outside a checkout of git counts as not there. */
function trackedFiles(): string[] {
  const flags = ['ls-files', '--cached', '--others', '--exclude-standard', '-z'];
  const listed = execFileSync('git', flags, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 });
  return listed.split('\0').filter((file) => file !== '' && existsSync(join(root, file)));
}

test('no file names a place of one machine, or a host of a package registry', () => {
  // Put together here, so that this file does not find itself.
  const places = [
    ['/wo', 'rk/'],
    ['/roo', 't/'],
    ['.lib', 'rary'],
    ['registry.np', 'mjs.org'],
    ['registry.yarn', 'pkg.com'],
  ];
  const names = places.map((parts) => parts.join('').replaceAll('.', '\\.'));
  const pattern = new RegExp([...names, '(?<![\\w.])\\.\\./sha' + 'red/'].join('|'));
  const naming = trackedFiles().filter((file) => pattern.test(readFileSync(join(root, file), 'latin1')));
  expect(naming).toEqual([]);
});
