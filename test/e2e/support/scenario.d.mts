export function missing(): string | null;
export function runScenario(
  script: string,
  inside: (directory: string, bin: string, groups: string, noCrictl: string) => Promise<void>,
): Promise<void>;
