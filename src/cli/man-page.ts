import type { CommandDescription, FlagDescription, ValueDescription } from './describe-program';
import { leafCommands } from './describe-program';

/** The manual page, in the macros of man(7). */
export function manPage(program: CommandDescription, version: string): string {
  const lines = [
    `.TH SEEKABLE\\-EROFS 1 "" "seekable\\-erofs ${text(version)}" "User Commands"`,
    '.SH NAME',
    `seekable\\-erofs \\- ${text(program.summary)}`,
    '.SH SYNOPSIS',
    '.B seekable\\-erofs',
    '.I COMMAND',
    '[\\fIARGUMENT\\fR ...] [\\fIFLAG\\fR ...]',
    ...exampleLines(program),
    ...commandLines(program),
    ...referenceLines,
    ...exitLines,
    '.SH FILES',
    ...item('/etc/seekable\\-erofs/config.yaml', configText),
    ...item(
      '~/.config/seekable\\-erofs/config.yaml',
      'The same, of one user; it comes before the one in /etc.',
    ),
    '.SH ENVIRONMENT',
    ...item(
      'SEEKABLE_EROFS_AUTHFILE, SEEKABLE_EROFS_CERT_DIR, SEEKABLE_EROFS_INSECURE_HTTP, SEEKABLE_EROFS_CONCURRENCY',
      'The same; they come before the files.',
    ),
    ...item('SEEKABLE_EROFS_CONFIG', 'A configuration file in the place of those.'),
    ...item(
      'HTTPS_PROXY, HTTP_PROXY, NO_PROXY, REGISTRY_AUTH_FILE, DOCKER_CONFIG',
      'As other programs have them.',
    ),
    '.SH SEE ALSO',
    '.BR skopeo (1),',
    '.BR mkfs.erofs (1),',
    '.BR veritysetup (8)',
  ];
  return `${lines.join('\n')}\n`;
}

const configText =
  'Defaults of the flags about registries: authfile, cert-dir, insecure-http, concurrency; below registries those of one host.';

function exampleLines({ examples }: CommandDescription): string[] {
  return examples.length === 0 ? [] : ['.SH EXAMPLES', ...exampleBlock(examples)];
}

function exampleBlock(examples: readonly string[]): string[] {
  return ['.PP', '.nf', ...examples.map((line) => `\\ \\ $ seekable\\-erofs ${text(line)}`), '.fi'];
}

/** A section of each group, a subsection of each command. */
function commandLines(program: CommandDescription): string[] {
  const groups = new Map<string, CommandDescription[]>();
  for (const command of program.commands) {
    groups.set(command.group, [...(groups.get(command.group) ?? []), command]);
  }
  return [...groups].flatMap(([group, commands]) => [
    `.SH ${text(group.replace(/:$/, '').toUpperCase())}`,
    ...commands
      .flatMap((command) => leafCommands(command, [command.name]))
      .flatMap(({ words, command }) => describe(words, command)),
  ]);
}

function describe(words: readonly string[], command: CommandDescription): string[] {
  const usage = command.arguments.map((argument) => ` \\fI${text(usageOf(argument))}\\fR`).join('');
  return [
    `.SS ${text(words.join(' '))}${usage}`,
    `${text(command.summary)}.`,
    ...exampleBlock(command.examples),
    ...command.flags.filter(({ group }) => group !== 'Every command:').flatMap(flagLines),
  ];
}

function usageOf({ name, required, repeatable }: ValueDescription): string {
  const plain = `${name}${repeatable ? '...' : ''}`;
  return required ? plain : `[${plain}]`;
}

function flagLines({ long, short, text: description, value }: FlagDescription): string[] {
  const names = [short, long].filter((name) => name !== undefined).map((name) => `\\fB${text(name)}\\fR`);
  const choices = value === undefined || value.choices.length === 0 ? '' : ` (${value.choices.join(', ')})`;
  const argument = value === undefined ? '' : ` \\fI${text(value.name)}\\fR`;
  return item(`${names.join(', ')}${argument}`, `${description}${choices}`);
}

function item(term: string, description: string): string[] {
  return ['.TP', term, text(description)];
}

const referenceLines = [
  '.SH REFERENCES',
  ...item('docker://\\fIHOST\\fR/\\fIREPO\\fR[:\\fITAG\\fR][@\\fIDIGEST\\fR]', 'an image in a registry'),
  ...item('oci:\\fIDIR\\fR[:\\fIREF\\fR]', 'an image in an OCI image layout'),
  ...item('oci\\-archive:\\fIFILE\\fR[:\\fIREF\\fR]', 'an image in a tar of a layout'),
  ...item('docker\\-archive:\\fIFILE\\fR[:\\fIREF\\fR]', 'an image in what docker save wrote; source only'),
  ...item(
    'erofs\\-cache:\\fIDIR\\fR',
    "containerd's layer content cache; destination of convert and batch only",
  ),
  ...item('http://..., https://...', 'a blob on a web server; reading commands only'),
  ...item('anything else', 'the path of a layer: a tar, a raw EROFS image or a seekable blob'),
];

const exitLines = [
  '.SH EXIT STATUS',
  ...item('0', 'success'),
  ...item('1', 'failed'),
  ...item('2', 'wrong usage'),
  ...item('3', 'data is corrupt, refused, or not what it should be'),
  ...item('4', 'the machine lacks something: root, a kernel module, a program'),
  ...item(
    '129, 130, 131, 143',
    'ended by SIGHUP, SIGINT, SIGQUIT or SIGTERM; SIGUSR1 prints how far a run is',
  ),
];

/** Text without meaning for roff: backslashes, hyphens of flags, and a point or a quote at the start of a line. */
function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/gm, '\\&');
}
