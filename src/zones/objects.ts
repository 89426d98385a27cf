// The Kubernetes objects a service is made of, trimmed to what answers need, and what a merge makes of them.
// Not here: how they are read (k8s/), how they become octets (compile.ts).
// Sources: KEP-1645 (ServiceImport, ServiceExport), discovery.k8s.io/v1 EndpointSlice.

/** A transport protocol as it stands in an SRV owner name, without the underscore. */
export type Protocol = 'tcp' | 'udp' | 'sctp';

/** A port of a ServiceImport or EndpointSlice. `name` is lower case, '' when unnamed; `port` is 1 to 65535. */
export interface ServicePort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

export type ServiceType = 'ClusterSetIP' | 'Headless';

/** multicluster.x-k8s.io ServiceImport. Addresses are canonical text (RFC 5952 for IPv6), in the object's order. */
export interface ServiceImport {
  readonly namespace: string;
  readonly name: string;
  readonly type: ServiceType;
  readonly ips: readonly string[];
  readonly ports: readonly ServicePort[];
  /** metadata.creationTimestamp in seconds since 1970; Infinity when absent, which makes it the newest. */
  readonly createdSeconds: number;
  /** Submariner: `lighthouse.submariner.io/is-headless: "false"`; empty `ips` are filled from the slices' addresses. */
  readonly ipsFromSlices: boolean;
}

/** multicluster.x-k8s.io ServiceExport; `valid` is false only where a condition says `Valid: "False"`. */
export interface ServiceExport {
  readonly namespace: string;
  readonly name: string;
  readonly valid: boolean;
}

/** One endpoint of a slice. `hostname` is lower case, '' when absent; `uid` is targetRef.uid, '' when absent. */
export interface Endpoint {
  readonly addresses: readonly string[];
  readonly hostname: string;
  readonly ready: boolean;
  readonly uid: string;
}

/**
 * discovery.k8s.io EndpointSlice.
 * `sourceCluster`: of a mirrored slice its cluster id in lower case ('' when the label is missing or no DNS name: the
 * slice gives nothing, and a merge says so); of a native slice always ''.
 */
export interface EndpointSlice {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  readonly form: 'mirrored' | 'native';
  readonly sourceCluster: string;
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly ports: readonly ServicePort[];
  readonly endpoints: readonly Endpoint[];
  /** True where it is known that no address stands in it twice; spares a merge the look. */
  readonly isDistinct?: boolean;
}

/** What is settled about one configured cluster of the fleet, whatever the service. */
export interface FleetCluster {
  readonly id: string;
  /** Lower goes first; clusters without a configured precedence have Infinity. */
  readonly precedence: number;
  readonly endpointsFrom: 'auto' | 'native' | 'mirrored';
  /** Ids of clusters that are not configured, whose copies here count; undefined: all of them. */
  readonly speaksFor: readonly string[] | undefined;
  /** Its endpoints are left out; its imports stay. */
  readonly drained: boolean;
  /** It is out of touch for longer than its names are held: `others`: where another cluster answers them; `always`. */
  readonly withdrawn?: 'others' | 'always' | undefined;
  /** Its objects decide nothing here: set in the fleet that a withdrawal leaves (loss.ts). */
  readonly isOut?: boolean | undefined;
  /** It holds a ServiceExport of any name, so it speaks for itself (answers to "who speaks for a cluster"). */
  readonly exporting: boolean;
}

export interface FleetPolicy {
  /** Every configured cluster by id. */
  readonly clusters: ReadonlyMap<string, FleetCluster>;
  readonly addressConflict: 'servfail' | 'precedence';
  /** Where clusters are withdrawn: the fleet without all of them, and without those that are withdrawn always. */
  readonly loss?: { readonly all: FleetPolicy; readonly always: FleetPolicy } | undefined;
}

/** What one cluster holds of one service. */
export interface ClusterObjects {
  readonly cluster: string;
  readonly serviceImport: ServiceImport | undefined;
  readonly serviceExport: ServiceExport | undefined;
  readonly slices: readonly EndpointSlice[];
}

/** All objects of one namespace and name over the fleet: the input of a merge. Clusters are in the order of their ids. */
export interface ServiceObjects {
  readonly namespace: string;
  readonly name: string;
  readonly clusters: readonly ClusterObjects[];
}

/** One ready endpoint of a headless service: (source cluster, host, address) is unique in a merged service. */
export interface MergedEndpoint {
  readonly cluster: string;
  /** Host label: hostname, or derived from the address. Lower case. */
  readonly host: string;
  readonly address: string;
  readonly family: 4 | 6;
  /** What the addresses of one pod have in common, within its cluster: uid, hostname or address. Absent: the host. */
  readonly pod?: string;
  /** Named ports only, without repeats; the same array is shared by the endpoints of a slice. */
  readonly ports: readonly ServicePort[];
}

/**
 * A service as the fleet view answers it.
 * Invariants: `endpoints` is empty unless Headless; `addresses` is empty unless ClusterSetIP; `ports` has named ports
 * only and is empty for Headless (its ports are the endpoints'); nothing repeats.
 */
export interface MergedService {
  readonly namespace: string;
  readonly name: string;
  readonly type: ServiceType;
  /** Ids of the clusters whose objects made this answer, sorted; staleness is looked up by this set. */
  readonly clusters: readonly string[];
  readonly addresses: readonly string[];
  readonly ports: readonly ServicePort[];
  /** '' or the text of the Extended DNS Error for A and AAAA, which then get SERVFAIL. */
  readonly addressConflict: string;
  /** In the order (cluster, uid or hostname or address, address): A and AAAA of one pod keep one place. */
  readonly endpoints: readonly MergedEndpoint[];
}

/** `namespace/name` of a service, the key of everything that is kept by service. */
export type ServiceKey = string;

export function serviceKey(namespace: string, name: string): ServiceKey {
  return namespace + '/' + name;
}
