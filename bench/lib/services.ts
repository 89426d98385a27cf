// A fleet in a FleetStore: headless services of one cluster that changes come to, and the changes, all from numbers.

import { FleetStore } from '../../src/k8s/store.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import type { EndpointSlice, ServicePort } from '../../src/zones/objects.ts';
import { addressOf, namespaceOf, serviceOf } from './names.ts';

export const CLUSTER = 'us-east';
const ENDPOINTS = 3;
const PORTS: readonly ServicePort[] = [{ name: 'mysql', protocol: 'tcp', port: 3306 }];
/** First octet of the one address of a service that carries the number of its last change. */
export const CHANGE_NETWORK = 11;

/** A store that holds so many services, their exports and their slices. */
export function fleetOf(services: number): FleetStore {
  const store = new FleetStore({ addressConflict: 'servfail' });
  store.addCluster({ id: CLUSTER, precedence: Infinity, endpointsFrom: 'auto', speaksFor: undefined, drained: false });
  store.replace(CLUSTER, objects(services));
  return store;
}

function* objects(services: number): Generator<FleetObject> {
  for (let i = 0; i < services; i++) {
    const name = { namespace: namespaceOf(i), name: serviceOf(i) };
    const spec = { type: 'Headless', ips: [], ports: PORTS, createdSeconds: 0, ipsFromSlices: false } as const;
    yield { kind: 'ServiceImport', object: { ...name, ...spec } };
    yield { kind: 'ServiceExport', object: { ...name, valid: true } };
    yield { kind: 'EndpointSlice', object: sliceOf(i, 0) };
  }
}

/** The slice of service `i` as change number `change` leaves it: one address carries the number. */
export function sliceOf(i: number, change: number): EndpointSlice {
  return {
    namespace: namespaceOf(i),
    name: `${serviceOf(i)}-1`,
    service: serviceOf(i),
    form: 'native',
    sourceCluster: '',
    addressType: 'IPv4',
    ports: PORTS,
    endpoints: Array.from({ length: ENDPOINTS }, (_, k) => ({
      addresses: [k === 0 ? addressOf(CHANGE_NETWORK, change) : addressOf(20 + k, i)],
      hostname: `mysql-${String(k)}`,
      ready: true,
      uid: `uid-${String(i)}-${String(k)}`,
    })),
  };
}

/** Which service change number `change` is of: spread evenly, the same for whoever asks. */
export function changedBy(change: number, services: number): number {
  return (Math.imul(change, 0x9e3779b1) >>> 0) % services;
}

/** The number of the last change that an A reply shows; -1 where it shows none. */
export function changeIn(message: Uint8Array, at: number, length: number): number {
  // Every record here is 16 octets behind the question, its RDATA the last four.
  const answers = message[at + 7]!;
  for (let p = at + length - 4, n = answers; n > 0; n--, p -= 16) {
    if (message[p] === CHANGE_NETWORK) return (message[p + 1]! << 16) | (message[p + 2]! << 8) | message[p + 3]!;
  }
  return -1;
}
