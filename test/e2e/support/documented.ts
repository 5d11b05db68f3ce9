/** The commands that documents show in their `console` blocks, and how shown output is compared. */
export interface DocumentedCommand {
  document: string;
  /** As it stands there, without the prompt. */
  command: string;
  /** `#` where root types it. */
  prompt: '$' | '#';
  /** The lines that are shown as its output; none where nothing is shown. */
  output: string[];
}

/** The commands of a document, in order. A line goes on after a backslash, and up to the end of a here-document. */
export function commandsOf(document: string, text: string): DocumentedCommand[] {
  return [...text.matchAll(/^```console\n(.*?)^```/gms)].flatMap(([, block = '']) =>
    commandsOfBlock(document, block.trimEnd().split('\n')),
  );
}

function commandsOfBlock(document: string, lines: string[]): DocumentedCommand[] {
  const commands: DocumentedCommand[] = [];
  let until: ((line: string) => boolean) | undefined;
  for (const line of lines) {
    const last = commands.at(-1);
    if (until !== undefined && last !== undefined) {
      last.command += `\n${line}`;
      if (until(line)) until = undefined;
    } else if (/^[$#] /.test(line)) {
      commands.push({ document, command: line.slice(2), prompt: line[0] as '$' | '#', output: [] });
      const end = /<<'?(\w+)'?$/.exec(line)?.[1];
      if (end !== undefined) until = (next) => next === end;
      else if (line.endsWith('\\')) until = (next) => !next.endsWith('\\');
    } else if (last === undefined) {
      throw new Error(`${document}: output without a command: ${line}`);
    } else last.output.push(line);
  }
  return commands;
}

/** Output without what differs from run to run: digests, numbers with their units, and how wide columns are. */
export function withoutNumbers(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line
      .replace(/sha(256|512):[0-9a-f]+/g, 'DIGEST')
      .replace(/\d+(\.\d+)?( ?([kMG]i?)?B\b(\/s)?| m?s\b)?/g, 'N')
      .replace(/\s+/g, ' ')
      .trim(),
  );
}

/** Whether output is what is shown; a shown line `…` stands for any lines. */
export function isShown(output: readonly string[], shown: readonly string[]): boolean {
  const [first, ...rest] = shown;
  if (first === undefined) return output.length === 0;
  if (first === '…') return output.some((_, i) => isShown(output.slice(i), rest)) || rest.length === 0;
  return output[0] === first && isShown(output.slice(1), rest);
}
