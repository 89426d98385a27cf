// An EndpointSlice as a store keeps it: its endpoints packed, and what many slices have alike kept once. A
// million endpoints take 22 MB so. Not here: how they are packed (packed-endpoints.ts), which endpoints are good (slice.ts).

import type { Endpoint, EndpointSlice, ServicePort } from '../../zones/objects.ts';
import { hasDistinctIPv4, unpackEndpoints } from './packed-endpoints.ts';

/** All of a slice but its endpoints, and those packed: what a snapshot holds. */
export type PackedFields = Omit<EndpointSlice, 'endpoints'> & { readonly packed: string };

export class PackedSlice implements EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  readonly form: EndpointSlice['form'];
  readonly sourceCluster: string;
  readonly addressType: EndpointSlice['addressType'];
  readonly ports: readonly ServicePort[];
  /** Equal for equal endpoints, and only for them. */
  readonly packed: string;

  /** `packed` must be what `packEndpoints` gave; of other text see `isPacked`. */
  constructor(fields: PackedFields) {
    this.namespace = shared(fields.namespace);
    this.name = fields.name;
    this.service = shared(fields.service);
    this.form = fields.form === 'native' ? 'native' : 'mirrored';
    this.sourceCluster = shared(fields.sourceCluster);
    this.addressType = shared(fields.addressType);
    this.ports = sharedPorts(fields.ports);
    this.packed = fields.packed;
  }

  /** Unpacked anew each time. */
  get endpoints(): readonly Endpoint[] {
    return unpackEndpoints(this.packed);
  }

  get isDistinct(): boolean {
    return hasDistinctIPv4(this.packed);
  }

  /** A getter of the class is no field to JSON.stringify. */
  toJSON(): EndpointSlice {
    const { packed: _packed, ...fields } = this;
    return { ...fields, endpoints: this.endpoints };
  }
}

// Strings and lists of ports that many slices have alike

/** Beyond so many the table is begun anew: what is shared by then stays so. */
const MAX_SHARED = 16_384;
/** Longer lists are not worth the key they would take. */
const MAX_SHARED_PORTS = 16;
/**
 * Tables of the module, since slices are made wherever objects are read; safe because what they give equals what they
 * are given.
 */
const sharedText = new Map<string, string>();
const portLists = new Map<string, readonly ServicePort[]>();

function shared<T extends string>(text: T): T {
  const known = sharedText.get(text);
  if (known !== undefined) return known as T;
  if (sharedText.size >= MAX_SHARED) sharedText.clear();
  sharedText.set(text, text);
  return text;
}

function sharedPorts(ports: readonly ServicePort[]): readonly ServicePort[] {
  if (ports.length > MAX_SHARED_PORTS) return ports;
  let key = '';
  for (const { name, protocol, port } of ports) key += `${protocol}/${port}/${name},`;
  const known = portLists.get(key);
  if (known !== undefined) return known;
  if (portLists.size >= MAX_SHARED) portLists.clear();
  portLists.set(key, ports);
  return ports;
}
