import { execFile, execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeProgram, leafCommands, type CommandDescription } from '../../src/cli/describe-program';
import { wholeProgram } from '../../src/cli/program';
import { titleOf, whyWithout } from '../conformance/support/machine';

const cli = resolve(__dirname, '../../dist/cli/main.js');
let folder: string;
let leaves: { words: readonly string[]; command: CommandDescription }[];
let program: CommandDescription;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'completion-'));
  await mkdir(join(folder, 'layout-of-app', 'blobs'), { recursive: true });
  await writeFile(join(folder, 'layer one.tar'), '');
  for (const shell of ['bash', 'zsh', 'fish'])
    await writeFile(join(folder, shell), execFileSync(process.execPath, [cli, 'completion', shell]));
  program = describeProgram(await wholeProgram());
  leaves = leafCommands(program);
});
afterAll(() => rm(folder, { recursive: true }));

/** What must be offered for a line, in every shell. */
function wanted(): { line: string; offered: string[] }[] {
  const names = program.commands.flatMap(({ name, commands }) => [
    { line: name.slice(0, -1), offered: [name] },
    ...commands.map((sub) => ({ line: `${name} ${sub.name.slice(0, 1)}`, offered: [sub.name] })),
  ]);
  const flags = leaves.flatMap(({ words, command }) => [
    { line: `${words.join(' ')} --`, offered: command.flags.map(({ long }) => long) },
    ...command.flags.flatMap(({ long, value }) =>
      (value?.choices ?? []).length === 0
        ? []
        : [{ line: `${words.join(' ')} ${long} `, offered: [...value!.choices] }],
    ),
  ]);
  return [...names, ...flags, ...places];
}

/** Arguments: references, files and folders, also behind other words. */
const places = [
  { line: 'completion z', offered: ['zsh'] },
  { line: 'verify doc', offered: ['docker://'] },
  { line: 'verify oci-', offered: ['oci-archive:'] },
  { line: 'umount layo', offered: ['layout-of-app/'] },
  { line: 'convert --platform linux/arm64 --dm-verity oci-arch', offered: ['oci-archive:'] },
  { line: 'convert --platform linux/am', offered: ['linux/amd64'] },
  { line: 'convert oci:x oci-arch', offered: ['oci-archive:'] },
  { line: 'ls --descriptor layo', offered: ['layout-of-app/'] },
  { line: 'cat layo', offered: ['layout-of-app/'] },
];

interface Shell {
  command: string[];
  script: (lines: readonly string[]) => string;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** bash: the function is called as bash calls it, and told what bash tells it. */
const bash: Shell = {
  command: ['bash', '--norc'],
  script: (lines) => `. ./bash
try() {
  COMP_LINE="seekable-erofs $1" COMP_POINT=\${#COMP_LINE} COMPREPLY=()
  _seekable_erofs
  printf '%s\\n' "\${COMPREPLY[@]}"; echo '--'
}
${lines.map((line) => `try ${quoted(line)}`).join('\n')}
`,
};

/** zsh: an interactive one gets each line and Tab; what it would show is what compadd was given and matches. */
const zsh: Shell = {
  command: ['zsh', '-f'],
  script: (lines) => `zmodload zsh/zpty
zpty shell zsh -f -i
line() { zpty -w shell "$1" }
line 'PROMPT=; stty -echo -onlcr; autoload -Uz compinit && compinit -D -u -d ./zcompdump; . ./zsh'
line 'compadd() {
  if [[ $@[1,(i)(-|--)] == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return $?; fi
  typeset -a hits; builtin compadd -A hits "$@"
  [[ \${#hits} -eq 0 ]] || print -rl -- $hits >> ./offered
  builtin compadd "$@"
}
finish() { print -r -- -- >> ./offered; compstate[insert]=; compstate[list]= }
offer() { comppostfuncs=(finish); _main_complete }
zle -C offer complete-word offer; bindkey "^I" offer
forget() { BUFFER= }; zle -N forget; bindkey "^U" forget
print > ./ready'
until [[ -e ./ready ]]; do sleep 0.05; done
try() {
  local drop
  zpty -n -w shell $'\\x15'"seekable-erofs $1"$'\\t'
  until [[ $(grep -c '^--$' ./offered 2>/dev/null) -ge $2 ]]; do sleep 0.02; zpty -r -t shell drop; done
}
${lines.map((line, i) => `try ${quoted(line)} ${i + 1}`).join('\n')}
zpty -d shell
cat ./offered
`,
};

const fish: Shell = {
  command: ['fish', '--no-config'],
  script: (lines) => `source ./fish
function try; complete --do-complete "seekable-erofs $argv" | string split -f1 \\t; echo -- --; end
${lines.map((line) => `try ${quoted(line)}`).join('\n')}
`,
};

const shells = { bash, fish, zsh };

describe.each(['bash', 'fish', 'zsh'] as const)('%s', (name) => {
  const reason = whyWithout(name);
  test.skipIf(reason !== null)(
    titleOf('completes every command, flag, choice and kind of argument', reason),
    () => tried(shells[name]),
  );
});

async function tried({ command, script }: Shell): Promise<void> {
  const all = wanted();
  const file = join(folder, `script-${command[0]!}`);
  await writeFile(file, script(all.map(({ line }) => line)));
  const [program = '', ...args] = command;
  const { stdout } = await promisify(execFile)(program, [...args, file], {
    cwd: folder,
    env: { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder, TERM: 'xterm' },
    maxBuffer: 1 << 28,
    timeout: 200_000,
  });
  const answers = stdout.split(/^--$\n?/m).map((text) => text.split('\n'));
  const missing = all.flatMap(({ line, offered }, i) => {
    const found = (answers[i] ?? []).map((one) => one.trim());
    return offered
      .filter((one) => !found.includes(one) && !found.includes(one.replace(/\/$/, '')))
      .map((one) => `${line}: ${one}`);
  });
  expect(missing).toEqual([]);
}
