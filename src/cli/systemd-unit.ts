import { resolve } from 'node:path';

/** Flags of `serve`, by their names in the library. */
type Setting = string | number | boolean | readonly string[] | undefined;
type Settings = Readonly<Record<string, Setting>>;

/** Settings that are relative to where this runs. */
const paths = [
  'state',
  'erofsCache',
  'snapshotter',
  'differ',
  'containerdRoot',
  'containerdAddress',
  'authfile',
  'certDir',
];
/** Settings whose flags have other names. */
const flagNames: Readonly<Record<string, string>> = { upstreams: '--upstream' };

/** What containerd is offered. */
const doors = ['erofsCache', 'snapshotter', 'differ'];

/** Lines of a systemd unit that runs `serve` with these flags. A reload replaces the server while layers are read. */
export function systemdUnit(settings: Settings): string[] {
  const flags = Object.entries(settings).flatMap(([name, value]) => wordsOf(name, value));
  const command = [process.execPath, resolve(process.argv[1] ?? ''), 'serve', ...flags];
  return [
    '[Unit]',
    'Description=Lazy mounts of seekable EROFS layers',
    'Documentation=https://github.com/seekable-erofs/seekable-erofs-native/blob/main/docs/lazy.md',
    'After=network-online.target',
    'Wants=network-online.target',
    // Containers that containerd starts again need their layers, and it asks for its plugins once.
    ...(doors.some((name) => settings[name] !== undefined) ? ['Before=containerd.service'] : []),
    '# It is not given up, however often it is killed.',
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=notify',
    `ExecStart=${command.map(quoted).join(' ')}`,
    'ExecReload=/bin/kill -USR2 $MAINPID',
    '# Stopping leaves a server to what is mounted, as containerd leaves its containers; the next start takes it over.',
    'KillMode=process',
    'KillSignal=SIGQUIT',
    'TimeoutStopSec=60',
    'SuccessExitStatus=143',
    'Restart=on-failure',
    'RestartSec=1',
    '# What was killed for its memory is started again by serve.',
    'OOMPolicy=continue',
    'OOMScoreAdjust=-500',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ];
}

function wordsOf(name: string, value: Setting): string[] {
  if (value === undefined) return [];
  if (value === true) return [flagOf(name)];
  const values = typeof value === 'object' ? value : [`${value}`];
  return values.flatMap((text) => [flagOf(name), paths.includes(name) ? resolve(text) : text]);
}

function flagOf(name: string): string {
  if (flagNames[name] !== undefined) return flagNames[name];
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** As systemd reads a word: `%` and `$` have a meaning there. */
function quoted(word: string): string {
  const plain = word.replace(/%/g, '%%').replace(/\$/g, '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(plain) ? plain : `"${plain.replace(/["\\]/g, '\\$&')}"`;
}
