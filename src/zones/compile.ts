// From a merged service to its entries in the zone image: which names it has, and which sets stand at each.
// Order of publication: endpoints, then what points at them, so that an SRV target resolves from the moment it is seen.
// Sources: KEP-1645 specification 2.3 and 2.4 (records), RFC 2782 (SRV owner names), RFC 8020 (empty non-terminals).

import { ede, type } from '../dns/iana.ts';
import type { Draft } from './draft.ts';
import type { ImageWriter } from './image-writer.ts';
import type { MergedEndpoint, MergedService, ServicePort } from './objects.ts';
import { serviceSet, targetSet } from './srv.ts';
import type { SrvRun } from './srv.ts';
import { concatWire, labelsToWire } from './wire.ts';

/** The zone that services are compiled into. */
export interface ZoneContext {
  /** Its number in the zone table. */
  readonly number: number;
  /** Absolute apex in wire form. */
  readonly apex: Uint8Array;
  readonly ttlSeconds: number;
}

/** One owner name of a headless service: every ready endpoint of one cluster with one hostname. */
interface Host {
  readonly cluster: string;
  readonly label: string;
  readonly v4: string[];
  readonly v6: string[];
  /** Of its endpoints; the array of the first one until a second brings others. */
  ports: readonly ServicePort[];
  /** Its entry, 0 where its name would be too long. */
  reference: number;
  nameOctets: number;
}

type HostsOfCluster = Map<string, Host>;

/** Compiles services into one image; it keeps nothing between two calls but scratch. */
export class ServiceCompiler {
  private readonly writer: ImageWriter;
  private readonly draft: Draft;
  private readonly zone: ZoneContext;
  private references: number[] = [];
  private suffix: Uint8Array = new Uint8Array(0);

  constructor(writer: ImageWriter, draft: Draft, zone: ZoneContext) {
    this.writer = writer;
    this.draft = draft;
    this.zone = zone;
  }

  /** Publishes every name of the service and returns the references of their entries; none for a service without records. */
  compile(service: MergedService): number[] {
    this.references = [];
    this.suffix = concatWire(labelsToWire(`${service.name}.${service.namespace}.svc`), this.zone.apex);
    const clusters = this.writer.clusterSet(service.clusters);
    if (service.type === 'Headless') this.headless(service, clusters);
    else this.clusterSetIP(service, clusters);
    return this.references;
  }

  /** What the last call published, also where it ended with an error. */
  get published(): readonly number[] {
    return this.references;
  }

  private clusterSetIP(service: MergedService, clusters: number): void {
    const { draft, suffix } = this;
    const v4 = service.addresses.filter((address) => !address.includes(':'));
    const v6 = service.addresses.filter((address) => address.includes(':'));
    const conflict = service.addressConflict;
    const additional = conflict === '' ? { v4, v6 } : { v4: [], v6: [] };
    draft.begin(this.zone.number, clusters);
    draft.wire(suffix);
    if (!draft.endName()) return;
    if (conflict === '') addressSets(draft, v4, v6);
    else for (const family of [type.A, type.AAAA]) draft.failureSet(family, ede.OTHER, conflict);
    const numbers = unique(service.ports.map((port) => port.port));
    if (numbers.length > 0) targetSet(draft, numbers, suffix, 0, additional, this.zone.ttlSeconds);
    this.put();
    for (const [name, ports] of byOwner(service.ports)) {
      if (!this.beginPort(name, clusters)) continue;
      const skip = draft.nameOctets - suffix.length;
      targetSet(draft, unique(ports.map((port) => port.port)), suffix, skip, additional, this.zone.ttlSeconds);
      this.put();
    }
    this.protocols(service.ports, clusters);
  }

  private headless(service: MergedService, clusters: number): void {
    if (service.endpoints.length === 0) return;
    const hosts = hostsOf(service.endpoints);
    for (const [cluster, ofCluster] of hosts) this.endpoints(cluster, ofCluster, hosts);
    const runs = runsOf(hosts);
    const { draft, suffix } = this;
    draft.begin(this.zone.number, clusters);
    draft.wire(suffix);
    if (!draft.endName()) return;
    const v4 = unique(
      service.endpoints.filter((endpoint) => endpoint.family === 4).map((endpoint) => endpoint.address),
    );
    const v6 = unique(
      service.endpoints.filter((endpoint) => endpoint.family === 6).map((endpoint) => endpoint.address),
    );
    addressSets(draft, v4, v6);
    const { ttlSeconds } = this.zone;
    serviceSet(
      draft,
      this.srvRuns(runs, () => true),
      ttlSeconds,
    );
    this.put();
    const ports = runs.flatMap((run) => run.ports);
    for (const [name, [port]] of byOwner(ports)) {
      if (!this.beginPort(name, clusters)) continue;
      serviceSet(
        draft,
        this.srvRuns(runs, (other) => ownerOf(other) === ownerOf(port!)),
        ttlSeconds,
      );
      this.put();
    }
    this.protocols(ports, clusters);
  }

  /** The entries of one cluster's endpoints, and the empty non-terminals between them and the service. */
  private endpoints(cluster: string, hosts: HostsOfCluster, all: ReadonlyMap<string, HostsOfCluster>): void {
    const { draft, writer } = this;
    const clusters = writer.clusterSet([cluster]);
    const tail = concatWire(labelsToWire(cluster), this.suffix);
    for (const host of hosts.values()) {
      draft.begin(this.zone.number, clusters);
      draft.label(host.label);
      draft.wire(tail);
      if (!draft.endName()) continue;
      addressSets(draft, host.v4, host.v6);
      host.reference = writer.put(draft);
      host.nameOctets = draft.nameOctets;
      this.references.push(host.reference);
    }
    for (let id = cluster; id !== ''; id = id.slice(id.indexOf('.') + 1)) {
      const dot = id.indexOf('.');
      // `b.c` may be the host `b` of a cluster `c`: then it has records and is no empty non-terminal.
      const isHost = dot >= 0 && all.get(id.slice(dot + 1))?.has(id.slice(0, dot)) === true;
      if (!isHost) this.emptyNonTerminal(concatWire(labelsToWire(id), this.suffix), clusters);
      if (dot < 0) return;
    }
  }

  /** The SRV runs of the ports that `wanted` takes: endpoints with the same port numbers together. */
  private srvRuns(runs: readonly PortRun[], wanted: (port: ServicePort) => boolean): SrvRun[] {
    const taken: SrvRun[] = [];
    for (const run of runs) {
      const numbers = unique(run.ports.filter(wanted).map((port) => port.port));
      const targets = run.hosts.filter((host) => host.reference !== 0);
      if (numbers.length > 0 && targets.length > 0) taken.push({ numbers, targets, names: this.writer.arena.views });
    }
    return taken;
  }

  /** Begins the entry `_name._protocol.<service>`. */
  private beginPort(owner: string, clusters: number): boolean {
    this.draft.begin(this.zone.number, clusters);
    this.draft.wire(labelsToWire(owner));
    this.draft.wire(this.suffix);
    return this.draft.endName();
  }

  /** `_tcp.<service>` and the like. */
  private protocols(ports: readonly ServicePort[], clusters: number): void {
    for (const protocol of unique(ports.map((port) => port.protocol))) {
      this.emptyNonTerminal(concatWire(labelsToWire('_' + protocol), this.suffix), clusters);
    }
  }

  private emptyNonTerminal(name: Uint8Array, clusters: number): void {
    this.draft.begin(this.zone.number, clusters);
    this.draft.wire(name);
    if (this.draft.endName()) this.put();
  }

  private put(): void {
    this.references.push(this.writer.put(this.draft));
  }
}

/** Hosts with one set of ports, which are sorted. */
interface PortRun {
  readonly ports: readonly ServicePort[];
  readonly hosts: Host[];
}

function addressSets(draft: Draft, v4: readonly string[], v6: readonly string[]): void {
  const dual = v4.length > 0 && v6.length > 0;
  if (v4.length > 0) draft.addressSet(v4, 4, dual);
  if (v6.length > 0) draft.addressSet(v6, 6, dual);
}

/** The hosts of every cluster, in the order of the endpoints. */
function hostsOf(endpoints: readonly MergedEndpoint[]): Map<string, HostsOfCluster> {
  const hosts = new Map<string, HostsOfCluster>();
  const joined: JoinedPorts = new Map();
  for (const endpoint of endpoints) {
    let ofCluster = hosts.get(endpoint.cluster);
    if (ofCluster === undefined) hosts.set(endpoint.cluster, (ofCluster = new Map<string, Host>()));
    const host = ofCluster.get(endpoint.host);
    if (host === undefined) ofCluster.set(endpoint.host, newHost(endpoint));
    else {
      (endpoint.family === 4 ? host.v4 : host.v6).push(endpoint.address);
      if (host.ports !== endpoint.ports) host.ports = join(joined, host.ports, endpoint.ports);
    }
  }
  return hosts;
}

/** Two lists of ports, and the list of both. */
type JoinedPorts = Map<readonly ServicePort[], Map<readonly ServicePort[], readonly ServicePort[]>>;

/** Both lists of ports; one array for the same two, so that the hosts of two slices share theirs as well. */
function join(
  joined: JoinedPorts,
  first: readonly ServicePort[],
  second: readonly ServicePort[],
): readonly ServicePort[] {
  let ofFirst = joined.get(first);
  if (ofFirst === undefined) joined.set(first, (ofFirst = new Map<readonly ServicePort[], readonly ServicePort[]>()));
  let both = ofFirst.get(second);
  if (both === undefined) ofFirst.set(second, (both = [...first, ...second]));
  return both;
}

function newHost(endpoint: MergedEndpoint): Host {
  const { cluster, host, address, family, ports } = endpoint;
  const isV4 = family === 4;
  return {
    cluster,
    label: host,
    v4: isV4 ? [address] : [],
    v6: isV4 ? [] : [address],
    ports,
    reference: 0,
    nameOctets: 0,
  };
}

/** Hosts by their ports; slices share arrays, so the ports of most hosts are looked at once. */
function runsOf(hosts: ReadonlyMap<string, HostsOfCluster>): PortRun[] {
  const byArray = new Map<readonly ServicePort[], PortRun>();
  const byPorts = new Map<string, PortRun>();
  for (const ofCluster of hosts.values()) {
    for (const host of ofCluster.values()) {
      let run = byArray.get(host.ports);
      if (run === undefined) {
        const ports = [...new Map(host.ports.map((port) => [`${ownerOf(port)}/${String(port.port)}`, port])).entries()];
        ports.sort(([a], [b]) => (a < b ? -1 : 1));
        const key = ports.map(([name]) => name).join(' ');
        run = byPorts.get(key);
        if (run === undefined) byPorts.set(key, (run = { ports: ports.map(([, port]) => port), hosts: [] }));
        byArray.set(host.ports, run);
      }
      run.hosts.push(host);
    }
  }
  return [...byPorts.values()];
}

/** SRV owner labels of a port: `_http._tcp`. */
function ownerOf(port: ServicePort): string {
  return `_${port.name}._${port.protocol}`;
}

function byOwner(ports: readonly ServicePort[]): Map<string, ServicePort[]> {
  const owners = new Map<string, ServicePort[]>();
  for (const port of ports) {
    const owner = ownerOf(port);
    const there = owners.get(owner);
    if (there === undefined) owners.set(owner, [port]);
    else there.push(port);
  }
  return owners;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
