import {
  commonPlatforms,
  leafCommands,
  referenceStarts,
  type CommandDescription,
  type FlagDescription,
  type ValueDescription,
} from '../describe-program';

/** The completion of fish: a file of its folder `completions`, or sourced. */
export function fishCompletion(program: CommandDescription): string {
  const parents = program.commands.filter(({ commands }) => commands.length > 0);
  const lines = [
    ...namesOf(program, '__seekable_erofs_at'),
    `complete -c seekable-erofs -n __seekable_erofs_at -l help -s h -d 'print this help'`,
    `complete -c seekable-erofs -n __seekable_erofs_at -l version -s V -d 'print the version'`,
    ...parents.flatMap((command) => namesOf(command, `__seekable_erofs_at ${command.name}`)),
    ...leafCommands(program).flatMap(({ words, command }) => linesOf(words, command)),
  ];
  return `# fish completion of seekable-erofs, written by: seekable-erofs completion fish
# Whether these are the words that follow the program; with none: whether no command is named yet.
function __seekable_erofs_at
  set -l words (commandline -opc)[2..-1]
  test (count $argv) -gt 0; or test (count $words) -eq 0; or return 1
  test (count $words) -ge (count $argv); or return 1
  for i in (seq (count $argv))
    test $words[$i] = $argv[$i]; or return 1
  end
end
# The same, and no further word: the next one is a command.
function __seekable_erofs_ends_at
  set -l words (commandline -opc)[2..-1]
  test (count $words) -eq (count $argv); and __seekable_erofs_at $argv
end
complete -c seekable-erofs -f
${lines.join('\n')}
`;
}

function namesOf({ commands }: CommandDescription, condition: string): string[] {
  const at = condition.replace('__seekable_erofs_at ', '__seekable_erofs_ends_at ');
  return commands.map(
    ({ name, summary }) => `complete -c seekable-erofs -n ${quoted(at)} -a ${name} -d ${quoted(summary)}`,
  );
}

function linesOf(words: readonly string[], command: CommandDescription): string[] {
  const start = `complete -c seekable-erofs -n ${quoted(`__seekable_erofs_at ${words.join(' ')}`)}`;
  const kinds = new Set(command.arguments.map(({ kind }) => kind));
  const references = kinds.has('reference') ? [`${start} -a ${quoted(referenceStarts.join(' '))}`] : [];
  const takesFiles = kinds.has('reference') || kinds.has('file') || kinds.has('folder');
  return [
    ...(takesFiles ? [`${start} -F`] : []),
    ...references,
    ...command.arguments.flatMap(({ choices }) => choices.map((choice) => `${start} -a ${choice}`)),
    ...command.flags.map((flag) => `${start} ${flagOf(flag)}`),
  ];
}

function flagOf({ long, short, text, value }: FlagDescription): string {
  const names = `-l ${long.slice(2)}${short === undefined ? '' : ` -s ${short.slice(1)}`}`;
  return `${names}${value === undefined ? '' : ` ${valueOf(value)}`} -d ${quoted(text)}`;
}

function valueOf({ kind, choices }: ValueDescription): string {
  if (kind === 'choice') return `-x -a ${quoted(choices.join(' '))}`;
  if (kind === 'platform') return `-x -a ${quoted(commonPlatforms.join(' '))}`;
  if (kind === 'folder') return `-x -a '(__fish_complete_directories)'`;
  return kind === 'file' || kind === 'reference' ? '-r -F' : '-x';
}

function quoted(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
