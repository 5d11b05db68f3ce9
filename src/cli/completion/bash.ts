import {
  commonPlatforms,
  leafCommands,
  referenceStarts,
  type CommandDescription,
  type ValueDescription,
} from '../describe-program';

/** The completion of bash: one function, which needs no package bash-completion. */
export function bashCompletion(program: CommandDescription): string {
  const leaves = leafCommands(program).map(({ words, command }) => ({ name: words.join(' '), command }));
  const facts = leaves.map(({ name, command }) => factsOf(name, command)).join('\n');
  return `# bash completion of seekable-erofs, written by: seekable-erofs completion bash
${parentsOf(program)}
${helpers}
_seekable_erofs() {
${beginning}
  case $command in
    ${parentNames(program)}) [[ -z \${words[2]-} ]] || command+=" \${words[2]}"; first=3 ;;
  esac
  case $command in
${facts}
    *) _seekable_erofs_offer "$(_seekable_erofs_commands "$command") --help"; return 0 ;;
  esac
${place}
  if [[ -n $previous ]]; then
    case "$command $previous" in
${valuesOf(leaves)}
    esac
  elif [[ $word == -* ]]; then
    _seekable_erofs_offer "$flags"
  else
    local -a kinds
    read -ra kinds <<<"$arguments"
    [[ $position -lt \${#kinds[@]} || \${kinds[-1]-} != *... ]] || position=$((\${#kinds[@]} - 1))
    _seekable_erofs_value "\${kinds[position]%...}"
  fi
}
complete -F _seekable_erofs seekable-erofs
`;
}

/** Cuts the line into words: `word` is the one to complete. */
const beginning = `  local line=\${COMP_LINE:0:COMP_POINT} word= command= flags='--help' valued= arguments= previous= position=0 i
  local -a words
  COMPREPLY=()
  read -ra words <<<"$line"
  # An empty word is begun by the blank before it.
  [[ $line == *[[:blank:]] ]] || { word=\${words[-1]} && unset 'words[-1]'; }
  [[ \${#words[@]} -gt 0 ]] || return 0
  command=\${words[1]-}
  local first=2`;

/** Where in the command's arguments the word is, or which flag it is the value of. */
const place = `  for ((i = first; i < \${#words[@]}; i++)); do
    if [[ \${words[i]} == -- ]]; then return 0; fi
    if [[ " $valued " == *" \${words[i]} "* ]]; then
      previous=\${words[i]} && ((i++))
      ((i < \${#words[@]})) && previous=
    elif [[ \${words[i]} != -* ]]; then
      ((position++))
    fi
  done
  if [[ $word == --*=* ]]; then
    previous=\${word%%=*} word=\${word#*=}
  fi`;

/** What offers words: `word` is the caller's. */
const helpers = `_seekable_erofs_offer() {
  COMPREPLY+=($(compgen -W "$1" -- "$word"))
  _seekable_erofs_trim
}
# bash begins a word behind each colon.
_seekable_erofs_trim() {
  if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
    local i before=\${word%"\${word##*:}"}
    for i in "\${!COMPREPLY[@]}"; do COMPREPLY[i]=\${COMPREPLY[i]#"$before"}; done
  fi
  [[ \${#COMPREPLY[@]} -ne 1 || \${COMPREPLY[0]} != *[/:] ]] || compopt -o nospace 2>/dev/null
}
_seekable_erofs_paths() {
  local path rest=$word before=
  if [[ $word =~ ^(oci|oci-archive|docker-archive|erofs-cache): ]]; then
    before=\${BASH_REMATCH[0]} rest=\${word#*:}
  fi
  while IFS= read -r path; do
    [[ ! -d $path ]] || path+=/
    COMPREPLY+=("$before$(printf %q "$path")")
  done < <(compgen "$1" -- "$rest")
}
_seekable_erofs_value() {
  local words
  case $1 in
    reference)
      _seekable_erofs_paths -f
      _seekable_erofs_offer '${referenceStarts.join(' ')}' ;;
    file) _seekable_erofs_paths -f; _seekable_erofs_trim ;;
    folder) _seekable_erofs_paths -d; _seekable_erofs_trim ;;
    platform) _seekable_erofs_offer '${commonPlatforms.join(' ')}' ;;
    choice=*) words=\${1#choice=} && _seekable_erofs_offer "\${words//,/ }" ;;
  esac
}`;

function parentsOf(program: CommandDescription): string {
  const names = (commands: readonly CommandDescription[]): string =>
    commands.map(({ name }) => name).join(' ');
  const cases = program.commands
    .filter(({ commands }) => commands.length > 0)
    .map(({ name, commands }) => `    ${name}) echo '${names(commands)}' ;;\n`);
  return `_seekable_erofs_commands() {
  case $1 in
${cases.join('')}    *) echo '${names(program.commands)} help --version' ;;
  esac
}`;
}

function parentNames(program: CommandDescription): string {
  return program.commands
    .filter(({ commands }) => commands.length > 0)
    .map(({ name }) => name)
    .join(' | ');
}

function factsOf(name: string, command: CommandDescription): string {
  const flags = command.flags.map(({ long }) => long).join(' ');
  const valued = command.flags.filter(({ value }) => value !== undefined);
  const names = valued.flatMap(({ long, short }) => (short === undefined ? [long] : [long, short])).join(' ');
  const kinds = command.arguments.map((argument) => `${kindOf(argument)}${argument.repeatable ? '...' : ''}`);
  return `    '${name}') flags='${flags}' valued='${names}' arguments='${kinds.join(' ')}' ;;`;
}

function kindOf({ kind, choices }: ValueDescription): string {
  return kind === 'choice' ? `choice=${choices.join(',')}` : kind;
}

/** Flags whose values are alike share a line. */
function valuesOf(leaves: { name: string; command: CommandDescription }[]): string {
  const patterns = new Map<string, string[]>();
  for (const { name, command } of leaves) {
    for (const { long, value } of command.flags) {
      if (value === undefined) continue;
      const kind = kindOf(value);
      patterns.set(kind, [...(patterns.get(kind) ?? []), `'${name} ${long}'`]);
    }
  }
  return [...patterns]
    .map(([kind, names]) => `      ${names.join(' | ')}) _seekable_erofs_value '${kind}' ;;`)
    .join('\n');
}
