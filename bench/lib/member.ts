// What the API server of a member cluster holds in benches `fleet` and `latency`: headless services made from a number,
// each an import and one mirrored slice, as an implementation of the MCS API writes them; and the records they must become.

import { mirroredSlice, serviceImport } from '../../test/support/api/objects.ts';
import { CHANGE_NETWORK } from './services.ts';
import { addressOf, nameOf, namespaceOf, serviceOf } from './names.ts';

export type RawObject = Readonly<Record<string, unknown>>;

/** How large a cluster is. */
export interface MemberSize {
  readonly services: number;
  readonly endpoints: number;
  /** The number of its first service, so that clusters need not share any. */
  readonly first?: number;
}

/** The cluster that the slices are copied from; it is none that is configured. */
export const SOURCE = 'us-east';
const PORTS = [{ name: 'mysql', port: 3306, protocol: 'TCP' }] as const;
const NETWORK = 10;

export function* objectsOf({ services, endpoints, first = 0 }: MemberSize): Generator<RawObject> {
  for (let i = first; i < first + services; i++) {
    yield importOf(i);
    yield sliceOf(i, endpoints);
  }
}

export function importOf(i: number): RawObject {
  return serviceImport(namespaceOf(i), serviceOf(i), { type: 'Headless', ports: PORTS, clusters: [SOURCE] });
}

/** With a `change`, its number stands in the first address, where bench `change` looks for it. */
export function sliceOf(i: number, endpoints: number, change?: number): RawObject {
  const addresses = addressesOf(i, endpoints);
  if (change !== undefined) addresses[0] = addressOf(CHANGE_NETWORK, change);
  return mirroredSlice(namespaceOf(i), `${serviceOf(i)}-x7k2p`, serviceOf(i), SOURCE, {
    ports: PORTS,
    endpoints: addresses.map((address, k) => endpoint(i, k, address)),
  });
}

/** What an A query for service `i` is answered with. */
export function addressesOf(i: number, endpoints: number): string[] {
  return Array.from({ length: endpoints }, (_, k) => addressOf(NETWORK, i * endpoints + k));
}

/** The name of one endpoint of service `i`, and its one address. */
export function endpointOf(
  i: number,
  k: number,
  endpoints: number,
): { readonly name: string; readonly address: string } {
  const address = addressOf(NETWORK, i * endpoints + k);
  return { name: `${address.replaceAll('.', '-')}.${SOURCE}.${nameOf(i)}`, address };
}

/** Of a service that has none of these numbers. */
export const unknownName = nameOf(99_999_999);

/** As the EndpointSlice controller writes it: 300 octets, of which a server of DNS needs forty. */
function endpoint(i: number, k: number, address: string): RawObject {
  const digits = String(i * 1_000 + k).padStart(12, '0');
  return {
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `ip-10-0-${String(k)}-${String(i % 250)}.ec2.internal`,
    targetRef: {
      kind: 'Pod',
      namespace: namespaceOf(i),
      name: `${serviceOf(i)}-${String(k)}`,
      uid: `6ba7b810-9dad-11d1-80b4-${digits}`,
    },
    zone: 'us-east-1a',
  };
}
