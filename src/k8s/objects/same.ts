// Whether two trimmed values say the same, so that an event or a relist that changes nothing ends at the store.
// Every field is named here: a field added to objects.ts must be added too, or its changes are never seen.

import type {
  ClusterObjects,
  Endpoint,
  EndpointSlice,
  FleetCluster,
  ServiceImport,
  ServicePort,
} from '../../zones/objects.ts';
import { PackedSlice } from './packed-slice.ts';

function same<T>(a: readonly T[], b: readonly T[], equal: (a: T, b: T) => boolean): boolean {
  return a === b || (a.length === b.length && a.every((item, i) => equal(item, b[i]!)));
}

const sameText = (a: string, b: string): boolean => a === b;

export function samePolicy(a: Omit<FleetCluster, 'exporting'>, b: Omit<FleetCluster, 'exporting'>): boolean {
  const [ids, others] = [a.speaksFor, b.speaksFor];
  const sameIds = ids === undefined || others === undefined ? ids === others : same(ids, others, sameText);
  return (
    sameIds &&
    a.precedence === b.precedence &&
    a.endpointsFrom === b.endpointsFrom &&
    a.drained === b.drained &&
    a.withdrawn === b.withdrawn
  );
}

export function sameObjects(a: ClusterObjects, b: ClusterObjects): boolean {
  return (
    (a.serviceImport === undefined || b.serviceImport === undefined
      ? a.serviceImport === b.serviceImport
      : sameImport(a.serviceImport, b.serviceImport)) &&
    a.serviceExport?.valid === b.serviceExport?.valid &&
    same(a.slices, b.slices, sameSlice)
  );
}

export function sameImport(a: ServiceImport, b: ServiceImport): boolean {
  return (
    a.type === b.type &&
    a.createdSeconds === b.createdSeconds &&
    a.ipsFromSlices === b.ipsFromSlices &&
    same(a.ips, b.ips, sameText) &&
    same(a.ports, b.ports, samePort)
  );
}

export function sameSlice(a: EndpointSlice, b: EndpointSlice): boolean {
  return (
    a.name === b.name &&
    a.service === b.service &&
    a.form === b.form &&
    a.sourceCluster === b.sourceCluster &&
    a.addressType === b.addressType &&
    same(a.ports, b.ports, samePort) &&
    sameEndpoints(a, b)
  );
}

function sameEndpoints(a: EndpointSlice, b: EndpointSlice): boolean {
  if (a instanceof PackedSlice && b instanceof PackedSlice) return a.packed === b.packed;
  return same(a.endpoints, b.endpoints, sameEndpoint);
}

function samePort(a: ServicePort, b: ServicePort): boolean {
  return a.name === b.name && a.protocol === b.protocol && a.port === b.port;
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return (
    a.ready === b.ready && a.hostname === b.hostname && a.uid === b.uid && same(a.addresses, b.addresses, sameText)
  );
}
