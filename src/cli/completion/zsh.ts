import {
  commonPlatforms,
  referenceStarts,
  type CommandDescription,
  type FlagDescription,
  type ValueDescription,
} from '../describe-program';

/** The completion of zsh: a file `_seekable-erofs` of its fpath, or evaluated. */
export function zshCompletion(program: CommandDescription): string {
  return `#compdef seekable-erofs
# zsh completion of seekable-erofs, written by: seekable-erofs completion zsh
_seekable_erofs_reference() {
  if compset -P '(oci|oci-archive|docker-archive|erofs-cache):'; then
    _files
  else
    local -a starts=(${referenceStarts.map(quoted).join(' ')})
    compadd -S '' -a starts
    _files
  fi
}
${program.commands.map((command) => functionOf(command, [])).join('\n')}
${groupFunction(program, [])}
if [ "$funcstack[1]" = _seekable_erofs ]; then
  _seekable_erofs "$@"
else
  compdef _seekable_erofs seekable-erofs
fi
`;
}

/** The function that completes what follows a command's name. */
function functionOf(command: CommandDescription, parents: string[]): string {
  const below = command.commands.map((sub) => functionOf(sub, [...parents, command.name]));
  if (below.length > 0) return [...below, groupFunction(command, parents)].join('\n');
  const specs = [...command.flags.flatMap(flagSpecs), ...command.arguments.map(argumentSpec)];
  return `${nameOf(command, parents)}() {\n  _arguments -s -S ${specs.map(quoted).join(' \\\n    ')}\n}`;
}

function groupFunction(command: CommandDescription, parents: string[]): string {
  const isProgram = parents.length === 0 && command.name === 'seekable-erofs';
  const below = isProgram ? [] : [...parents, command.name];
  const described = command.commands.map(({ name, summary }) => `${name}:${summary.replaceAll(':', '\\:')}`);
  const cases = command.commands.map((sub) => `    ${sub.name}) ${nameOf(sub, below)} ;;\n`);
  const flags = isProgram
    ? ['--help[print this help]', '--version[print the version]']
    : ['--help[print help]'];
  const name = isProgram ? '_seekable_erofs' : nameOf(command, parents);
  return `${name}() {
  local curcontext=$curcontext state line
  local -a commands=(
    ${described.map(quoted).join('\n    ')}
  )
  _arguments -C ${flags.map(quoted).join(' ')} '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe command commands ;;
    argument) case $words[1] in
${cases.join('')}    esac ;;
  esac
}`;
}

function nameOf({ name }: CommandDescription, parents: string[]): string {
  return ['_seekable_erofs', ...parents, name].join('_').replaceAll('-', '_');
}

function flagSpecs({ long, short, text, value }: FlagDescription): string[] {
  const names = short === undefined ? [long] : [short, long];
  const any = value?.repeatable === true ? '*' : '';
  const action = value === undefined ? '' : `:${escaped(value.name)}:${actionOf(value)}`;
  return names.map((name) => `${any}${name}[${escaped(text)}]${action}`);
}

function argumentSpec(argument: ValueDescription, index: number): string {
  const place = argument.repeatable ? '*' : String(index + 1);
  return `${place}:${argument.required ? '' : ':'}${escaped(argument.name)}:${actionOf(argument)}`;
}

function actionOf({ kind, choices }: ValueDescription): string {
  if (kind === 'reference') return '_seekable_erofs_reference';
  if (kind === 'file') return '_files';
  if (kind === 'folder') return '_files -/';
  if (kind === 'platform') return `(${commonPlatforms.join(' ')})`;
  return kind === 'choice' ? `(${choices.join(' ')})` : ' ';
}

/** Text inside a specification of _arguments. */
function escaped(text: string): string {
  return text.replace(/[\\[\]:]/g, '\\$&');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
