import { isUtf8 } from 'node:buffer';
import { readFile, stat } from 'node:fs/promises';
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from 'yaml';
import { failure, fromSystemError, SeekableErofsError } from '../../errors';
import { checkFileName } from '../../fs/file-name';
import { closestName } from '../../closest-name';
import { batchKeys, checkedValue, rivalsAmong } from './keys';
import type { ConvertOptions } from '../convert-options';

/** One entry of a list as it was written: a job, or a template of many. */
export interface BatchEntry {
  source: string;
  destination: string;
  options: ConvertOptions;
  /** Patterns of repositories and tags, of a template only. */
  repos?: string[];
  tags?: string[];
  /** For errors: file, line, and which entry it is. */
  where: string;
}

/** What a list says: options for all of its jobs, and the jobs. */
export interface BatchList {
  defaults: ConvertOptions;
  entries: BatchEntry[];
}

const maxFileSize = 16 << 20;
const ownKeys = ['source', 'destination', 'repos', 'tags'];
const allKeys = [...ownKeys, ...batchKeys.keys()];
/** Flags of `convert` that are the whole run's. */
const flagsOfTheRun = ['threads', 'tmp-dir', 'json', 'progress', 'quiet', 'jobs'];

/**
 * Reads a list of jobs, YAML or JSON.
 * @throws USAGE, with the line, for what is no list of jobs; NOT_FOUND, IO
 */
export async function readBatchList(file: string): Promise<BatchList> {
  checkFileName(file); // its journal is kept beside it
  try {
    const status = await stat(file);
    if (!status.isFile()) throw failure('USAGE', file, 'it is no file', 'its journal is kept beside it');
    if (status.size > maxFileSize) throw failure('USAGE', file, `${status.size} bytes are too long a list`);
    const bytes = await readFile(file);
    if (!isUtf8(bytes)) throw failure('USAGE', file, 'it is not valid UTF-8', 'save it as UTF-8');
    return parseBatchList(bytes.toString(), file);
  } catch (error) {
    throw fromSystemError(file, error);
  }
}

/** Parses the text of a list: a sequence of jobs, or a map of `defaults` and `jobs`. Errors as of readBatchList(). Exported for its test. */
export function parseBatchList(text: string, file: string): BatchList {
  return new ListParser(text, file).parse();
}

/**
 * Reads the nodes of the document one by one rather than as one value: each knows its line, and an alias stands where one value
 * is wanted, so that aliases of aliases can't grow into anything.
 */
class ListParser {
  private readonly lines = new LineCounter();
  private readonly document: Document;

  constructor(
    text: string,
    private readonly file: string,
  ) {
    this.document = parseDocument(text, { lineCounter: this.lines, prettyErrors: false, logLevel: 'error' });
  }

  parse(): BatchList {
    const [error] = this.document.errors;
    if (error !== undefined) {
      const hint = error.code === 'UNEXPECTED_TOKEN' ? 'quote text that has braces or colons' : undefined;
      throw failure('USAGE', this.at(error.pos[0]), error.message, hint);
    }
    const root = this.document.contents;
    if (isSeq(root)) return { defaults: {}, entries: this.entries(root) };
    if (!isMap(root)) {
      throw failure('USAGE', this.where(root), 'it is no list of jobs', '- { source: …, destination: … }');
    }
    const members = this.members(root, this.where(root), ['defaults', 'jobs']);
    const defaults = members.get('defaults');
    return {
      defaults: defaults === undefined ? {} : this.defaults(defaults),
      entries: this.entries(members.get('jobs')),
    };
  }

  private defaults(node: Node | null): ConvertOptions {
    const where = `${this.where(node)}: defaults`;
    return this.options(this.members(node, where, [...batchKeys.keys()]), where);
  }

  private entries(list: Node | null | undefined): BatchEntry[] {
    if (!isSeq(list)) throw failure('USAGE', this.where(list), '"jobs" must be a list of jobs');
    if (list.items.length === 0) throw failure('USAGE', this.where(list), 'there are no jobs in it');
    return list.items.map((item, i) => this.entry(this.resolve(item), i + 1));
  }

  private entry(node: Node | null, number: number): BatchEntry {
    const where = `${this.where(node)}: job ${number}`;
    const members = this.members(node, where, allKeys);
    const text = (key: string): string => {
      const value = members.has(key) ? this.textOf(members.get(key)) : undefined;
      if (typeof value === 'string' && value !== '') return value;
      const why = members.has(key) ? `"${key}" must be a reference` : `it has no "${key}"`;
      throw failure('USAGE', where, why, '{ source: docker://…, destination: oci:… }');
    };
    const patterns = (key: 'repos' | 'tags'): Pick<BatchEntry, 'repos' | 'tags'> =>
      members.has(key) ? { [key]: this.patterns(members.get(key), where, key) } : {};
    return {
      source: text('source'),
      destination: text('destination'),
      options: this.options(members, where),
      ...patterns('repos'),
      ...patterns('tags'),
      where,
    };
  }

  /** The members of a map, all of which must be `known`. */
  private members(node: Node | null, where: string, known: string[]): Map<string, Node | null> {
    if (!isMap(node)) throw failure('USAGE', where, `it must be a map of ${known.slice(0, 2).join(', ')} …`);
    const members = new Map<string, Node | null>();
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : '?';
      if (!known.includes(name)) throw unknownKey(where, name, this.lineOf(key as Node | null), known);
      members.set(name, this.resolve(value));
    }
    return members;
  }

  private options(members: Map<string, Node | null>, where: string): ConvertOptions {
    const options: ConvertOptions = {};
    for (const [key, node] of members) {
      const known = batchKeys.get(key);
      if (known === undefined) continue;
      const at = `${where} (line ${this.lineOf(node)})`;
      const value = this.optionValue(node, known.rule.kind);
      Object.assign(options, { [known.option]: checkedValue(at, key, value) });
    }
    const rivals = rivalsAmong(options);
    if (rivals !== undefined) {
      throw failure('USAGE', where, `"${rivals[0]}" and "${rivals[1]}" exclude each other`);
    }
    return options;
  }

  private optionValue(node: Node | null, kind: string): unknown {
    if (kind === 'texts') return isSeq(node) ? this.textsOf(node) : [this.textOf(node)];
    return kind === 'text' || kind === 'file' ? this.textOf(node) : this.valueOf(node);
  }

  private patterns(node: Node | null | undefined, where: string, key: string): string[] {
    const values = isSeq(node) ? this.textsOf(node) : [this.textOf(node)];
    if (values.length > 0 && values.every((value) => typeof value === 'string' && value !== '')) {
      return values as string[];
    }
    throw failure('USAGE', where, `"${key}" must be a pattern or a list of patterns`, `${key}: 'v1.*'`);
  }

  private textsOf({ items }: { items: unknown[] }): unknown[] {
    return items.map((item) => this.textOf(this.resolve(item)));
  }

  /** What YAML takes for a number was meant as it was written: `tags: 1.10`. */
  private textOf(node: Node | null | undefined): unknown {
    if (isScalar(node) && typeof node.value === 'number') return node.source;
    return this.valueOf(node);
  }

  /** Of a scalar. What has members stands for itself: no value is one, so it is refused. */
  private valueOf(node: Node | null | undefined): unknown {
    if (isScalar(node)) return node.value;
    return isSeq(node) ? [] : (node ?? null);
  }

  private resolve(node: unknown): Node | null {
    return isAlias(node) ? (node.resolve(this.document) ?? null) : (node as Node | null);
  }

  private where(node: Node | null | undefined): string {
    return `${this.file}:${this.lineOf(node)}`;
  }

  private at(offset: number): string {
    return `${this.file}:${this.lines.linePos(offset).line}`;
  }

  private lineOf(node: Node | null | undefined): number {
    return this.lines.linePos(node?.range?.[0] ?? 0).line;
  }
}

function unknownKey(where: string, name: string, line: number, known: string[]): SeekableErofsError {
  const key = name.replaceAll('_', '-').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const meant = closestName(name, known);
  const instead = meant === undefined ? `there is ${known.join(', ')}` : `did you mean "${meant}"?`;
  const hint = flagsOfTheRun.includes(key) ? `give --${key} on the command line` : instead;
  return failure('USAGE', `${where} (line ${line})`, `there is no key "${name.slice(0, 60)}"`, hint);
}
