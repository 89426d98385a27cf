// The owner names of a headless service: which of its endpoints stand under one host label, and with which ports.
// Columns instead of objects, used again for every service: a fleet of a million endpoints is compiled without garbage
// (bench `image`). A host is a run of the endpoints; those of one host always stand together here.

import type { MergedEndpoint, ServicePort } from './objects.ts';

const INITIAL_ROWS = 256;

export class HostTable {
  /** Hosts of the service in hand, in the order of the endpoints; a cluster's hosts stand together. */
  count = 0;
  endpoints: readonly MergedEndpoint[] = [];
  /** Host h has the endpoints first[h] to first[h + 1]. */
  first = new Int32Array(INITIAL_ROWS + 1);
  /** The host's published entry, 0 where its name would be too long; and the octets of that name. */
  reference = new Int32Array(INITIAL_ROWS);
  nameOctets = new Int32Array(INITIAL_ROWS);
  /** Ports of all endpoints of the host; hosts of the same slices share an array. */
  ports: (readonly ServicePort[])[] = [];
  /** IPv4 addresses of the endpoints as numbers, where the family is 4. */
  ipv4 = new Int32Array(INITIAL_ROWS);
  private seen = new Int32Array(INITIAL_ROWS * 2);
  private readonly joined = new Map<readonly ServicePort[], Map<readonly ServicePort[], readonly ServicePort[]>>();

  /** Takes a service's endpoints, which come by cluster. */
  fill(merged: readonly MergedEndpoint[]): void {
    const endpoints = standTogether(merged) ? merged : together(merged);
    this.endpoints = endpoints;
    this.count = 0;
    this.ports = [];
    this.joined.clear();
    this.reserve(endpoints.length);
    let last: MergedEndpoint | undefined;
    for (let i = 0; i < endpoints.length; i++) {
      const endpoint = endpoints[i]!;
      if (endpoint.family === 4) this.ipv4[i] = ipv4Of(endpoint.address);
      if (last !== undefined && last.host === endpoint.host && last.cluster === endpoint.cluster) {
        const host = this.count - 1;
        if (this.ports[host] !== endpoint.ports) this.ports[host] = this.join(this.ports[host]!, endpoint.ports);
      } else {
        this.first[this.count++] = i;
        this.ports.push(endpoint.ports);
        last = endpoint;
      }
    }
    this.first[this.count] = endpoints.length;
  }

  cluster(host: number): string {
    return this.endpoints[this.first[host]!]!.cluster;
  }

  label(host: number): string {
    return this.endpoints[this.first[host]!]!.host;
  }

  /** Addresses of one family among the endpoints [from, end), and whether there are of the other. */
  families(from: number, end: number): { v4: number; v6: number } {
    let v4 = 0;
    for (let i = from; i < end; i++) if (this.endpoints[i]!.family === 4) v4++;
    return { v4, v6: end - from - v4 };
  }

  /** Calls `take` with each IPv4 address of the service once, in order: hosts of two clusters can share one. */
  eachIpv4(take: (address: number) => void): void {
    const { seen } = this;
    const mask = seen.length - 1;
    seen.fill(0);
    for (let i = 0; i < this.endpoints.length; i++) {
      if (this.endpoints[i]!.family !== 4) continue;
      const address = this.ipv4[i]!;
      // 0.0.0.0 is no endpoint's address, so 0 marks a free place; twice as many places as endpoints end every chain.
      let place = Math.imul(address, 0x9e3779b1) >>> 7;
      for (place &= mask; seen[place] !== 0 && seen[place] !== address;) place = (place + 1) & mask;
      if (seen[place] === address) continue;
      seen[place] = address;
      take(address);
    }
  }

  private join(first: readonly ServicePort[], second: readonly ServicePort[]): readonly ServicePort[] {
    let ofFirst = this.joined.get(first);
    if (ofFirst === undefined)
      this.joined.set(first, (ofFirst = new Map<readonly ServicePort[], readonly ServicePort[]>()));
    let both = ofFirst.get(second);
    if (both === undefined) ofFirst.set(second, (both = [...first, ...second]));
    return both;
  }

  private reserve(rows: number): void {
    let size = INITIAL_ROWS;
    while (size < rows) size *= 2;
    if (size === this.reference.length) return;
    // Also smaller again: `seen` is cleared for every service.
    this.first = new Int32Array(size + 1);
    this.reference = new Int32Array(size);
    this.nameOctets = new Int32Array(size);
    this.ipv4 = new Int32Array(size);
    this.seen = new Int32Array(size * 2);
  }
}

/**
 * Whether it is certain at a glance that the endpoints of each host stand together: labels made from addresses are as
 * unique as these, and so are labels that only rise within a cluster, by text or (`pod-2`, `pod-10`) by length first.
 */
function standTogether(endpoints: readonly MergedEndpoint[]): boolean {
  let derived = true;
  let rising = true;
  let risingByLength = true;
  for (let i = 0; i < endpoints.length && (derived || rising || risingByLength); i++) {
    const endpoint = endpoints[i]!;
    if (derived) derived = isDerived(endpoint);
    const before = endpoints[i - 1];
    if (before === undefined || before.cluster !== endpoint.cluster) continue;
    const difference = endpoint.host.length - before.host.length;
    const isAfter = before.host <= endpoint.host;
    rising &&= isAfter;
    risingByLength &&= difference > 0 || (difference === 0 && isAfter);
  }
  return derived || rising || risingByLength;
}

/** Whether the host label is the address with its dots or colons as hyphens. */
function isDerived({ host, address }: MergedEndpoint): boolean {
  const length = address.length;
  // The 0 behind an address that ends in a colon.
  if (host.length === length + 1)
    return address.endsWith(':') && host.endsWith('-0') && host.startsWith(dashed(address));
  if (host.length !== length) return false;
  for (let i = 0; i < length; i++) {
    const a = address.charCodeAt(i);
    if (host.charCodeAt(i) !== (a === 0x2e || a === 0x3a ? 0x2d : a)) return false;
  }
  return true;
}

function dashed(address: string): string {
  return address.replaceAll(':', '-');
}

/** The endpoints by cluster and host, each at the place of its host's first. */
function together(endpoints: readonly MergedEndpoint[]): MergedEndpoint[] {
  const clusters = new Map<string, Map<string, MergedEndpoint[]>>();
  for (const endpoint of endpoints) {
    let hosts = clusters.get(endpoint.cluster);
    if (hosts === undefined) clusters.set(endpoint.cluster, (hosts = new Map<string, MergedEndpoint[]>()));
    const host = hosts.get(endpoint.host);
    if (host === undefined) hosts.set(endpoint.host, [endpoint]);
    else host.push(endpoint);
  }
  return [...clusters.values()].flatMap((hosts) => [...hosts.values()].flat());
}

/** Canonical dotted decimal as an Int32. */
function ipv4Of(text: string): number {
  let address = 0;
  let part = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x2e) {
      address = (address << 8) | part;
      part = 0;
    } else part = part * 10 + c - 0x30;
  }
  return (address << 8) | part;
}
