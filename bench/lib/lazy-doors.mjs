// Contestants of the claim `lazy` that are ours and go through stock containerd: by the layer content cache behind a mirror, by the proxy
// snapshotter, by the proxy differ (docs/containerd.md). The image is pulled and run as of the rivals.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dropCaches } from './cold.mjs';
import { ColdContainerd, programsFor } from './lazy-rivals.mjs';
import { OurState } from './lazy-ours.mjs';
import { comesUp, freePort } from './ports.mjs';

const PLATFORM = { x64: 'linux(+erofs)/amd64', arm64: 'linux(+erofs)/arm64' }[process.arch];

const DOORS = [
  { key: 'cacheDoor', label: 'ours through containerd: layer content cache and mirror', open: cacheDoor },
  { key: 'snapshotterDoor', label: 'ours through containerd: proxy snapshotter', open: snapshotterDoor },
  { key: 'differDoor', label: 'ours through containerd: proxy differ, eagerly', open: differDoor },
];

/** Contestants for a cold start of `image` under `tag`; our server runs already, and has mounted `mounted` before, of which nothing is kept. */
export function doors(context, registry, image, network, tag) {
  const programs = programsFor(context.peers, 'erofs');
  return DOORS.map(({ key, label, open }) => {
    if (programs.missing) return { key, label, skip: programs.missing };
    const daemon = new ColdContainerd(programs, registry);
    const state = new OurState(context);
    const reference = `${registry.slowHost}/${image.repository}:${tag}`;
    const door = open({ daemon, state, registry });
    return {
      key,
      label,
      argv: context.job('first-output', 'sh', '-c', daemon.script(reference, door, image.program)),
      async before() {
        daemon.renew();
        state.renew();
        const { flags, addresses, extra } = await door.settings();
        await state.serve(...flags);
        for (const address of addresses) await comesUp(address);
        state.mountOnce(`docker://${registry.host}/${image.repository}:${tag}`);
        await daemon.start(door.snapshotter, extra);
        dropCaches([...daemon.files, ...state.programs]);
        await registry.setNetwork(network);
      },
      result: async (output) => ({ ...JSON.parse(output), traffic: await registry.counts() }),
      after() {
        daemon.stop();
        state.clear();
      },
    };
  });
}

function snapshotterDoor({ daemon, state }) {
  const socket = state.at('snapshotter.sock');
  return {
    snapshotter: 'seekable',
    settings: () => ({
      flags: ['--snapshotter', socket, '--containerd-root', daemon.path('root')],
      addresses: [{ path: socket }],
      extra: `
[proxy_plugins.seekable]
  type = 'snapshot'
  address = '${socket}'
  platform = '${PLATFORM}'
  [proxy_plugins.seekable.exports]
    enable_remote_snapshot_annotations = 'true'
${unpacking('seekable', 'walking')}`,
    }),
  };
}

function differDoor({ state }) {
  const socket = state.at('differ.sock');
  return {
    snapshotter: 'erofs',
    settings: () => ({
      flags: ['--differ', socket],
      addresses: [{ path: socket }],
      extra: `
[proxy_plugins.seekable-diff]
  type = 'diff'
  address = '${socket}'
  platform = '${PLATFORM}'
${unpacking('erofs', 'seekable-diff')}`,
    }),
  };
}

/** Its folder is the one that containerd is configured for; the mirror is named by a hosts.toml. */
function cacheDoor({ daemon, registry }) {
  const hosts = () => daemon.path('hosts');
  return {
    snapshotter: 'erofs',
    pullFlags: ['--hosts-dir', hosts()],
    async settings() {
      const [cache, port] = [daemon.path('cache'), await freePort()];
      mkdirSync(cache);
      const address = `127.0.0.1:${port}`;
      writeHosts(hosts(), registry.slowHost, `http://${address}`);
      return {
        flags: ['--erofs-cache', cache, '--registry', address, '--upstream', registry.slowHost],
        addresses: [{ host: '127.0.0.1', port }],
        extra: unpacking('erofs', 'erofs'),
      };
    },
  };
}

/** What containerd reads of a mirror of `upstream`. */
function writeHosts(folder, upstream, mirror) {
  const own = join(folder, upstream);
  mkdirSync(own, { recursive: true });
  const lines = [
    `server = "http://${upstream}"`,
    `[host."${mirror}"]`,
    '  capabilities = ["pull", "resolve"]',
  ];
  writeFileSync(join(own, 'hosts.toml'), `${lines.join('\n')}\n`);
}

const unpacking = (snapshotter, differ) => `
[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
  platform = '${PLATFORM}'
  snapshotter = '${snapshotter}'
  differ = '${differ}'
`;
