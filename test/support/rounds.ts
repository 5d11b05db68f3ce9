/** How often a soak test does what it does: `whole` times in `npm run test:soak`, a tenth of that in `npm test`. */
export function rounds(whole: number): number {
  return process.env['SOAK'] === 'whole' ? whole : Math.ceil(whole / 10);
}

/** Options of a test that is repeated so often, each time from the start. */
export const again = (whole: number): { repeats: number } => ({ repeats: rounds(whole) - 1 });
