// From a merged service to its entries in the zone image: which names it has, and which sets stand at each.
// Order of publication: endpoints, then what points at them, so that an SRV target resolves from the moment it is seen.
// Sources: KEP-1645 specification 2.3 and 2.4 (records), RFC 2782 (SRV owner names), RFC 8020 (empty non-terminals).

import { MAX_NAME_OCTETS, ede, type } from '../dns/iana.ts';
import { setKind } from '../dns/image.ts';
import type { Draft } from './draft.ts';
import type { ImageWriter } from './image-writer.ts';
import { HostTable } from './hosts.ts';
import type { MergedService, ServicePort } from './objects.ts';
import { serviceSet, targetSet } from './srv.ts';
import type { SrvRun } from './srv.ts';
import { needsWindow, windowedSets } from './window.ts';
import { concatWire, labelsToWire } from './wire.ts';

/** The zone that services are compiled into. */
export interface ZoneContext {
  /** Its number in the zone table. */
  readonly number: number;
  /** Absolute apex in wire form. */
  readonly apex: Uint8Array;
  readonly ttlSeconds: number;
}

/** Compiles services into one image; it keeps nothing between two calls but scratch. */
export class ServiceCompiler {
  private readonly writer: ImageWriter;
  private readonly draft: Draft;
  private readonly zone: ZoneContext;
  private readonly hosts = new HostTable();
  private references: number[] = [];
  private suffix: Uint8Array = new Uint8Array(0);

  constructor(writer: ImageWriter, draft: Draft, zone: ZoneContext) {
    this.writer = writer;
    this.draft = draft;
    this.zone = zone;
  }

  /**
   * Puts every name of the service, endpoints first, and returns the references of their entries in that order; none for
   * a service without records. The caller publishes.
   */
  compile(service: MergedService): number[] {
    this.references = [];
    this.suffix = concatWire(labelsToWire(`${service.name}.${service.namespace}.svc`), this.zone.apex);
    const clusters = this.writer.clusterSet(service.clusters);
    if (service.type === 'Headless') this.headless(service, clusters);
    else this.clusterSetIP(service, clusters);
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
    const owners = this.portOwners(service.ports, clusters);
    for (const [name, ports] of owners) {
      this.beginPort(name, clusters);
      const skip = draft.nameOctets - suffix.length;
      targetSet(draft, unique(ports.map((port) => port.port)), suffix, skip, additional, this.zone.ttlSeconds);
      this.put();
    }
  }

  private headless(service: MergedService, clusters: number): void {
    if (service.endpoints.length === 0) return;
    const { draft, hosts, suffix } = this;
    hosts.fill(service.endpoints);
    this.endpoints(clusters);
    const runs = runsOf(hosts);
    draft.begin(this.zone.number, clusters);
    draft.wire(suffix);
    if (!draft.endName()) return;
    this.serviceAddresses();
    const { ttlSeconds } = this.zone;
    serviceSet(
      draft,
      hosts,
      srvRuns(runs, () => true),
      this.writer.arena.views,
      ttlSeconds,
    );
    this.put();
    for (const owner of this.portOwners(
      runs.flatMap((run) => run.ports),
      clusters,
    ).keys()) {
      this.beginPort(owner, clusters);
      const ofOwner = srvRuns(runs, (port) => ownerOf(port) === owner);
      serviceSet(draft, hosts, ofOwner, this.writer.arena.views, ttlSeconds);
      this.put();
    }
  }

  /** A and AAAA of all endpoints, no address twice: two clusters can share one. */
  private serviceAddresses(): void {
    const { draft, hosts } = this;
    const { v4, v6 } = hosts.families(0, hosts.endpoints.length);
    if (v4 > 0 && v6 > 0 && needsWindow(v4, v6)) {
      windowedSets(draft, hosts.endpoints);
      return;
    }
    if (v4 > 0) {
      draft.beginSet(type.A, setKind.ADDRESSES);
      hosts.eachIpv4((address) => {
        draft.ipv4(address);
      });
      draft.endSet();
    }
    if (v6 === 0) return;
    draft.addressSet(unique(hosts.endpoints.filter(({ family }) => family === 6).map(({ address }) => address)), 6);
  }

  /** The entries of the endpoints, cluster by cluster, and the empty non-terminals between them and the service. */
  private endpoints(ofService: number): void {
    const { draft, hosts, writer } = this;
    let cluster = '';
    let clusters = 0;
    let tail = this.suffix;
    const above = new Set<string>();
    for (let host = 0; host < hosts.count; host++) {
      if (hosts.cluster(host) !== cluster) {
        cluster = hosts.cluster(host);
        clusters = writer.clusterSet([cluster]);
        tail = concatWire(labelsToWire(cluster), this.suffix);
        if (this.hasName(host, tail.length)) this.clusterNames(cluster, above, ofService);
      }
      hosts.reference[host] = 0;
      draft.begin(this.zone.number, clusters);
      draft.label(hosts.label(host));
      draft.wire(tail);
      if (!draft.endName()) continue;
      this.hostAddresses(hosts.first[host]!, hosts.first[host + 1]!);
      hosts.nameOctets[host] = draft.nameOctets;
      const reference = writer.put(draft);
      hosts.reference[host] = reference;
      this.references.push(reference);
    }
  }

  /** The sets of one host, whose endpoints are [from, end). */
  private hostAddresses(from: number, end: number): void {
    const { draft, hosts } = this;
    const { v4, v6 } = hosts.families(from, end);
    for (const family of [4, 6] as const) {
      if ((family === 4 ? v4 : v6) === 0) continue;
      draft.beginSet(family === 4 ? type.A : type.AAAA, setKind.ADDRESSES);
      for (let i = from; i < end; i++) {
        const endpoint = hosts.endpoints[i]!;
        if (endpoint.family !== family) continue;
        if (family === 4) draft.ipv4(hosts.ipv4[i]!);
        else draft.address(endpoint.address, 6);
      }
      draft.endSet();
    }
  }

  /** Whether any host of the cluster that begins at `host` has a name of at most 255 octets before a tail of so many. */
  private hasName(host: number, tailOctets: number): boolean {
    const { hosts } = this;
    const cluster = hosts.cluster(host);
    for (let h = host; h < hosts.count && hosts.cluster(h) === cluster; h++) {
      if (1 + hosts.label(h).length + tailOctets <= MAX_NAME_OCTETS) return true;
    }
    return false;
  }

  /** The empty non-terminals of a cluster id, one a label, but for those in `above`: ids share their last labels. */
  private clusterNames(cluster: string, above: Set<string>, clusters: number): void {
    for (let id = cluster; !above.has(id); id = id.slice(id.indexOf('.') + 1)) {
      above.add(id);
      if (!this.isHost(id)) this.emptyNonTerminal(concatWire(labelsToWire(id), this.suffix), clusters);
      if (!id.includes('.')) return;
    }
  }

  /** Whether `b.c` is the host `b` of a cluster `c`: then it has records and is no empty non-terminal. */
  private isHost(id: string): boolean {
    const dot = id.indexOf('.');
    if (dot < 0) return false;
    const label = id.slice(0, dot);
    const cluster = id.slice(dot + 1);
    return this.hosts.endpoints.some((endpoint) => endpoint.host === label && endpoint.cluster === cluster);
  }

  /** Ports by `_name._protocol` where that name is not too long, and the empty non-terminals above those. */
  private portOwners(ports: readonly ServicePort[], clusters: number): Map<string, ServicePort[]> {
    const owners = byOwner(ports);
    for (const owner of owners.keys()) if (!this.beginPort(owner, clusters)) owners.delete(owner);
    for (const protocol of unique([...owners.values()].flat().map((port) => port.protocol))) {
      this.emptyNonTerminal(concatWire(labelsToWire('_' + protocol), this.suffix), clusters);
    }
    return owners;
  }

  /** Begins the entry `_name._protocol.<service>`. */
  private beginPort(owner: string, clusters: number): boolean {
    this.draft.begin(this.zone.number, clusters);
    this.draft.wire(labelsToWire(owner));
    this.draft.wire(this.suffix);
    return this.draft.endName();
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
  /** Hosts that have a name. */
  readonly hosts: number[];
}

function addressSets(draft: Draft, v4: readonly string[], v6: readonly string[]): void {
  if (v4.length > 0) draft.addressSet(v4, 4);
  if (v6.length > 0) draft.addressSet(v6, 6);
}

/** Hosts by their ports; slices share arrays, so the ports of most hosts are looked at once. */
function runsOf(hosts: HostTable): PortRun[] {
  const byArray = new Map<readonly ServicePort[], PortRun>();
  const byPorts = new Map<string, PortRun>();
  for (let host = 0; host < hosts.count; host++) {
    if (hosts.reference[host] === 0) continue;
    const ofHost = hosts.ports[host]!;
    let run = byArray.get(ofHost);
    if (run === undefined) {
      const ports = [...new Map(ofHost.map((port) => [`${ownerOf(port)}/${String(port.port)}`, port])).entries()];
      ports.sort(([a], [b]) => (a < b ? -1 : 1));
      const key = ports.map(([name]) => name).join(' ');
      run = byPorts.get(key);
      if (run === undefined) byPorts.set(key, (run = { ports: ports.map(([, port]) => port), hosts: [] }));
      byArray.set(ofHost, run);
    }
    run.hosts.push(host);
  }
  return [...byPorts.values()];
}

/** The runs as far as `wanted` takes their ports, each number once. */
function srvRuns(runs: readonly PortRun[], wanted: (port: ServicePort) => boolean): SrvRun[] {
  return runs
    .map(({ ports, hosts }) => ({ numbers: unique(ports.filter(wanted).map((port) => port.port)), hosts }))
    .filter(({ numbers }) => numbers.length > 0);
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
