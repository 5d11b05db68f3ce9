/** Numbers of things and sizes for a reader's eyes: on a terminal, in an error, on a page. Programs get plain numbers. */

const units = ['kB', 'MB', 'GB', 'TB', 'PB'];

/** A byte count in decimal units, e.g. `12.3 MB`. */
export function humanBytes(count: number): string {
  if (count < 1000) return humanCount(count, 'byte');
  let value = count / 1000;
  let unit = 0;
  for (; value >= 999.95 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]!}`;
}

/** A number of things: `1 layer`, `2 layers`. */
export function humanCount(count: number, thing: string, things = `${thing}s`): string {
  return `${count} ${count === 1 ? thing : things}`;
}
