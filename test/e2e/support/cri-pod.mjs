// A container run through CRI, as a kubelet does it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NODE = 2; // the machine's own namespace, where no network has to be set up
const CONTAINER_TIMEOUT = 60_000;

/** Runs an image that was pulled to its end, in a pod of its own without a network; gives what it printed on stdout. */
export async function runPod(daemon, place) {
  return inPod(daemon, place, async (id) => {
    await ended(daemon, id);
    return printed(join(place.directory, 'sample.log'));
  });
}

/** Runs an image that runs on; gives what a script in the container printed. The container is stopped then. */
export async function execInPod(daemon, place, script) {
  return inPod(daemon, place, async (id) => {
    const output = daemon.crictl('exec', id, '/bin/sh', '-c', script);
    daemon.crictl('stop', '--timeout', '0', id);
    await ended(daemon, id);
    return output;
  });
}

async function inPod(daemon, { image, directory, cgroup }, use) {
  mkdirSync(directory);
  const write = (name, value) => {
    writeFileSync(join(directory, name), JSON.stringify(value));
    return join(directory, name);
  };
  const pod = write('pod.json', {
    metadata: { name: 'sample', uid: 'sample', namespace: 'default' },
    log_directory: directory,
    linux: { cgroup_parent: cgroup, security_context: { namespace_options: { network: NODE } } },
  });
  const container = write('container.json', {
    metadata: { name: 'sample' },
    image: { image },
    log_path: 'sample.log',
  });
  const podId = daemon.crictl('runp', pod).trim();
  const id = daemon.crictl('create', podId, container, pod).trim();
  daemon.crictl('start', id);
  const result = await use(id);
  daemon.crictl('rmp', '--force', podId);
  return result;
}

async function ended(daemon, id) {
  for (const deadline = Date.now() + CONTAINER_TIMEOUT; Date.now() < deadline;) {
    const { status } = JSON.parse(daemon.crictl('inspect', '--output', 'json', id));
    if (status.state === 'CONTAINER_EXITED') return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`container ${id} does not end`);
}

/** A line of the log is `TIME STREAM F text`; F: it ends with a newline. */
function printed(log) {
  const lines = readFileSync(log, 'utf8').split('\n');
  return lines.flatMap((line) => /^\S+ stdout F (.*)$/.exec(line)?.[1]?.concat('\n') ?? []).join('');
}
