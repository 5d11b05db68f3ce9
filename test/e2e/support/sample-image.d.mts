export const EXPECTED_OUTPUT: string;
export function writeSampleImage(directory: string, reference: string): void;
