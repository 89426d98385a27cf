// Whose endpoints count for a service, and what they are when joined: the EndpointSlices' half of a merge.
// "Who speaks for a cluster": one that holds ServiceExports for itself, else the mirrored slices that name it.
// Pure; endpoints are joined as sets and then sorted, so no order of clusters or slices shows in the result.
// Not here: type, ports and addresses of ClusterSetIP services (merge.ts). Source: KEP-1645 (EndpointSlice).
import { limits } from '../limits.ts';
import {
  type ClusterObjects,
  type Endpoint,
  type EndpointSlice,
  type FleetCluster,
  type FleetPolicy,
  type MergedEndpoint,
  type ServicePort,
} from './objects.ts';
import { type SliceLoss, type Witness } from './witness.ts';

/** Ports of one merged service or endpoint; what a compromised cluster can make a merge join stays bounded. */
export const maxPorts = limits.objects.mergedPorts;

/** A configured cluster and what it holds of the service. */
export interface Member {
  readonly policy: FleetCluster;
  readonly holds: ClusterObjects;
}

/** A slice that counts, and whose endpoints it holds. */
export interface CountedSlice {
  readonly cluster: string;
  readonly source: string;
  readonly slice: EndpointSlice;
}

/** What of a service is answered from slices: pods of a headless one, or Submariner's exported ClusterIPs. */
type Wanted = 'pods' | 'cluster-ips';

export function countSlices(
  members: readonly Member[],
  fleet: FleetPolicy,
  wanted: Wanted,
  witness: Witness | undefined,
): CountedSlice[] {
  const ownCopies = new Set<string>();
  for (const { holds } of members) {
    if (holds.slices.some((slice) => slice.form === 'mirrored' && slice.sourceCluster === holds.cluster)) {
      ownCopies.add(holds.cluster);
    }
  }
  const counted: CountedSlice[] = [];
  for (const { policy, holds } of members) {
    const { cluster } = holds;
    for (const slice of slicesInOrder(holds)) {
      const source = slice.form === 'native' ? cluster : slice.sourceCluster;
      let reason: SliceLoss | undefined;
      if (slice.form === 'native') reason = wanted === 'cluster-ips' ? 'pod-addresses' : whyNotNative(policy, holds);
      else if (source === cluster) reason = whyNotOwnCopy(policy);
      else reason = whyNotCopy(policy, source, fleet.clusters.get(source), ownCopies);
      if (reason === undefined && slice.addressType === 'FQDN') reason = 'fqdn';
      if (reason === undefined) counted.push({ cluster, source, slice });
      if (witness === undefined) continue;
      if (reason !== undefined) witness({ decision: 'slice-left-out', cluster, slice: slice.name, source, reason });
      else if (!fleet.clusters.has(source)) {
        witness({ decision: 'source-not-configured', cluster, slice: slice.name, source });
      }
    }
  }
  return counted;
}

/** A native slice stands for its own cluster, where the service is exported. */
function whyNotNative(policy: FleetCluster, holds: ClusterObjects): SliceLoss | undefined {
  if (policy.drained) return 'drained';
  if (policy.endpointsFrom === 'mirrored') return 'endpoints-from';
  if (holds.serviceExport === undefined) return 'not-exported';
  return holds.serviceExport.valid ? undefined : 'export-invalid';
}

/** A mirrored slice in the cluster it names is that cluster's own word. */
function whyNotOwnCopy(policy: FleetCluster): SliceLoss | undefined {
  if (policy.drained) return 'drained';
  return policy.endpointsFrom === 'native' ? 'endpoints-from' : undefined;
}

/**
 * A copy in another cluster than its source. With `endpointsFrom: mirrored` the operator says that the source cannot
 * speak by native slices, so it is judged as one that exports nothing.
 */
function whyNotCopy(
  holder: FleetCluster,
  source: string,
  sourcePolicy: FleetCluster | undefined,
  ownCopies: ReadonlySet<string>,
): SliceLoss | undefined {
  if (source === '') return 'source-missing';
  if (sourcePolicy === undefined) {
    return holder.speaksFor === undefined || holder.speaksFor.includes(source) ? undefined : 'speaks-for';
  }
  if (sourcePolicy.drained) return 'drained';
  if (sourcePolicy.endpointsFrom === 'native') return 'endpoints-from';
  if (sourcePolicy.endpointsFrom === 'auto' && sourcePolicy.exporting) return 'speaks-for-itself';
  return ownCopies.has(source) ? 'own-copy' : undefined;
}

export function leaveOutSlices(members: readonly Member[], reason: SliceLoss, witness: Witness): void {
  for (const { holds } of members) {
    for (const slice of slicesInOrder(holds)) {
      const source = slice.form === 'native' ? holds.cluster : slice.sourceCluster;
      witness({ decision: 'slice-left-out', cluster: holds.cluster, slice: slice.name, source, reason });
    }
  }
}

/** Only a witness sees this order. */
function slicesInOrder(holds: ClusterObjects): readonly EndpointSlice[] {
  return holds.slices.length < 2 ? holds.slices : [...holds.slices].sort((a, b) => compareText(a.name, b.name));
}

// Endpoints

/** An endpoint while it is joined: ports by union and the least `uid`, so that the order of joining is without effect. */
interface JoinedEndpoint {
  readonly host: string;
  readonly address: string;
  readonly family: 4 | 6;
  readonly hostname: string;
  ports: readonly ServicePort[];
  uid: string;
  /** What it is sorted by. */
  place: string;
}

/** The endpoints of one source cluster: (source cluster, host, address) is one endpoint. */
interface SourceEndpoints {
  readonly list: JoinedEndpoint[];
  /** By host and address; undefined where all come from one slice, and none stands in it twice. */
  readonly known: Map<string, JoinedEndpoint> | undefined;
}

export function joinEndpoints(
  counted: readonly CountedSlice[],
  wanted: Wanted,
  witness: Witness | undefined,
): MergedEndpoint[] {
  // As with `ips`, a service of ClusterIPs keeps its addresses when no cluster has a ready endpoint behind them.
  const notReadyToo = wanted === 'cluster-ips' && !counted.some(({ slice }) => slice.endpoints.some(isReady));
  const sources = new Map<string, SourceEndpoints>();
  const portSets = new PortSets();
  for (const from of counted) {
    let known = sources.get(from.source);
    if (known === undefined) {
      const isAlone = counted.every((other) => other === from || other.source !== from.source);
      const isDistinct = isAlone && from.slice.isDistinct === true;
      sources.set(
        from.source,
        (known = { list: [], known: isDistinct ? undefined : new Map<string, JoinedEndpoint>() }),
      );
    }
    const ports = wanted === 'pods' ? portSets.ofSlice(from, witness) : noPorts;
    for (const endpoint of from.slice.endpoints) {
      if (endpoint.ready || notReadyToo) joinEndpoint(known, from, endpoint, ports, portSets, witness);
      else if (witness) leaveOutNotReady(from, endpoint, witness);
    }
  }
  const endpoints = endpointsInOrder(sources);
  if (witness) findSharedAddresses(endpoints, witness);
  return endpoints;
}

function joinEndpoint(
  { list, known }: SourceEndpoints,
  { cluster, source, slice }: CountedSlice,
  { addresses, hostname, uid }: Endpoint,
  ports: readonly ServicePort[],
  portSets: PortSets,
  witness: Witness | undefined,
): void {
  const family = slice.addressType === 'IPv6' ? 6 : 4;
  for (const address of addresses) {
    const host = hostname === '' ? hostOf(address, family) : hostname;
    const at = witness && { cluster, slice: slice.name, source, host, address };
    if (address.includes(':') !== (family === 6)) {
      if (at) witness({ decision: 'endpoint-left-out', ...at, reason: 'family' });
      continue;
    }
    // The first host of an address stands under the address alone, which spares nearly all of them a joined key.
    let identity = address;
    let joined = known?.get(identity);
    if (joined !== undefined && joined.host !== host) {
      identity = host + ' ' + address;
      joined = known?.get(identity);
    }
    if (joined === undefined) {
      const endpoint: JoinedEndpoint = { host, address, family, hostname, ports, uid, place: '' };
      list.push(endpoint);
      known?.set(identity, endpoint);
      if (at) witness({ decision: 'endpoint-taken', ...at });
      continue;
    }
    if (joined.ports !== ports) joined.ports = portSets.union(joined.ports, ports);
    if (joined.uid === '' || (uid !== '' && uid < joined.uid)) joined.uid = uid;
    if (at) witness({ decision: 'endpoint-left-out', ...at, reason: 'duplicate' });
  }
}

function leaveOutNotReady({ cluster, source, slice }: CountedSlice, endpoint: Endpoint, witness: Witness): void {
  for (const address of endpoint.addresses) {
    const family = slice.addressType === 'IPv6' ? 6 : 4;
    const host = endpoint.hostname === '' ? hostOf(address, family) : endpoint.hostname;
    const at = { cluster, slice: slice.name, source, host, address };
    witness({ decision: 'endpoint-left-out', ...at, reason: 'not-ready' });
  }
}

function isReady(endpoint: Endpoint): boolean {
  return endpoint.ready;
}

/** The host label of an endpoint without a hostname; `0` keeps it from ending in `-`. */
function hostOf(address: string, family: 4 | 6): string {
  if (family === 4) return address.replaceAll('.', '-');
  const host = address.replace(/[.:]/g, '-');
  return host.endsWith('-') ? host + '0' : host;
}

function endpointsInOrder(sources: ReadonlyMap<string, SourceEndpoints>): MergedEndpoint[] {
  const endpoints: MergedEndpoint[] = [];
  for (const [cluster, { list: joined }] of [...sources].sort((a, b) => compareText(a[0], b[0]))) {
    for (const endpoint of joined) endpoint.place = endpoint.uid || endpoint.hostname || endpoint.address;
    joined.sort(
      (a, b) => compareText(a.place, b.place) || compareText(a.address, b.address) || compareText(a.host, b.host),
    );
    for (const { host, address, family, ports, place } of joined) {
      endpoints.push({ cluster, host, address, family, pod: place, ports });
    }
  }
  return endpoints;
}

/** One address of two clusters is a routing mistake: their pod networks overlap. */
function findSharedAddresses(endpoints: readonly MergedEndpoint[], witness: Witness): void {
  const firstOf = new Map<string, string>();
  const lastOf = new Map<string, string>();
  for (const { cluster, address } of endpoints) {
    const first = firstOf.get(address);
    if (first === undefined) firstOf.set(address, cluster);
    else if (first !== cluster && lastOf.get(address) !== cluster) {
      witness({ decision: 'address-shared', address, sources: [first, cluster] });
      lastOf.set(address, cluster);
    }
  }
}

const noPorts: readonly ServicePort[] = [];

/** Sets of named ports in one order; equal sets of slices are one array, since slices of a service hardly ever differ. */
class PortSets {
  readonly #bySlice = new Map<string, readonly ServicePort[]>();
  readonly #unions = new Map<readonly ServicePort[], Map<readonly ServicePort[], readonly ServicePort[]>>();

  ofSlice({ cluster, slice }: CountedSlice, witness: Witness | undefined): readonly ServicePort[] {
    const named = slice.ports.filter((port) => port.name !== '').sort(comparePorts);
    const distinct = named.filter((port, i) => i === 0 || comparePorts(named[i - 1]!, port) !== 0);
    const unnamed = slice.ports.length - named.length;
    const overLimit = distinct.length - maxPorts;
    if (unnamed > 0) witness?.({ decision: 'ports-unnamed', cluster, slice: slice.name, count: unnamed });
    if (overLimit > 0) witness?.({ decision: 'ports-over-limit', cluster, slice: slice.name, count: overLimit });
    if (overLimit > 0) distinct.length = maxPorts;
    const text = distinct.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`).join();
    const same = this.#bySlice.get(text);
    if (same === undefined) this.#bySlice.set(text, distinct);
    return same ?? distinct;
  }

  /** Remembered for each pair, since two slices that share one endpoint mostly share all. */
  union(a: readonly ServicePort[], b: readonly ServicePort[]): readonly ServicePort[] {
    let unionsOfA = this.#unions.get(a);
    if (unionsOfA === undefined)
      this.#unions.set(a, (unionsOfA = new Map<readonly ServicePort[], readonly ServicePort[]>()));
    let union = unionsOfA.get(b);
    if (union === undefined) unionsOfA.set(b, (union = unionOf(a, b)));
    return union;
  }
}

/** The first `maxPorts` of both: cut so, a union is the same in whatever order it is made. */
function unionOf(a: readonly ServicePort[], b: readonly ServicePort[]): readonly ServicePort[] {
  const union: ServicePort[] = [];
  for (let i = 0, j = 0; (i < a.length || j < b.length) && union.length < maxPorts;) {
    const left = a[i];
    const right = b[j];
    const order = left === undefined ? 1 : right === undefined ? -1 : comparePorts(left, right);
    union.push(order <= 0 ? left! : right!);
    if (order <= 0) i++;
    if (order >= 0) j++;
  }
  return union;
}

function comparePorts(a: ServicePort, b: ServicePort): number {
  return compareText(a.name, b.name) || compareText(a.protocol, b.protocol) || a.port - b.port;
}

/** By code unit, so that replicas agree whatever their locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
