import { resolve } from 'node:path';

/** Flags of `serve`, by their names in the library. */
type Settings = Readonly<Record<string, string | number | true | undefined>>;

/** The unit has a working folder of its own. */
const paths = ['state', 'erofsCache', 'snapshotter', 'differ', 'containerdRoot', 'authfile', 'certDir'];

/** Lines of a systemd unit that runs `serve` with these flags. A reload replaces the server while layers are read; stopping it ends them. */
export function systemdUnit(settings: Settings): string[] {
  const flags = Object.entries(settings).flatMap(([name, value]) => {
    if (value === undefined) return [];
    if (value === true) return [flagOf(name)];
    return [flagOf(name), paths.includes(name) ? resolve(`${value}`) : `${value}`];
  });
  const command = [process.execPath, resolve(process.argv[1] ?? ''), 'serve', ...flags];
  return [
    '[Unit]',
    'Description=Lazy mounts of seekable EROFS layers',
    'Documentation=https://github.com/seekable-erofs/seekable-erofs-native/blob/main/docs/lazy.md',
    'After=network-online.target',
    'Wants=network-online.target',
    '',
    '[Service]',
    `ExecStart=${command.map(quoted).join(' ')}`,
    'ExecReload=/bin/kill -USR2 $MAINPID',
    '# The server has time to write what it fetched; its keeper ends it.',
    'KillMode=mixed',
    'TimeoutStopSec=30',
    'SuccessExitStatus=143',
    'Restart=on-failure',
    'OOMScoreAdjust=-500',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  ];
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** As systemd reads a word: `%` and `$` have a meaning there. */
function quoted(word: string): string {
  const plain = word.replace(/%/g, '%%').replace(/\$/g, '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(plain) ? plain : `"${plain.replace(/["\\]/g, '\\$&')}"`;
}
