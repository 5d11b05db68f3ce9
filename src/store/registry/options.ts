import type { SeekableErofsError } from '../../errors';
import type { ResourceOptions, WarningOptions } from '../../job';
import type { InputFile } from '../../fs/same-file';
import type { RetryOptions } from '../../source/retry';

/** Watches, and slows down, what registries are asked; `host` as references have it. */
export interface RegistryTraffic {
  /** Resolves when a request may be sent. */
  request(host: string, signal?: AbortSignal): Promise<void>;
  /** Resolves when so many bytes may have gone, in either direction. */
  bytes(host: string, count: number, signal?: AbortSignal): Promise<void>;
  /** A request failed and is made again. */
  retried(host: string, error: SeekableErofsError): void;
}

/** How registries (`docker://`) are spoken to. */
export interface RegistryOptions {
  /** Told of requests and bytes before they go, which may make them wait: limits that hold for many processes. @internal */
  traffic?: RegistryTraffic | undefined;
  /** File with credentials, as `skopeo login --authfile` writes it; default: where Docker and Podman keep theirs. */
  authFile?: string | undefined;
  /**
   * Folder with certificates of authorities to trust (`*.crt`), and pairs of a client's certificate and key (`*.cert`, `*.key`); default:
   * the host's folder under `certs.d` of Docker and Podman.
   */
  certDir?: string | undefined;
  /** Registries that don't answer TLS are spoken to in plain HTTP, as those on loopback always are. */
  insecureHttp?: boolean | undefined;
  /** Requests at once, to each server; default: 6. */
  concurrency?: number | undefined;
  /** How long to keep trying after a network fault, and when a registry is busy, in seconds; default: 60 in conversions, else five attempts. */
  retryTime?: number | undefined;
  /** As `retryTime`, which counts more, with more to choose. */
  retry?: RetryOptions | undefined;
  /** The longest silence of a registry, in milliseconds; default: 30000. */
  timeout?: number | undefined;
  /** The hosts, with their ports, that may be at private addresses, where others are not asked even if a registry sends there; default: all. */
  privateHosts?: readonly string[] | undefined;
}

/** What opening a store takes. */
export interface StoreOptions extends ResourceOptions, RegistryOptions, WarningOptions {}

/** What opening a destination takes. */
export interface DestinationOptions extends StoreOptions {
  /** The reference that its blobs come from: a registry takes them over from another of its repositories. */
  source?: string | undefined;
  /** Files that are read meanwhile: an archive must not take their place. */
  inputs?: readonly InputFile[] | undefined;
}

export const defaultConcurrency = 6;

/** How requests of these options are tried again. */
export function retryOptionsOf({ retryTime, retry }: RegistryOptions): RetryOptions {
  return { ...retry, ...(retryTime !== undefined && { time: retryTime * 1000 }) };
}
