// Merged services for tests of the zone and its image, in few words; and random ones.
import fc from 'fast-check';
import type { MergedEndpoint, MergedService, Protocol, ServicePort } from '../../src/zones/objects.ts';

export const ZONE = 'clusterset.local';
export const settings = {
  zone: ZONE,
  ttlSeconds: 5,
  negativeTtlSeconds: 5,
  nameServers: [{ name: `ns.dns.${ZONE}`, addresses: ['127.0.0.1', '::1'] }],
} as const;

/** `tcp http 80` as a port. */
export function port(protocol: Protocol, name: string, number: number): ServicePort {
  return { name, protocol, port: number };
}

export function clusterSetIP(
  namespace: string,
  name: string,
  addresses: readonly string[],
  ports: readonly ServicePort[] = [],
  rest: Partial<MergedService> = {},
): MergedService {
  const base = { clusters: ['east'], addressConflict: '', endpoints: [] };
  return { namespace, name, type: 'ClusterSetIP', addresses, ports, ...base, ...rest };
}

export function headless(
  namespace: string,
  name: string,
  endpoints: readonly MergedEndpoint[],
  rest: Partial<MergedService> = {},
): MergedService {
  const clusters = [...new Set(endpoints.map((endpoint) => endpoint.cluster))].sort();
  const base = { clusters, addressConflict: '', addresses: [], ports: [] };
  return { namespace, name, type: 'Headless', endpoints, ...base, ...rest };
}

export function endpoint(
  cluster: string,
  host: string,
  address: string,
  ports: readonly ServicePort[] = [],
): MergedEndpoint {
  return { cluster, host, address, family: address.includes(':') ? 6 : 4, ports };
}

/** The n-th IPv4 address of tests, and the n-th IPv6 one. */
export function v4(n: number): string {
  return `10.${String((n >>> 16) & 255)}.${String((n >>> 8) & 255)}.${String(n & 255)}`;
}

export function v6(n: number): string {
  const last = (n + 1).toString(16);
  return `fd00::${last}`;
}

/** So many endpoints `pod-<n>` of one cluster. */
export function pods(cluster: string, count: number, ports: readonly ServicePort[] = [], first = 0): MergedEndpoint[] {
  return Array.from({ length: count }, (_, n) => endpoint(cluster, `pod-${String(first + n)}`, v4(first + n), ports));
}

// Pools are small, so that names meet: `b` is a host and the first label of the cluster `b.a`, `a` is both as well.
const clusterIds = ['a', 'b.a', 'c.b.a', 'prod.eu', 'stage.eu', 'eu', 'west-1'];
const hosts = ['a', 'b', 'c', 'prod', 'stage', 'web-0', 'web-1', '10-0-0-1', 'fd00--10'];
const somePorts: readonly ServicePort[] = [
  port('tcp', 'http', 80),
  port('tcp', 'http', 8080),
  port('tcp', 'https', 443),
  port('udp', 'quic', 443),
  port('udp', 'dns', 53),
  port('tcp', 'dns', 53),
  port('sctp', 'm3ua', 2905),
];

const ports = fc.uniqueArray(fc.constantFrom(...somePorts), { maxLength: 4 });
const address = fc.oneof(fc.nat(40).map(v4), fc.nat(40).map(v6));

const fewEndpoints = fc.array(fc.tuple(fc.constantFrom(...clusterIds), fc.constantFrom(...hosts), address, fc.nat(2)), {
  minLength: 0,
  maxLength: 14,
  size: 'max',
});
/** So many that A, AAAA and SRV pass 1,232 octets. */
const manyEndpoints = fc
  .tuple(fc.integer({ min: 20, max: 140 }), fc.constantFrom(...clusterIds), fc.boolean())
  .map(([count, cluster, dual]) =>
    Array.from({ length: count }, (_, n): [string, string, string, number] => [
      cluster,
      `pod-${String(dual ? n >> 1 : n)}`,
      dual && n % 2 === 1 ? v6(n) : v4(n),
      n % 3,
    ]),
  );

const randomHeadless = fc
  .tuple(
    fc.oneof({ weight: 5, arbitrary: fewEndpoints }, { weight: 2, arbitrary: manyEndpoints }),
    fc.array(ports, { minLength: 3, maxLength: 3 }),
  )
  .map(([drawn, portSets]) => {
    const unique = new Map(
      drawn.map(([cluster, host, ip, set]) => [`${cluster} ${host} ${ip}`, endpoint(cluster, host, ip, portSets[set])]),
    );
    const sorted = [...unique.values()].sort((x, y) => (x.cluster < y.cluster ? -1 : x.cluster > y.cluster ? 1 : 0));
    return (namespace: string, name: string): MergedService => headless(namespace, name, sorted);
  });

const randomClusterSetIP = fc
  .tuple(
    fc.oneof(
      { weight: 9, arbitrary: fc.uniqueArray(address, { maxLength: 4 }) },
      { weight: 1, arbitrary: fc.constant(Array.from({ length: 100 }, (_, n) => v4(n))) },
    ),
    ports,
    fc.option(fc.constant('addresses differ: a 10.0.0.1, eu 10.0.0.2'), { freq: 5, nil: '' }),
    fc.subarray(clusterIds, { minLength: 1 }),
  )
  .map(
    ([addresses, drawn, addressConflict, clusters]) =>
      (namespace: string, name: string): MergedService =>
        clusterSetIP(namespace, name, addresses, drawn, { addressConflict, clusters: [...clusters].sort() }),
  );

export interface Change {
  readonly namespace: string;
  readonly name: string;
  readonly service: MergedService | undefined;
}

/** A service put, put again otherwise, or removed. */
export const change: fc.Arbitrary<Change> = fc
  .tuple(
    fc.constantFrom('shop', 'db', 'svc'),
    fc.constantFrom('web', 'api', 'a'),
    fc.oneof(
      { weight: 4, arbitrary: randomHeadless },
      { weight: 3, arbitrary: randomClusterSetIP },
      { weight: 2, arbitrary: fc.constant(() => undefined) },
    ),
  )
  .map(([namespace, name, make]) => ({ namespace, name, service: make(namespace, name) }));
