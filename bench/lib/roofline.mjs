// The raw limit of a run: what can't be avoided, each part measured alone, spread over the cores without any loss.

/**
 * `lanes` are what can run beside each other (the layers of an image): each `{parts, first}`, with the CPU seconds of its unavoidable
 * parts by name, and the names of those that must have ended before any other of the lane begins (inflating: the tree of a tar is
 * known at its end). `streams` are CPU seconds of what is one serial stream whatever the cores (SHA-256 of an image).
 * The limit is the CPU seconds divided by the cores, but never less than a lane's own critical path, nor than a stream.
 */
export function roofline({ lanes, streams = [] }, cores) {
  const cpuSeconds = sum(lanes.map(({ parts }) => sum(Object.values(parts))));
  const paths = lanes.map(({ parts, first = [] }) => {
    const before = sum(first.map((name) => parts[name] ?? 0));
    return before + (sum(Object.values(parts)) - before) / cores;
  });
  const bounds = { cpu: cpuSeconds / cores, path: Math.max(0, ...paths), stream: Math.max(0, ...streams) };
  const seconds = Math.max(bounds.cpu, bounds.path, bounds.stream);
  const bound = Object.keys(bounds).find((name) => bounds[name] === seconds);
  return { seconds, bound, cpuSeconds, parts: addUp(lanes) };
}

/** CPU seconds of each part over all lanes. */
function addUp(lanes) {
  const total = {};
  for (const { parts } of lanes) {
    for (const [name, seconds] of Object.entries(parts)) total[name] = (total[name] ?? 0) + seconds;
  }
  return total;
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
