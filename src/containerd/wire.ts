import type { Descriptor } from '../oci/types';
import { StatusError } from './grpc-server';

/** A descriptor as containerd's messages have it. */
export interface WireDescriptor {
  media_type: string;
  digest: string;
  size: number;
  annotations: Record<string, string>;
}

/** A mount as containerd's messages have it. */
export interface WireMount {
  type: string;
  source: string;
  target?: string;
  options: string[];
}

/** INVALID_ARGUMENT where there is none. */
export function fromWire(descriptor: WireDescriptor | null): Descriptor {
  if (descriptor === null) throw new StatusError('INVALID_ARGUMENT', 'there is no descriptor');
  const { media_type: mediaType, digest, size, annotations } = descriptor;
  return { mediaType, digest, size, annotations };
}

export function toWire({ mediaType, digest, size, annotations = {} }: Descriptor): WireDescriptor {
  return { media_type: mediaType, digest, size, annotations };
}
