// Merging a fleet: one service of the fleet view from what each cluster holds (KEP-1645, conflict resolution and EndpointSlice).
// Every case is merged four ways, in both orders of clusters and slices, with a witness and without: all must agree.
import t, { type Test } from 'tap';
import fc from 'fast-check';
import { mergeService } from '../../src/zones/merge.ts';
import { type Decision, describe } from '../../src/zones/witness.ts';
import {
  type ClusterObjects,
  type Endpoint,
  type EndpointSlice,
  type FleetCluster,
  type FleetPolicy,
  type MergedService,
  type Protocol,
  type ServiceImport,
  type ServicePort,
} from '../../src/zones/objects.ts';

// The objects, in short

/** `http 80`, `dns/udp 53`, ` 80` for an unnamed port. */
function ports(text: string): ServicePort[] {
  if (text === '') return [];
  return text.split(', ').map((port) => {
    const [, name = '', protocol = 'tcp', number] = /^([^/ ]*)\/?(\w*) (\d+)$/.exec(port) ?? [];
    return { name, protocol: (protocol || 'tcp') as Protocol, port: Number(number) };
  });
}

/** `10.0.0.1`, `web-0 10.0.0.1+10.0.0.2 uid=u1`, `10.0.0.1 notready`. */
function pod(text: string): Endpoint {
  const words = text.split(' ');
  const addresses = words.find((word) => /[.:]/.test(word)) ?? '';
  return {
    addresses: addresses.split('+'),
    hostname: words[0] === addresses ? '' : words[0]!,
    ready: !words.includes('notready'),
    uid: words.find((word) => word.startsWith('uid='))?.slice(4) ?? '',
  };
}

const at = { namespace: 'shop', name: 'web' };

function slice(form: EndpointSlice['form'], source: string, text: string): EndpointSlice {
  const colon = text.indexOf(': ');
  const body = text.slice(colon + 2);
  const [name = '', addressType = 'IPv4', portText = ''] = text.slice(0, colon).split('|');
  const endpoints = body === '' ? [] : body.split(', ').map(pod);
  const type = addressType as EndpointSlice['addressType'];
  return {
    ...at,
    name,
    service: 'web',
    form,
    sourceCluster: source,
    addressType: type,
    ports: ports(portText),
    endpoints,
  };
}

/** `web-1|IPv6|http 80: web-0 fd00::1`: name, address type (IPv4), ports (none), then the endpoints. */
const native = (text: string): EndpointSlice => slice('native', '', text);
const copyOf = (source: string, text: string): EndpointSlice => slice('mirrored', source, text);

type Import = Pick<ServiceImport, 'type' | 'ips'> & Partial<ServiceImport>;
const ips = (text: string, more: Partial<ServiceImport> = {}): Import => ({
  type: 'ClusterSetIP',
  ips: text === '' ? [] : text.split(' '),
  ...more,
});
const headless = (more: Partial<ServiceImport> = {}): Import => ({ type: 'Headless', ips: [], ...more });

interface Holds extends Partial<FleetCluster> {
  readonly imports?: Import;
  /** A ServiceExport of this name; the cluster then speaks for itself. */
  readonly exports?: 'valid' | 'invalid';
  readonly slices?: readonly EndpointSlice[];
  readonly configured?: false;
}
type Fleet = Readonly<Record<string, Holds>>;

function clusterObjects([cluster, holds]: [string, Holds]): ClusterObjects {
  const { imports, exports, slices = [] } = holds;
  const defaults = { ...at, ports: [], createdSeconds: 100, ipsFromSlices: false };
  return {
    cluster,
    serviceImport: imports && { ...defaults, ...imports },
    serviceExport: exports && { ...at, valid: exports === 'valid' },
    slices,
  };
}

function policyOf(fleet: Fleet, addressConflict: FleetPolicy['addressConflict'] = 'servfail'): FleetPolicy {
  const clusters = new Map<string, FleetCluster>();
  for (const [id, holds] of Object.entries(fleet)) {
    const { precedence = Infinity, endpointsFrom = 'auto', speaksFor, drained = false } = holds;
    const exporting = holds.exporting ?? holds.exports !== undefined;
    if (holds.configured !== false) {
      clusters.set(id, { id, precedence, endpointsFrom, speaksFor, drained, exporting });
    }
  }
  return { clusters, addressConflict };
}

/** What the merged service will answer, as zone-file lines below `svc.clusterset.local.` */
function zone(service: MergedService | undefined): string[] {
  if (service === undefined) return ['no such service'];
  const lines = service.addresses.map((address) => `web.shop ${address.includes(':') ? 'AAAA' : 'A'} ${address}`);
  for (const { name, protocol, port } of service.ports)
    lines.push(`_${name}._${protocol}.web.shop SRV ${port} web.shop`);
  for (const { host, cluster, family, address } of service.endpoints) {
    lines.push(`${host}.${cluster}.web.shop ${family === 6 ? 'AAAA' : 'A'} ${address}`);
  }
  for (const { host, cluster, ports } of service.endpoints) {
    for (const { name, protocol, port } of ports) {
      const line = `_${name}._${protocol}.web.shop SRV ${port} ${host}.${cluster}.web.shop`;
      if (!lines.includes(line)) lines.push(line);
    }
  }
  return lines.length > 0 ? lines : [service.type];
}

function backwards(clusters: readonly ClusterObjects[]): ClusterObjects[] {
  return clusters.map((holds) => ({ ...holds, slices: holds.slices.toReversed() })).reverse();
}

interface Merged {
  readonly service: MergedService | undefined;
  readonly said: string[];
}

/** Merges every way and sees that all agree. */
function merge(test: Test, fleet: Fleet, conflict?: FleetPolicy['addressConflict']): Merged {
  const clusters = Object.entries(fleet).map(clusterObjects);
  const policy = policyOf(fleet, conflict);
  const said: string[] = [];
  const saidBackwards: string[] = [];
  const service = mergeService({ ...at, clusters }, policy, (decision) => said.push(describe(decision)));
  const others = [
    mergeService({ ...at, clusters }, policy),
    mergeService({ ...at, clusters: backwards(clusters) }, policy),
    mergeService({ ...at, clusters: backwards(clusters) }, policy, (decision) =>
      saidBackwards.push(describe(decision)),
    ),
  ];
  for (const other of others) test.strictSame(other, service, 'the same in any order, with a witness and without');
  test.strictSame(saidBackwards, said, 'the witness is told the same in any order');
  return { service, said };
}

interface Case {
  readonly rule: string;
  readonly fleet: Fleet;
  readonly zone: readonly string[];
  /** Lines the witness is told, among others. */
  readonly said?: readonly string[];
  readonly clusters?: string;
  readonly conflict?: FleetPolicy['addressConflict'];
  /** The text of the Extended DNS Error; '' unless said. */
  readonly ede?: string;
}

function check(test: Test, cases: readonly Case[]): void {
  for (const { rule, fleet, zone: expected, said = [], clusters, conflict, ede = '' } of cases) {
    const { service, said: told } = merge(test, fleet, conflict);
    test.strictSame(zone(service), expected, rule);
    test.ok(isMerged(service), `${rule}: invariants`);
    test.equal(service?.addressConflict ?? '', ede, `${rule}: Extended DNS Error`);
    for (const line of said) test.ok(told.includes(line), `${rule}: ${line}`, { told });
    if (clusters !== undefined) test.equal(service?.clusters.join(' '), clusters, `${rule}: clusters`);
  }
}

void t.test('a service exists where a ServiceImport of its name stands', async (t) => {
  check(t, [
    {
      rule: 'slices without an import anywhere give nothing',
      fleet: {
        a: { exports: 'valid', slices: [native('web-1: 10.0.0.1')] },
        b: { slices: [copyOf('c', 'c-1: 10.0.0.2')] },
      },
      zone: ['no such service'],
      said: [
        'EndpointSlice web-1 in a (source a) left out: no cluster holds a ServiceImport of this name',
        'EndpointSlice c-1 in b (source c) left out: no cluster holds a ServiceImport of this name',
      ],
    },
    {
      rule: 'an import in another cluster than the endpoints is enough',
      fleet: { a: { imports: headless() }, b: { exports: 'valid', slices: [native('web-1: 10.0.0.1')] } },
      zone: ['10-0-0-1.b.web.shop A 10.0.0.1'],
      clusters: 'a b',
    },
    {
      rule: 'a cluster that is not configured imports nothing and speaks for nobody',
      fleet: {
        a: { imports: headless() },
        x: { configured: false, imports: ips('10.9.9.9'), exports: 'valid', slices: [native('web-1: 10.9.9.9')] },
      },
      zone: ['Headless'],
      said: ['objects of x left out: no such cluster is configured'],
      clusters: 'a',
    },
    {
      rule: 'no import but of such a cluster',
      fleet: { x: { configured: false, imports: ips('10.1.1.1') } },
      zone: ['no such service'],
    },
    {
      rule: 'ClusterSetIP without ips: NODATA',
      fleet: { a: { imports: ips('') } },
      zone: ['ClusterSetIP'],
      clusters: 'a',
    },
    {
      rule: 'ips of a Headless import mean nothing',
      fleet: { a: { imports: headless({ ips: ['10.1.1.1'], ports: ports('http 80') }) } },
      zone: ['Headless'],
    },
    {
      rule: 'ClusterSetIP: ips in their order without repeats, endpoints without effect',
      fleet: {
        a: {
          imports: ips('10.1.1.9 fd00::9 10.1.1.9'),
          exports: 'valid',
          slices: [native('web-1: 10.0.0.1 notready')],
        },
      },
      zone: ['web.shop A 10.1.1.9', 'web.shop AAAA fd00::9'],
      said: [
        "EndpointSlice web-1 in a (source a) left out: the service is ClusterSetIP and answers its ServiceImport's ips",
      ],
    },
  ]);
});

void t.test('which import decides', async (t) => {
  const old = { createdSeconds: 1 };
  const http = (port: number): Partial<ServiceImport> => ({ ports: ports(`http ${port}`) });
  check(t, [
    {
      rule: 'configured precedence goes first',
      fleet: {
        a: { imports: ips('10.1.1.1', { ...old, ...http(1) }) },
        b: { precedence: 5, imports: ips('10.1.1.1', http(2)) },
      },
      zone: ['web.shop A 10.1.1.1', '_http._tcp.web.shop SRV 2 web.shop'],
      said: [
        'ServiceImport of b decides: ClusterSetIP',
        'ServiceImport of a comes after that of b: its cluster has a later precedence',
        'port http/tcp 2 from the ServiceImport of b',
        'port http/tcp 1 of the ServiceImport of a left out: 2 was first',
      ],
      clusters: 'b',
    },
    {
      rule: 'then the oldest; without creationTimestamp it is the newest',
      fleet: {
        a: { imports: ips('10.1.1.1', { createdSeconds: Infinity, ...http(1) }) },
        b: { imports: ips('10.1.1.1', { createdSeconds: 50, ...http(2) }) },
        c: { imports: ips('10.1.1.1', { createdSeconds: 49, ...http(3) }) },
      },
      zone: ['web.shop A 10.1.1.1', '_http._tcp.web.shop SRV 3 web.shop'],
      said: [
        'ServiceImport of a comes after that of c: it is newer',
        'ServiceImport of b comes after that of c: it is newer',
      ],
    },
    {
      rule: 'then the cluster id, by code unit: a-b before a.b before a1 before ab',
      fleet: Object.fromEntries(
        ['ab', 'a1', 'a.b', 'a-b'].map((id, i) => [id, { imports: ips('10.1.1.1', http(i + 1)) }]),
      ),
      zone: ['web.shop A 10.1.1.1', '_http._tcp.web.shop SRV 4 web.shop'],
      said: ['ServiceImport of a.b comes after that of a-b: its cluster id sorts later'],
    },
    {
      rule: 'an import without ips never wins over one with',
      fleet: { a: { precedence: 1, imports: ips('', http(1)) }, b: { imports: ips('10.1.1.2', http(2)) } },
      zone: ['web.shop A 10.1.1.2', '_http._tcp.web.shop SRV 2 web.shop'],
      said: ['ServiceImport of a comes after that of b: it has no ips'],
    },
    {
      rule: 'the type is settled first, ips or not; imports of another type give nothing',
      fleet: {
        a: { imports: headless(old), exports: 'valid', slices: [native('web-1: 10.0.0.1')] },
        b: { imports: ips('10.1.1.2', http(2)) },
      },
      zone: ['10-0-0-1.a.web.shop A 10.0.0.1'],
      said: ['ServiceImport of b left out: ClusterSetIP, but a says Headless'],
    },
    {
      rule: 'and the other way round',
      fleet: {
        a: { imports: headless() },
        b: { imports: ips('', { ...old, ...http(2) }) },
        c: { imports: ips('10.1.1.3') },
      },
      zone: ['web.shop A 10.1.1.3', '_http._tcp.web.shop SRV 2 web.shop'],
      clusters: 'b c',
    },
  ]);
});

void t.test('ports of a ClusterSetIP service', async (t) => {
  const many = Array.from({ length: 1001 }, (_, i) => ({ name: `p${i}`, protocol: 'tcp' as const, port: i + 1 }));
  check(t, [
    {
      rule: 'ports of all imports of the type are joined by (name, protocol); the first decides one that differs',
      fleet: {
        a: { imports: ips('10.1.1.1', { ports: ports('dns 53, http 80, http 81') }) },
        b: { imports: ips('10.1.1.1', { ports: ports('http 8080, dns/udp 53') }) },
        c: { imports: ips('10.1.1.1', { ports: ports('http 80') }) },
        d: { imports: headless({ ports: ports('admin 9') }) },
      },
      zone: [
        'web.shop A 10.1.1.1',
        '_dns._tcp.web.shop SRV 53 web.shop',
        '_http._tcp.web.shop SRV 80 web.shop',
        '_dns._udp.web.shop SRV 53 web.shop',
      ],
      said: [
        'port http/tcp 81 of the ServiceImport of a left out: 80 was first',
        'port http/tcp 8080 of the ServiceImport of b left out: 80 was first',
      ],
      clusters: 'a b',
    },
    {
      rule: 'unnamed ports have no SRV',
      fleet: { a: { imports: ips('10.1.1.1', { ports: ports(' 80, / 81') }) } },
      zone: ['web.shop A 10.1.1.1'],
      said: ['2 unnamed ports of the ServiceImport of a have no SRV'],
    },
  ]);
  const { service, said } = merge(t, { a: { imports: ips('10.1.1.1', { ports: many }) } });
  t.equal(service?.ports.length, 1000, 'ports are bounded');
  t.ok(said.includes('1 ports of the ServiceImport of a left out: over the limit'));
});

void t.test('addresses that differ', async (t) => {
  const two: Fleet = {
    a: { imports: ips('10.1.1.1') },
    b: { imports: ips('10.1.1.2') },
    c: { imports: ips('10.1.1.1') },
  };
  const long = 'x'.repeat(200);
  check(t, [
    {
      rule: 'clusters and setting are named',
      fleet: two,
      zone: ['web.shop A 10.1.1.1'],
      ede: 'ips differ (addressConflict): a 10.1.1.1, b 10.1.1.2 and 1 more',
      said: ['ips differ: a 10.1.1.1, b 10.1.1.2, c 10.1.1.1; A and AAAA get SERVFAIL (addressConflict)'],
      clusters: 'a b c',
    },
    {
      rule: 'addressConflict: precedence answers the first',
      fleet: { ...two, b: { ...two['b'], precedence: 1 } },
      conflict: 'precedence',
      zone: ['web.shop A 10.1.1.2'],
      said: ['ips differ: b 10.1.1.2, a 10.1.1.1, c 10.1.1.1; the first is answered (addressConflict)'],
      clusters: 'b',
    },
    {
      rule: 'ips are sets, and an import without any, or of another type, is no conflict',
      fleet: {
        a: { imports: ips('10.1.1.1 fd00::1') },
        b: { imports: ips('fd00::1 10.1.1.1 fd00::1') },
        c: { imports: ips('') },
        d: { imports: headless({ ips: ['10.9.9.9'] }) },
      },
      zone: ['web.shop A 10.1.1.1', 'web.shop AAAA fd00::1'],
    },
    {
      rule: 'a part is no equal set',
      fleet: { a: { imports: ips('10.1.1.1 fd00::1') }, b: { imports: ips('10.1.1.1') } },
      zone: ['web.shop A 10.1.1.1', 'web.shop AAAA fd00::1'],
      ede: 'ips differ (addressConflict): a 10.1.1.1+fd00::1, b 10.1.1.1',
    },
    {
      rule: 'a cluster id too long for the text',
      fleet: { [long]: { imports: ips('10.1.1.1') }, y: { imports: ips('10.1.1.2') } },
      zone: ['web.shop A 10.1.1.1'],
      ede: `ips differ (addressConflict): ${'x'.repeat(70)}... and 1 more`,
    },
  ]);
  const texts = Array.from({ length: 250 }, (_, length) => {
    const imports = [1, 2, 3, 4, 5].map((i) => [
      `${i}`.padStart(length, 'é'),
      { imports: ips(`10.1.1.${i} fd00::${i}`) },
    ]);
    const fleet = Object.fromEntries(imports) as Fleet;
    const clusters = Object.entries(fleet).map(clusterObjects);
    return mergeService({ ...at, clusters }, policyOf(fleet))?.addressConflict ?? '';
  });
  const unfit = texts.filter((text) => text.length > 120 || !/^ips differ \(addressConflict\): [ -~]+$/.test(text));
  t.strictSame(unfit, [], 'at most 120 octets, ASCII only, however long the ids are');
  t.ok(texts.some((text) => text.length === 120));
});

void t.test('whose endpoints count', async (t) => {
  const a: Holds = { imports: headless() };
  const b1 = '10-0-0-1.b.web.shop A 10.0.0.1';
  const own = native('web-1: 10.0.0.1');
  const forged = copyOf('b', 'b-1: 10.6.6.6');
  check(t, [
    {
      rule: 'a native slice without a ServiceExport of its name is not exported, whatever else the cluster exports',
      fleet: { a, b: { exporting: true, slices: [own] } },
      zone: ['Headless'],
      said: ['EndpointSlice web-1 in b (source b) left out: its cluster holds no ServiceExport of this name'],
    },
    {
      rule: 'an export with Valid: False counts for nothing',
      fleet: { a, b: { exports: 'invalid', slices: [own] } },
      zone: ['Headless'],
      said: ['EndpointSlice web-1 in b (source b) left out: the ServiceExport has the condition Valid: False'],
    },
    {
      rule: 'a cluster with exports speaks for itself: natively and by its own mirrored slices, not by copies elsewhere',
      fleet: {
        a: { ...a, slices: [forged] },
        b: { exports: 'valid', slices: [own, copyOf('b', 'b-2: 10.0.0.2')] },
      },
      zone: [b1, '10-0-0-2.b.web.shop A 10.0.0.2'],
      said: ['EndpointSlice b-1 in a (source b) left out: the source holds ServiceExports and speaks for itself'],
    },
    {
      rule: 'also where it exports other services only, and holds nothing of this one',
      fleet: { a: { ...a, slices: [forged] }, b: { exporting: true } },
      zone: ['Headless'],
    },
    {
      rule: 'a cluster without exports: copies naming it count, several of one endpoint are one',
      fleet: {
        a: { ...a, slices: [copyOf('b', 'b-1: 10.0.0.1')] },
        b: { slices: [native('web-9: 10.0.0.9')] },
        c: { slices: [copyOf('b', 'b-1: 10.0.0.1, 10.0.0.2')] },
      },
      zone: [b1, '10-0-0-2.b.web.shop A 10.0.0.2'],
      said: ['endpoint 10-0-0-1 10.0.0.1 of EndpointSlice b-1 in c (source b) left out: known already'],
      clusters: 'a b',
    },
    {
      rule: 'but its own copy wins over others, even an empty one',
      fleet: { a: { ...a, slices: [forged] }, b: { slices: [copyOf('b', 'b-1: 10.0.0.1 notready')] } },
      zone: ['Headless'],
      said: ['EndpointSlice b-1 in a (source b) left out: the source holds a copy of its own'],
    },
    {
      rule: 'a mirrored slice must name its source',
      fleet: { a: { ...a, slices: [copyOf('', 'b-1: 10.0.0.1')] } },
      zone: ['Headless'],
      said: [
        'EndpointSlice b-1 in a (source unknown) left out: the label multicluster.kubernetes.io/source-cluster is missing or no DNS name',
      ],
    },
    {
      rule: 'an id that is no configured cluster counts, unless speaksFor of the holder forbids it',
      fleet: {
        a: { ...a, slices: [copyOf('x', 'x-1: 10.0.0.1')] },
        b: { speaksFor: [], slices: [copyOf('x', 'x-1: 10.0.0.2'), copyOf('y', 'y-1: 10.0.0.3')] },
        c: { speaksFor: ['y'], slices: [copyOf('y', 'y-1: 10.0.0.4')] },
      },
      zone: ['10-0-0-1.x.web.shop A 10.0.0.1', '10-0-0-4.y.web.shop A 10.0.0.4'],
      said: [
        'EndpointSlice x-1 in a (source x) counts, though no such source is configured',
        'EndpointSlice x-1 in b (source x) left out: speaksFor of the holding cluster does not list the source',
      ],
      clusters: 'a x y',
    },
    {
      rule: 'speaksFor is about unknown ids only',
      fleet: { a: { ...a, speaksFor: [], slices: [copyOf('b', 'b-1: 10.0.0.1')] }, b: {} },
      zone: [b1],
    },
    {
      rule: 'endpointsFrom: native takes no mirrored slice, from wherever',
      fleet: {
        a: { ...a, slices: [copyOf('b', 'b-1: 10.6.6.6')] },
        b: { endpointsFrom: 'native', exports: 'valid', slices: [own, copyOf('b', 'b-2: 10.6.6.7')] },
        c: { endpointsFrom: 'native' },
        d: { slices: [copyOf('c', 'c-1: 10.6.6.8')] },
      },
      zone: [b1],
      said: ['EndpointSlice b-2 in b (source b) left out: endpointsFrom of the source wants the other form of slice'],
    },
    {
      rule: 'endpointsFrom: mirrored (Globalnet): no native slice, its own copy first',
      fleet: {
        a: { ...a, slices: [forged] },
        b: {
          endpointsFrom: 'mirrored',
          exports: 'valid',
          slices: [native('web-1: 10.6.6.6'), copyOf('b', 'b-2: 10.0.0.1')],
        },
      },
      zone: [b1],
    },
    {
      rule: 'endpointsFrom: mirrored without an own copy: those of others',
      fleet: {
        a: { ...a, slices: [copyOf('b', 'b-1: 10.0.0.1')] },
        b: { endpointsFrom: 'mirrored', exports: 'valid', slices: [native('web-1: 10.6.6.6')] },
      },
      zone: [b1],
    },
    {
      rule: 'a drained cluster: its endpoints are out in every form, its imports and its copies of others stay',
      fleet: {
        a: { slices: [copyOf('b', 'b-1: 10.6.6.6')] },
        b: { drained: true, imports: headless(), exports: 'valid', slices: [own, copyOf('b', 'b-2: 10.6.6.7')] },
        c: { drained: true, slices: [copyOf('d', 'd-1: 10.0.0.4')] },
        d: {},
        e: { slices: [copyOf('c', 'c-1: 10.6.6.8')] },
      },
      zone: ['10-0-0-4.d.web.shop A 10.0.0.4'],
      said: [
        'EndpointSlice b-1 in a (source b) left out: the source is drained',
        'EndpointSlice web-1 in b (source b) left out: the source is drained',
        'EndpointSlice b-2 in b (source b) left out: the source is drained',
      ],
      clusters: 'b d',
    },
    {
      rule: 'FQDN slices give no address',
      fleet: { a: { ...a, exports: 'valid', slices: [native('web-1|FQDN: web.example')] } },
      zone: ['Headless'],
      said: ['EndpointSlice web-1 in a (source a) left out: addressType FQDN gives no address'],
    },
  ]);
});

void t.test('endpoints of a headless service', async (t) => {
  const a = (...slices: EndpointSlice[]): Fleet => ({ a: { imports: headless(), exports: 'valid', slices } });
  check(t, [
    {
      rule: 'ready ones only',
      fleet: a(native('web-1: 10.0.0.1, web-2 10.0.0.2 notready')),
      zone: ['10-0-0-1.a.web.shop A 10.0.0.1'],
      said: [
        'endpoint 10-0-0-1 10.0.0.1 from EndpointSlice web-1 in a (source a)',
        'endpoint web-2 10.0.0.2 of EndpointSlice web-1 in a (source a) left out: not ready',
      ],
    },
    {
      rule: 'host label: hostname, else the address, 0 appended where it would end in -',
      fleet: a(native('web-1: web-0 10.0.0.1, 10.0.0.2'), native('web-2|IPv6: fd00::2, fd00::')),
      zone: [
        '10-0-0-2.a.web.shop A 10.0.0.2',
        'fd00--0.a.web.shop AAAA fd00::',
        'fd00--2.a.web.shop AAAA fd00::2',
        'web-0.a.web.shop A 10.0.0.1',
      ],
    },
    {
      rule: 'one hostname in two slices joins addresses, one address in two slices joins ports',
      fleet: a(
        native('web-1|IPv4|http 80, dns/udp 53: web-0 10.0.0.1'),
        native('web-2|IPv4|http 80, http 8080: web-0 10.0.0.1'),
        native('web-3|IPv6|http 80: web-0 fd00::1'),
      ),
      zone: [
        'web-0.a.web.shop A 10.0.0.1',
        'web-0.a.web.shop AAAA fd00::1',
        '_dns._udp.web.shop SRV 53 web-0.a.web.shop',
        '_http._tcp.web.shop SRV 80 web-0.a.web.shop',
        '_http._tcp.web.shop SRV 8080 web-0.a.web.shop',
      ],
      said: ['endpoint web-0 10.0.0.1 of EndpointSlice web-2 in a (source a) left out: known already'],
    },
    {
      rule: 'one address under two hosts, or given twice by one endpoint',
      fleet: a(native('web-1: web-0 10.0.0.1+10.0.0.1, web-1 10.0.0.1, 10.0.0.1')),
      zone: ['10-0-0-1.a.web.shop A 10.0.0.1', 'web-0.a.web.shop A 10.0.0.1', 'web-1.a.web.shop A 10.0.0.1'],
    },
    {
      rule: 'one second host of two addresses',
      fleet: a(native('web-1: web-0 10.0.0.1, web-1 10.0.0.1, web-2 10.0.0.2, web-1 10.0.0.2')),
      zone: [
        'web-0.a.web.shop A 10.0.0.1',
        'web-1.a.web.shop A 10.0.0.1',
        'web-1.a.web.shop A 10.0.0.2',
        'web-2.a.web.shop A 10.0.0.2',
      ],
    },
    {
      rule: 'unnamed ports have no SRV, repeated ones have one',
      fleet: a(native('web-1|IPv4| 80, http 80, http 80: 10.0.0.1')),
      zone: ['10-0-0-1.a.web.shop A 10.0.0.1', '_http._tcp.web.shop SRV 80 10-0-0-1.a.web.shop'],
      said: ['1 unnamed ports of EndpointSlice web-1 in a have no SRV'],
    },
    {
      rule: 'the family is that of the slice',
      fleet: a(native('web-1|IPv4: web-0 10.0.0.1+fd00::1'), native('web-2|IPv6: 10.0.0.2')),
      zone: ['web-0.a.web.shop A 10.0.0.1'],
      said: [
        'endpoint 10-0-0-2 10.0.0.2 of EndpointSlice web-2 in a (source a) left out: not of the addressType of its slice',
      ],
    },
    {
      rule: 'the same address from two clusters is shown',
      fleet: {
        ...a(native('web-1: 10.0.0.1')),
        b: { exports: 'valid', slices: [native('web-1: 10.0.0.1')] },
      },
      zone: ['10-0-0-1.a.web.shop A 10.0.0.1', '10-0-0-1.b.web.shop A 10.0.0.1'],
      said: ['address 10.0.0.1 is given by a and b: answered once; do pod networks overlap?'],
    },
    {
      rule: 'order: cluster, then uid or hostname or address, then address, so that a pod has one place in both families',
      fleet: {
        ...a(
          copyOf('x', 'a-1: 10.0.3.1'),
          native('web-1: z 10.0.0.1 uid=u1, y 10.0.0.2 uid=u2, c 10.0.0.4, 10.0.0.3+10.0.0.30'),
        ),
        'a-b': { exports: 'valid', slices: [native('web-1: 10.0.1.1')] },
        a1: {
          exports: 'valid',
          slices: [native('web-2|IPv6: fd00::2 uid=u2, fd00::1 uid=u1'), native('web-1: y 10.0.2.2 uid=u2')],
        },
      },
      zone: [
        '10-0-0-3.a.web.shop A 10.0.0.3',
        '10-0-0-30.a.web.shop A 10.0.0.30',
        'c.a.web.shop A 10.0.0.4',
        'z.a.web.shop A 10.0.0.1',
        'y.a.web.shop A 10.0.0.2',
        '10-0-1-1.a-b.web.shop A 10.0.1.1',
        'fd00--1.a1.web.shop AAAA fd00::1',
        'y.a1.web.shop A 10.0.2.2',
        'fd00--2.a1.web.shop AAAA fd00::2',
        '10-0-3-1.x.web.shop A 10.0.3.1',
      ],
    },
    {
      rule: 'of two uids of one endpoint the least that is one',
      fleet: a(
        native('web-1: web-0 10.0.0.1 uid=u9, web-1 10.0.0.2 uid=u5'),
        native('web-2: web-0 10.0.0.1 uid=u1'),
        native('web-3: web-0 10.0.0.1'),
      ),
      zone: ['web-0.a.web.shop A 10.0.0.1', 'web-1.a.web.shop A 10.0.0.2'],
    },
  ]);
  const shared = merge(
    t,
    a(native('web-1|IPv4|http 80, dns 53: 10.0.0.1, 10.0.0.2'), native('web-2|IPv4|dns 53, http 80: 10.0.0.3')),
  );
  t.equal(
    new Set(shared.service?.endpoints.map(({ ports }) => ports)).size,
    1,
    'endpoints with equal ports share one array',
  );
  const many = (from: number): ServicePort[] =>
    Array.from({ length: 700 }, (_, i) => ({ name: `p${from + i}`, protocol: 'tcp' as const, port: 80 }));
  const bounded = merge(
    t,
    a(
      { ...native('web-1: 10.0.0.1'), ports: many(0) },
      { ...native('web-2: 10.0.0.1'), ports: many(600) },
      {
        ...native('web-3: 10.0.0.2'),
        ports: [...many(0), ...many(700)],
      },
    ),
  );
  t.strictSame(
    bounded.service?.endpoints.map(({ ports }) => ports.length),
    [1000, 1000],
    'ports are bounded',
  );
  t.ok(bounded.said.includes('400 ports of EndpointSlice web-3 in a left out: over the limit'));
});

void t.test('Submariner: ips from slices', async (t) => {
  const imports = ips('', { ipsFromSlices: true, ports: ports('http 80') });
  const srv = '_http._tcp.web.shop SRV 80 web.shop';
  check(t, [
    {
      rule: "the exported Services' ClusterIPs, not the pods, without repeats",
      fleet: {
        a: { imports, exports: 'valid', slices: [copyOf('a', 'a-1|IPv4|x 1: 10.96.0.2'), native('web-1: 10.0.0.1')] },
        b: {
          imports,
          exports: 'valid',
          slices: [copyOf('b', 'b-1: 10.96.0.1, 10.96.0.9 notready'), copyOf('b', 'b-2: 10.96.0.2')],
        },
      },
      zone: ['web.shop A 10.96.0.2', 'web.shop A 10.96.0.1', srv],
      said: [
        'EndpointSlice web-1 in a (source a) left out: a native slice holds pod addresses, and the service answers ClusterIPs',
        'address 10.96.0.2 is given by a and b: answered once; do pod networks overlap?',
      ],
      clusters: 'a b',
    },
    {
      rule: 'none ready behind any: the name keeps its addresses',
      fleet: { a: { imports, slices: [copyOf('b', 'b-1: 10.96.0.1 notready')] } },
      zone: ['web.shop A 10.96.0.1', srv],
    },
    {
      rule: 'only for imports that say so',
      fleet: { a: { imports: ips(''), slices: [copyOf('b', 'b-1: 10.96.0.1')] } },
      zone: ['ClusterSetIP'],
    },
    {
      rule: 'ips go before slices, slices before nothing',
      fleet: { a: { imports, slices: [copyOf('b', 'b-1: 10.96.0.1')] }, b: { imports: ips('10.1.1.1') } },
      zone: ['web.shop A 10.1.1.1', srv],
    },
    {
      rule: 'slices before nothing',
      fleet: { a: { precedence: 1, imports: ips('') }, b: { imports, slices: [copyOf('x', 'x-1: 10.96.0.1')] } },
      zone: ['web.shop A 10.96.0.1', srv],
      clusters: 'b x',
    },
  ]);
});

// Properties

const ids = ['a', 'b', 'c', 'd'];
const podText = fc
  .tuple(
    fc.constantFrom('', 'web-0 ', 'web-1 '),
    fc.integer({ min: 1, max: 4 }),
    fc.constantFrom('', ' notready'),
    fc.constantFrom('', ' uid=u1', ' uid=u2'),
  )
  .map(
    ([host, n, ready, uid]) =>
      (family: string) =>
        `${host}${family === 'IPv6' ? `fd00::${n}` : `10.0.0.${n}`}${uid}${ready}`,
  );
const sliceArbitrary = fc
  .tuple(
    fc.constantFrom('native', 'own', 'a', 'b', 'c', 'd', 'x', ''),
    fc.constantFrom('IPv4', 'IPv6', 'FQDN'),
    fc.constantFrom('', 'http 80', 'http 8080', 'dns/udp 53, http 80, dns/udp 53', ' 80, dns 53'),
    fc.array(podText, { maxLength: 3 }),
  )
  .map(([source, family, portText, pods]) => (cluster: string, i: number): EndpointSlice => {
    const text = `s${i}|${family}|${portText}: ${pods.map((of) => of(family)).join(', ')}`;
    return source === 'native' ? native(text) : copyOf(source === 'own' ? cluster : source, text);
  });
const holdsArbitrary = fc.record({
  imports: fc.option(
    fc.record({
      type: fc.constantFrom('ClusterSetIP' as const, 'Headless' as const, 'Headless' as const),
      ips: fc.constantFrom([], [], ['10.1.1.1'], ['10.1.1.2'], ['10.1.1.2', '10.1.1.1'], ['10.1.1.1', '10.1.1.2']),
      ipsFromSlices: fc.boolean(),
      createdSeconds: fc.constantFrom(1, 2, Infinity),
      ports: fc.constantFrom('', 'http 80', 'http 8080, dns 53', ' 1').map(ports),
    }),
  ),
  exports: fc.constantFrom(undefined, undefined, 'valid' as const, 'valid' as const, 'invalid' as const),
  slices: fc.array(sliceArbitrary, { maxLength: 3 }),
  precedence: fc.constantFrom(Infinity, 1),
  endpointsFrom: fc.constantFrom('auto' as const, 'auto' as const, 'native' as const, 'mirrored' as const),
  speaksFor: fc.constantFrom(undefined, undefined, ['x'], []),
  drained: fc.constantFrom(false, false, false, true),
  exporting: fc.constantFrom(undefined, true),
});
const fleetArbitrary = fc.tuple(...ids.map(() => holdsArbitrary)).map((members): Fleet => {
  const fleet: Record<string, Holds> = {};
  members.forEach(({ imports, exports, slices, exporting, ...settings }, i) => {
    const id = ids[i]!;
    fleet[id] = {
      ...settings,
      ...(imports && { imports }),
      ...(exports && { exports }),
      ...(exporting && { exporting }),
      slices: slices.map((of, n) => of(id, n)),
    };
  });
  return fleet;
});

void t.test('the order of clusters, slices and endpoints is without effect', async (t) => {
  const shuffle = <T>(items: readonly T[], random: () => number): T[] =>
    items
      .map((item) => ({ item, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  fc.assert(
    fc.property(fleetArbitrary, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (fleet, numbers) => {
      const clusters = Object.entries(fleet).map(clusterObjects);
      const policy = policyOf(fleet);
      const random = (): number => numbers.next().value as number;
      const shuffled = shuffle(clusters, random).map((holds) => ({
        ...holds,
        slices: shuffle(holds.slices, random).map((each) => ({ ...each, endpoints: shuffle(each.endpoints, random) })),
      }));
      const service = mergeService({ ...at, clusters }, policy);
      const again = mergeService({ ...at, clusters: shuffled }, policy);
      return JSON.stringify(service) === JSON.stringify(again) && isMerged(service);
    }),
    { numRuns: 1000 },
  );
  t.pass('1000 fleets');
});

/** The invariants that MergedService and MergedEndpoint state. */
function isMerged(service: MergedService | undefined): boolean {
  if (service === undefined) return true;
  const { type, endpoints, addresses, ports, clusters } = service;
  const identities = endpoints.map(({ cluster, host, address }) => [cluster, host, address].join(' '));
  const noRepeats = (items: readonly unknown[]): boolean => new Set(items).size === items.length;
  return (
    (type === 'Headless' ? addresses.length + ports.length === 0 : endpoints.length === 0) &&
    [identities, addresses, clusters, ports.map(({ name, protocol }) => protocol + name)].every(noRepeats) &&
    endpoints.every(({ cluster }) => clusters.includes(cluster)) &&
    endpoints.every((endpoint) => endpoint.ports.every(({ name }) => name !== '')) &&
    endpoints.every((endpoint) => noRepeats(endpoint.ports.map((port) => Object.values(port).join(' '))))
  );
}

void t.test('mirroring slices into further clusters never changes the result', async (t) => {
  let mirrored = 0;
  const property = fc.property(
    fleetArbitrary,
    fc.constantFrom(...ids, 'x'),
    fc.constantFrom(...ids),
    (fleet, source, into) => {
      fc.pre(source !== into);
      const clusters = Object.entries(fleet).map(clusterObjects);
      const policy = policyOf(fleet);
      const leftOut = new Set<string>();
      const service = mergeService({ ...at, clusters }, policy, (told: Decision) => {
        if (told.decision === 'slice-left-out') leftOut.add(told.cluster + ' ' + told.slice);
      });
      const copies = clusters.flatMap(({ cluster, slices }) =>
        slices
          .filter((each) => (each.form === 'native' ? cluster : each.sourceCluster) === source)
          .filter((each) => !leftOut.has(cluster + ' ' + each.name))
          .map((each) => ({
            ...each,
            name: `${source}-${cluster}-${each.name}`,
            form: 'mirrored' as const,
            sourceCluster: source,
          })),
      );
      mirrored += copies.length;
      const further = clusters.map((holds) =>
        holds.cluster === into ? { ...holds, slices: [...copies, ...holds.slices] } : holds,
      );
      const again = mergeService({ ...at, clusters: further }, policy);
      return JSON.stringify(service) === JSON.stringify(again);
    },
  );
  fc.assert(property, { numRuns: 2000 });
  t.ok(mirrored > 50, `${mirrored} slices mirrored`);
});

void t.test('time grows with the number of endpoints, not with its square', async (t) => {
  const fleetOf = (slices: number): Fleet => ({
    a: {
      imports: headless(),
      exports: 'valid',
      slices: Array.from({ length: slices }, (_, i) =>
        native(
          `s${i}|IPv4|http 80: ${Array.from({ length: 100 }, (_, n) => `10.${i >> 8}.${i & 255}.${n}`).join(', ')}`,
        ),
      ),
    },
  });
  const milliseconds = (slices: number): number => {
    const fleet = fleetOf(slices);
    const objects = { ...at, clusters: Object.entries(fleet).map(clusterObjects) };
    const policy = policyOf(fleet);
    const runs = Array.from({ length: 15 }, () => {
      const start = performance.now();
      mergeService(objects, policy);
      return performance.now() - start;
    });
    return Math.min(...runs);
  };
  milliseconds(160);
  const few = milliseconds(20);
  const many = milliseconds(160);
  t.ok(many / few < 32, `8 times the endpoints took ${(many / few).toFixed(1)} times as long (${many.toFixed(1)} ms)`);
});
