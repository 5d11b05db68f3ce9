/** A folder or file of a treemap; `layer` -1: a folder, -2: hidden by upper layers, -3: small things together. */
export interface SizeNode {
  name: string;
  bytes: number;
  layer: number;
  /** Of a folder, and of its small things: the layer that has most of its bytes; -1: none has. */
  mainly: number;
  children: SizeNode[];
}

/** Bytes of a folder, and the layer that leads by how much if each of its bytes cancels one of another layer. */
interface FolderSize {
  bytes: number;
  layer: number;
  lead: number;
}

export const layerOf = { folder: -1, hidden: -2, small: -3 } as const;

/** Beyond these, what is smaller is shown together: a page has to open. */
const maxFolders = 100_000;
const maxDepth = 8;
const maxShownFolders = 1500;
const maxShownFiles = 3000;

/** Sums up a tree by its folders while it is walked; memory is bounded, whatever the number of files. */
export class SizeTree {
  private readonly folders = new Map<string, FolderSize>([['', emptyFolder()]]);
  /** As large as the smallest file that is kept: smaller ones need not be. */
  private floor = 0;
  private files: { path: string; bytes: number; layer: number }[] = [];
  /** By layer, what lower layers have and the merged tree doesn't show. */
  private readonly hidden = new Map<string, number>();

  /** A file at its path, which begins with a slash. */
  add(path: string, bytes: number, layer: number): void {
    if (bytes === 0) return;
    for (const folder of this.foldersOf(path)) count(this.folders.get(folder)!, bytes, layer);
    if (bytes <= this.floor) return;
    this.files.push({ path, bytes, layer });
    if (this.files.length > 4 * maxShownFiles) this.dropSmall();
  }

  /** Bytes of a lower layer below a folder, which nobody sees. */
  hide(folder: string, bytes: number): void {
    if (bytes > 0) this.hidden.set(folder, (this.hidden.get(folder) ?? 0) + bytes);
  }

  root(): SizeNode {
    this.dropSmall();
    const shown = [...this.folders].sort((a, b) => b[1].bytes - a[1].bytes).slice(0, maxShownFolders);
    const nodes = new Map<string, SizeNode>();
    // The larger ones come first, so that a folder's own parents are there before it, or it is as large as they are.
    for (const [path, size] of shown.sort((a, b) => a[0].length - b[0].length)) {
      const { bytes } = size;
      const name = nameOf(path) || '/';
      const node = { name, bytes, layer: layerOf.folder, mainly: mainLayer(size), children: [] };
      const parent = path === '' ? undefined : nodes.get(parentOf(path));
      if (path !== '' && parent === undefined) continue;
      nodes.set(path, node);
      parent?.children.push(node);
    }
    for (const { path, bytes, layer } of this.files) {
      nodes
        .get(parentOf(path))
        ?.children.push({ name: nameOf(path), bytes, layer, mainly: layer, children: [] });
    }
    for (const node of nodes.values()) addRest(node);
    const root = nodes.get('')!;
    this.addHidden(root, nodes);
    return root;
  }

  private addHidden(root: SizeNode, nodes: ReadonlyMap<string, SizeNode>): void {
    for (const [folder, bytes] of this.hidden) {
      const hidden = {
        name: 'hidden by upper layers',
        bytes,
        layer: layerOf.hidden,
        mainly: -1,
        children: [],
      };
      (nodes.get(folder) ?? root).children.push(hidden);
      // It takes room in all folders around it.
      for (let path = nodes.has(folder) ? folder : ''; path !== ''; path = parentOf(path))
        nodes.get(path)!.bytes += bytes;
      root.bytes += bytes;
    }
  }

  /** The folders that a file counts in; those too deep, or too many, have no place of their own. */
  private foldersOf(path: string): string[] {
    const found: string[] = [''];
    let depth = 0;
    for (
      let end = path.indexOf('/', 1);
      end > 0 && depth < maxDepth;
      end = path.indexOf('/', end + 1), depth++
    ) {
      const folder = path.slice(0, end);
      if (!this.folders.has(folder)) {
        if (this.folders.size >= maxFolders) break;
        this.folders.set(folder, emptyFolder());
      }
      found.push(folder);
    }
    return found;
  }

  private dropSmall(): void {
    this.files.sort((a, b) => b.bytes - a.bytes);
    this.files = this.files.slice(0, maxShownFiles);
    if (this.files.length === maxShownFiles) this.floor = this.files.at(-1)!.bytes;
  }
}

/** What a folder has beside what is shown of it. */
function addRest(node: SizeNode): void {
  const rest = node.bytes - node.children.reduce((sum, { bytes }) => sum + bytes, 0);
  if (rest <= 0) return;
  const { mainly } = node;
  node.children.push({ name: 'smaller ones', bytes: rest, layer: layerOf.small, mainly, children: [] });
}

const emptyFolder = (): FolderSize => ({ bytes: 0, layer: -1, lead: 0 });

/** A vote of bytes, for which one candidate is enough however many layers there are. */
function count(folder: FolderSize, bytes: number, layer: number): void {
  folder.bytes += bytes;
  if (layer === folder.layer) folder.lead += bytes;
  else if (bytes <= folder.lead) folder.lead -= bytes;
  else [folder.layer, folder.lead] = [layer, bytes - folder.lead];
}

/** What leads by half of all bytes has more than half of them. */
const mainLayer = ({ bytes, layer, lead }: FolderSize): number => (lead * 2 > bytes ? layer : -1);

const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')));

/** The folder of at most two names that a path lies in: hidden things are shown there. */
export function nearRoot(path: string): string {
  const second = path.indexOf('/', path.indexOf('/', 1) + 1);
  return second > 0 ? path.slice(0, second) : parentOf(path);
}
