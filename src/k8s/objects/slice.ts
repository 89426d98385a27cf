// Trimming an EndpointSlice: whose endpoints they are, and which of them are good.
// discovery.k8s.io/v1; the labels of KEP-1645 for mirrored slices, and the marks of dispatchers that do without them.

import { limits } from '../../limits.ts';
import type { Endpoint, EndpointSlice } from '../../zones/objects.ts';
import { readAddress } from './address.ts';
import { isDnsName, isLabel, isRecord, NO_RECORD, readList, readPorts, shown } from './fields.ts';
import type { RawObject, Refusals } from './fields.ts';
import { packEndpoints } from './packed-endpoints.ts';
import { PackedSlice } from './packed-slice.ts';

const MIRROR_SERVICE = 'multicluster.kubernetes.io/service-name';
const MIRROR_SOURCE = 'multicluster.kubernetes.io/source-cluster';
const NATIVE_SERVICE = 'kubernetes.io/service-name';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
/** Who copies slices between clusters under the native label, and the annotation with the source. */
const DISPATCHERS: ReadonlyMap<string, string> = new Map([
  ['endpointslice-dispatch-controller.karmada.io', 'endpointslice.karmada.io/provision-cluster'],
]);
const MAX_UID_CHARACTERS = 128;

/** The slice, or nothing where it belongs to no service or is refused whole. */
export function readSlice(
  raw: RawObject,
  metadata: RawObject,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  refusals: Refusals,
): EndpointSlice | undefined {
  const labels = isRecord(metadata['labels']) ? metadata['labels'] : NO_RECORD;
  const label = labels[MIRROR_SERVICE] !== undefined ? MIRROR_SERVICE : NATIVE_SERVICE;
  const service = labels[label];
  if (service === undefined) return undefined;
  if (typeof service !== 'string' || !isLabel(service)) {
    refusals.add(['metadata', 'labels', label], `${shown(service)} is not a DNS label`);
    return undefined;
  }
  const managedBy = labels[MANAGED_BY];
  const sourceAnnotation =
    label === NATIVE_SERVICE && typeof managedBy === 'string' ? DISPATCHERS.get(managedBy) : undefined;
  const isMirror = label === MIRROR_SERVICE || sourceAnnotation !== undefined;
  const { addressType } = raw;
  if (addressType !== 'IPv4' && addressType !== 'IPv6' && addressType !== 'FQDN') {
    refusals.add(['addressType'], `${shown(addressType)} is not IPv4, IPv6 or FQDN`);
    return undefined;
  }
  return new PackedSlice({
    namespace,
    name,
    service,
    form: isMirror ? 'mirrored' : 'native',
    sourceCluster: isMirror ? readSource(metadata, sourceAnnotation, refusals) : '',
    addressType,
    ports: readPorts(raw['ports'], ['ports'], true, refusals),
    packed: packEndpoints(readEndpoints(raw['endpoints'], addressType, refusals)),
  });
}

function readSource(metadata: RawObject, annotation: string | undefined, refusals: Refusals): string {
  const holder = annotation === undefined ? 'labels' : 'annotations';
  const key = annotation ?? MIRROR_SOURCE;
  const values = metadata[holder];
  const source = isRecord(values) ? values[key] : undefined;
  if (typeof source === 'string' && isDnsName(source.toLowerCase())) return source.toLowerCase();
  refusals.add(['metadata', holder, key], `${shown(source)} is not a cluster id: the slice gives nothing`);
  return '';
}

function readEndpoints(
  value: unknown,
  addressType: EndpointSlice['addressType'],
  refusals: Refusals,
): readonly Endpoint[] {
  if (addressType === 'FQDN') {
    refusals.add(['addressType'], 'an FQDN slice gives no address');
    return [];
  }
  const endpoints: Endpoint[] = [];
  const items = readList(value, ['endpoints'], limits.objects.endpoints, refusals);
  const family = addressType === 'IPv4' ? 4 : 6;
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (!isRecord(item)) {
      refusals.add(['endpoints', i], `${shown(item)} is not an endpoint`);
      continue;
    }
    const addresses = readAddresses(item['addresses'], i, family, refusals);
    if (addresses.length === 0) continue;
    endpoints.push({
      addresses,
      hostname: readHostname(item['hostname'], i, refusals),
      ready: isReady(item['conditions'], i, refusals),
      uid: readUid(item['targetRef']),
    });
  }
  return endpoints;
}

function readAddresses(value: unknown, endpoint: number, family: 4 | 6, refusals: Refusals): readonly string[] {
  const path = ['endpoints', endpoint, 'addresses'];
  const items = readList(value, path, limits.objects.addresses, refusals);
  if (items.length === 0) refusals.add(path, 'no address');
  const addresses: string[] = [];
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    const address = typeof item === 'string' ? readAddress(item, family) : undefined;
    if (typeof address === 'string') addresses.push(address);
    else refusals.add([...path, i], `${shown(item)} ${address?.refused ?? 'is not an IP address'}`);
  }
  return addresses;
}

function readHostname(value: unknown, endpoint: number, refusals: Refusals): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string' && isLabel(value)) return value;
  refusals.add(['endpoints', endpoint, 'hostname'], `${shown(value)} is not a DNS label in lower case`);
  return '';
}

/** `ready` is true, or absent: discovery.k8s.io says to take an unknown state as ready. A value of another type is not. */
function isReady(conditions: unknown, endpoint: number, refusals: Refusals): boolean {
  if (conditions === undefined || conditions === null) return true;
  if (!isRecord(conditions)) {
    refusals.add(['endpoints', endpoint, 'conditions'], `${shown(conditions)} is not an object: not ready`);
    return false;
  }
  const { ready } = conditions;
  if (ready === undefined || ready === null || ready === true) return true;
  if (ready !== false)
    refusals.add(['endpoints', endpoint, 'conditions', 'ready'], `${shown(ready)} is not true or false: not ready`);
  return false;
}

function readUid(targetRef: unknown): string {
  const uid = isRecord(targetRef) ? targetRef['uid'] : undefined;
  return typeof uid === 'string' && uid.length <= MAX_UID_CHARACTERS ? uid : '';
}
