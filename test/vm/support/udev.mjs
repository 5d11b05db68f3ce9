// Stands for udev, which the VM lacks: gives the devices of device-mapper their names in /dev/mapper, and takes them away.
import { existsSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { setInterval } from 'node:timers';

const named = new Map();

function nameOf(device) {
  try {
    return readFileSync(`/sys/block/${device}/dm/name`, 'utf8').trim();
  } catch {
    return ''; // it is not ready yet, or gone
  }
}

setInterval(() => {
  const devices = readdirSync('/sys/block').filter((name) => name.startsWith('dm-'));
  for (const [device, path] of named) {
    if (devices.includes(device) && path.endsWith(`/${nameOf(device)}`)) continue;
    rmSync(path, { force: true });
    named.delete(device);
  }
  for (const device of devices) {
    const name = nameOf(device);
    if (named.has(device) || name === '') continue;
    const path = `/dev/mapper/${name}`;
    if (!existsSync(path)) symlinkSync(`../${device}`, path);
    named.set(device, path);
  }
}, 20);
