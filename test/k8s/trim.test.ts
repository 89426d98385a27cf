// Raw objects in, trimmed objects and refusals out. An object is written as the YAML that holds it would read; a refusal
// as `path: reason`.
import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { readAddress } from '../../src/k8s/objects/address.ts';
import { limits } from '../../src/limits.ts';
import { PackedSlice } from '../../src/k8s/objects/packed-slice.ts';
import { trimObject } from '../../src/k8s/objects/trim.ts';
import type { TrimDefaults } from '../../src/k8s/objects/trim.ts';

const ADDRESSES: readonly (readonly [text: string, family: 4 | 6 | undefined, canonical: string | null])[] = [
  ['10.0.0.1', undefined, '10.0.0.1'],
  ['240.0.0.1', 4, '240.0.0.1'],
  ['255.255.255.254', 4, '255.255.255.254'],
  ['126.255.255.255', 4, '126.255.255.255'],
  ['223.255.255.255', 4, '223.255.255.255'],
  ['169.253.1.1', 4, '169.253.1.1'],
  ...[
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '127.9.9.9',
    '169.254.169.254',
    '224.0.0.1',
    '239.1.1.1',
    '255.255.255.255',
  ].map((text) => [text, 4, null] as const),
  ...[
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.',
    '.1.2.3',
    '1..2.3',
    '256.1.1.1',
    '010.0.0.1',
    '10.00.0.1',
    '1.2.3.4 ',
  ].map((text) => [text, undefined, null] as const),
  ...[' 1.2.3.4', '0x1.2.3.4', '1.2.3.-4', '١.2.3.4', '1'.repeat(1000), 'not-an-ip'].map(
    (text) => [text, undefined, null] as const,
  ),
  ['10.0.0.1', 6, null],
  ['fd00::1', 4, null],
  ['2001:DB8:0:0:1:0:0:1', 6, '2001:db8::1:0:0:1'],
  ['2001:0db8::0001', undefined, '2001:db8::1'],
  ['2001:db8:0:1:1:1:1:1', 6, '2001:db8:0:1:1:1:1:1'],
  ['2001:db8::1:1:1:1:1', 6, '2001:db8:0:1:1:1:1:1'],
  ['1:2:3:4:5:6:7::', 6, '1:2:3:4:5:6:7:0'],
  ['1::', 6, '1::'],
  ['::2', 6, '::2'],
  ['fd00::10.1.2.3', 6, 'fd00::a01:203'],
  ['64:ff9b::10.1.2.3', 6, '64:ff9b::a01:203'],
  ...['::', '::1', '0:0:0:0:0:0:0:1', 'fe80::1', 'febf::1', 'ff02::1', '::ffff:10.0.0.7', '::ffff:a00:7'].map(
    (text) => [text, 6, null] as const,
  ),
  ...['64:ff9b::127.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b::', 'fe80::1%eth0', ':', ':::', '1:', ':1', '1::2::3'].map(
    (text) => [text, 6, null] as const,
  ),
  ...['1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7:8::', '12345::', 'g::', '1:2:3:4:5:6:7:1.2.3.4'].map(
    (text) => [text, 6, null] as const,
  ),
  ['::1.2.3.4.5', 6, null],
  ['1.2.3.4::', 6, null],
];

t.test('addresses', async (t) => {
  for (const [text, family, canonical] of ADDRESSES) {
    const read = readAddress(text, family);
    t.equal(typeof read === 'string' ? read : null, canonical, `${text.slice(0, 50)} as ${family ?? 'either'}`);
  }
});

t.test('addresses agree with node:net and new URL()', async (t) => {
  const noise = fc.string({ unit: fc.constantFrom('0', '1', '2', '9', 'a', 'F', ':', '::', '.', '255', 'ffff', '%') });
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.ipV6(), noise), (text) => {
      const read = readAddress(text);
      if (typeof read === 'string') {
        if (isIPv4(text)) return read === text;
        return isIPv6(text) && new URL(`http://[${text}]`).hostname === `[${read}]`;
      }
      const isSyntax = /is not an IP|leading zero/.test(read.refused);
      return isSyntax === !(isIPv4(text) || isIPv6(text)) || text.includes('%');
    }),
    { numRuns: 5000 },
  );
  t.pass();
});

const CREATED = '2026-03-02T09:14:00Z';

function serviceImport(fields: object, metadata: object = {}, apiVersion = 'multicluster.x-k8s.io/v1beta1'): object {
  return { apiVersion, kind: 'ServiceImport', metadata: { namespace: 'shop', name: 'web', ...metadata }, ...fields };
}

function slice(fields: object, labels: object = {}, metadata: object = {}): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'db',
      name: 'mysql.x-1',
      labels: { 'kubernetes.io/service-name': 'mysql', ...labels },
      ...metadata,
    },
    addressType: 'IPv4',
    ports: null,
    endpoints: [],
    ...fields,
  };
}

const IMPORT = {
  namespace: 'shop',
  name: 'web',
  type: 'ClusterSetIP',
  ips: [],
  ports: [],
  createdSeconds: Infinity,
  ipsFromSlices: false,
};
const SLICE = {
  namespace: 'db',
  name: 'mysql.x-1',
  service: 'mysql',
  form: 'native',
  sourceCluster: '',
  addressType: 'IPv4',
  ports: [],
  endpoints: [],
};
const ENDPOINT = { addresses: ['10.0.0.1'], hostname: '', ready: true, uid: '' };
const MIRROR = { 'multicluster.kubernetes.io/service-name': 'mysql' };
const SOURCE = 'multicluster.kubernetes.io/source-cluster';
const KARMADA = { 'endpointslice.kubernetes.io/managed-by': 'endpointslice-dispatch-controller.karmada.io' };

/** The raw object; what it becomes (null: ignored); the beginnings of its refusals. */
const CASES: Readonly<Record<string, readonly [raw: unknown, object: object | null, refusals?: readonly string[]]>> = {
  'a whole import': [
    serviceImport(
      {
        spec: {
          type: 'ClusterSetIP',
          ips: ['10.0.0.1', 'FD00::1'],
          ports: [
            { name: 'HTTP', port: 80 },
            { port: 53, protocol: 'UDP' },
            { name: 'x', protocol: 'sctp', port: 1 },
          ],
        },
      },
      { creationTimestamp: CREATED },
    ),
    {
      ...IMPORT,
      ips: ['10.0.0.1', 'fd00::1'],
      ports: [
        { name: 'http', protocol: 'tcp', port: 80 },
        { name: '', protocol: 'udp', port: 53 },
        { name: 'x', protocol: 'sctp', port: 1 },
      ],
      createdSeconds: Date.UTC(2026, 2, 2, 9, 14) / 1000,
    },
  ],
  'what a CRD lets through': [
    serviceImport(
      {
        spec: {
          type: 'ClusterSetIP',
          ips: ['not-an-ip', '::ffff:10.0.0.7', '10.9.9.9'],
          ports: [
            ...[0, 70000, NaN, -1, 1.5, '8080', null, undefined].map((port) => ({ name: 'p', port })),
            { name: 'HTTP_x.y', port: 80 },
            { name: 'a'.repeat(63), port: 80 },
            { name: 'ok', port: 80, protocol: 'ICMP' },
            7,
            { name: '__proto__', port: 80 },
            { name: 'constructor', port: 80 },
          ],
        },
      },
      { creationTimestamp: 'yesterday' },
    ),
    { ...IMPORT, ports: [{ name: 'constructor', protocol: 'tcp', port: 80 }] },
    [
      'spec,ips,2: only the first 2',
      'spec,ips,0: "not-an-ip" is not an IP',
      'spec,ips,1: "::ffff:10.0.0.7" is an IPv4-mapped',
      ...['0', '70000', 'NaN', '-1', '1.5', '"8080"', 'null', 'nothing'].map(
        (v, i) => `spec,ports,${i},port: ${v} is not`,
      ),
      'spec,ports,8,name: "HTTP_x.y" is not a DNS label',
      'spec,ports,9,name: "aaa',
      'spec,ports,10,protocol: "ICMP" is not TCP',
      'spec,ports,11: 7 is not a port',
      'spec,ports,12,name: "__proto__"',
      'metadata,creationTimestamp: "yesterday"',
    ],
  ],
  'wrong shapes': [
    serviceImport({ spec: { type: 'Headless', ips: 'x', ports: {} } }),
    { ...IMPORT, type: 'Headless' },
    ['spec,ips: "x" is not a list', 'spec,ports: an object is not a list'],
  ],
  'a Headless import with an address': [
    serviceImport({ spec: { type: 'Headless', ips: ['10.0.0.1'] } }),
    { ...IMPORT, type: 'Headless' },
    ['spec,ips,0: a Headless service'],
  ],
  'an address twice': [
    serviceImport({ spec: { type: 'ClusterSetIP', ips: ['fd00::1', 'fd00:0::1'] } }),
    { ...IMPORT, ips: ['fd00::1'] },
  ],
  'GKE, fields at the root': [
    serviceImport({ type: 'ClusterSetIP', ips: ['10.0.0.1'] }, {}, 'net.gke.io/v1'),
    { ...IMPORT, ips: ['10.0.0.1'] },
  ],
  'Azure, fields in status': [
    serviceImport(
      { spec: {}, status: { type: 'Headless', ports: [{ name: 'a', port: 1 }] } },
      {},
      'networking.fleet.azure.com/v1alpha1',
    ),
    { ...IMPORT, type: 'Headless', ports: [{ name: 'a', protocol: 'tcp', port: 1 }] },
  ],
  'Submariner, aggregated': [
    serviceImport(
      { spec: { type: 'ClusterSetIP' } },
      { annotations: { 'lighthouse.submariner.io/is-headless': 'false' } },
    ),
    { ...IMPORT, ipsFromSlices: true },
  ],
  'Submariner, one a cluster': [
    serviceImport(
      { spec: { type: 'ClusterSetIP' } },
      { labels: { 'lighthouse.submariner.io/sourceNamespace': 'shop' } },
    ),
    null,
  ],
  'an unknown type': [serviceImport({ spec: { type: 'constructor' } }), null, ['spec,type: "constructor" is not']],
  'a name with a dot': [serviceImport({ spec: { type: 'Headless' } }, { name: 'a.b' }), null, ['metadata,name: "a.b"']],
  'a long name': [serviceImport({}, { name: 'a'.repeat(64) }), null, ['metadata,name: "aaa']],
  'no namespace': [serviceImport({}, { namespace: null }), null, ['metadata,namespace: nothing']],
  'a version nobody knows': [serviceImport({}, {}, 'multicluster.x-k8s.io/v9'), null, ['apiVersion: ']],
  'another group': [serviceImport({}, {}, 'example.com/v1'), null],
  'a plain Service': [{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web', namespace: 'shop' } }, null],
  'no object at all': [null, null],
  'a list': [[], null],
  '__proto__ from JSON': [JSON.parse('{"__proto__": {"kind": "ServiceImport"}}'), null],
  'a slice': [
    slice({
      ports: [
        { name: '', port: 3306, protocol: 'TCP' },
        { name: 'all', port: null },
        { name: 'zero', port: 0 },
      ],
      endpoints: [
        {
          addresses: ['10.0.0.1', '10.0.0.2'],
          hostname: 'mysql-0',
          conditions: { ready: true },
          targetRef: { uid: 'u-0' },
        },
        { addresses: ['10.0.0.1'], conditions: { ready: null } },
        { addresses: ['10.0.0.1'], conditions: { ready: false, serving: true } },
        { addresses: ['10.0.0.1'], conditions: { ready: 'yes' } },
        { addresses: ['10.0.0.1'], conditions: true },
        { addresses: ['10.0.0.1'], hostname: 'MySQL-0' },
        { addresses: ['10.0.0.1'], hostname: 'a.b', targetRef: null },
        { addresses: ['10.0.0.1', '127.0.0.1', 'fd00::1', 10] },
        { addresses: ['0.0.0.0'] },
        {},
        null,
      ],
    }),
    {
      ...SLICE,
      ports: [{ name: '', protocol: 'tcp', port: 3306 }],
      endpoints: [
        { addresses: ['10.0.0.1', '10.0.0.2'], hostname: 'mysql-0', ready: true, uid: 'u-0' },
        ENDPOINT,
        { ...ENDPOINT, ready: false },
        { ...ENDPOINT, ready: false },
        { ...ENDPOINT, ready: false },
        ENDPOINT,
        ENDPOINT,
        ENDPOINT,
      ],
    },
    [
      'ports,2,port: 0 is not',
      'endpoints,3,conditions,ready: "yes"',
      'endpoints,4,conditions: true is not an object',
      'endpoints,5,hostname: "MySQL-0" is not',
      'endpoints,6,hostname: "a.b" is not',
      'endpoints,7,addresses,1: "127.0.0.1" is a loopback',
      'endpoints,7,addresses,2: "fd00::1" is not an IPv4',
      'endpoints,7,addresses,3: 10 is not',
      'endpoints,8,addresses,0: "0.0.0.0" lies in',
      'endpoints,9,addresses: no address',
      'endpoints,10: null is not',
    ],
  ],
  'an IPv6 slice, no conditions': [
    slice({ addressType: 'IPv6', endpoints: [{ addresses: ['FD00:0::1'], conditions: null }] }),
    { ...SLICE, addressType: 'IPv6', endpoints: [{ ...ENDPOINT, addresses: ['fd00::1'] }] },
  ],
  'endpoints null': [slice({ endpoints: null }), SLICE],
  'an FQDN slice': [
    slice({ addressType: 'FQDN', endpoints: [{ addresses: ['example.com'] }] }),
    { ...SLICE, addressType: 'FQDN' },
    ['addressType: an FQDN slice'],
  ],
  'an unknown addressType': [slice({ addressType: 'IPv5' }), null, ['addressType: "IPv5"']],
  'a slice of no service': [slice({}, { 'kubernetes.io/service-name': undefined }), null],
  'a service that is no label': [
    slice({}, { 'kubernetes.io/service-name': 'a.b' }),
    null,
    ['metadata,labels,kubernetes.io/service-name'],
  ],
  mirrored: [slice({}, { ...MIRROR, [SOURCE]: 'Prod.EU' }), { ...SLICE, form: 'mirrored', sourceCluster: 'prod.eu' }],
  'mirrored, bad source': [
    slice({}, { ...MIRROR, [SOURCE]: 'Prod_EU.x' }),
    { ...SLICE, form: 'mirrored' },
    [`metadata,labels,${SOURCE}: "Prod_EU.x"`],
  ],
  'mirrored, empty source': [
    slice({}, { ...MIRROR, [SOURCE]: '' }),
    { ...SLICE, form: 'mirrored' },
    [`metadata,labels,${SOURCE}: ""`],
  ],
  'mirrored, no source': [slice({}, MIRROR), { ...SLICE, form: 'mirrored' }, [`metadata,labels,${SOURCE}: nothing`]],
  Karmada: [
    slice({}, KARMADA, { annotations: { 'endpointslice.karmada.io/provision-cluster': 'member1' } }),
    { ...SLICE, form: 'mirrored', sourceCluster: 'member1' },
  ],
  'Karmada, no source': [
    slice({}, KARMADA),
    { ...SLICE, form: 'mirrored' },
    ['metadata,annotations,endpointslice.karmada.io'],
  ],
  'an export': [
    { apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceExport', metadata: { namespace: 'a', name: 'b' } },
    { namespace: 'a', name: 'b', valid: true },
  ],
  'an export in conflict': [
    {
      apiVersion: 'net.gke.io/v1',
      kind: 'ServiceExport',
      metadata: { namespace: 'a', name: 'b' },
      status: { conditions: [null, { type: 'Conflict', status: 'True' }, { type: 'Valid', status: 'False' }] },
    },
    { namespace: 'a', name: 'b', valid: false },
  ],
};

/** A slice as the interface shows it, whatever it is kept as. */
function plain(object: object): object {
  return object instanceof PackedSlice ? object.toJSON() : object;
}

t.test('objects', async (t) => {
  for (const [name, [raw, object, refusals = []]] of Object.entries(CASES)) {
    const trimmed = trimObject(raw);
    t.strictSame(trimmed.kind === 'ignored' ? null : plain(trimmed.object), object, name);
    const said = trimmed.refusals.map(({ path, reason }) => `${path.join(',')}: ${reason}`);
    t.strictSame(
      said.map((line, i) => line.slice(0, refusals[i]?.length)),
      refusals,
      `${name}: refusals`,
    );
  }
});

t.test('what stands in for missing fields, and what a store may hold of an ignored object', async (t) => {
  const lack: TrimDefaults = { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', namespace: 'default' };
  const bare = { metadata: { name: 'x', labels: { 'kubernetes.io/service-name': 'y' } }, addressType: 'IPv4' };
  t.match(trimObject(bare, lack), { kind: 'EndpointSlice', object: { namespace: 'default', service: 'y' } });
  const ref = { kind: 'EndpointSlice', namespace: 'default', name: 'x' };
  t.strictSame(trimObject({ metadata: { name: 'x' } }, lack), { kind: 'ignored', ref, refusals: [], moreRefusals: 0 });
});

t.test('refusals and lists are bounded', async (t) => {
  const endpoints = Array.from({ length: 100_000 }, () => ({ addresses: ['127.0.0.1'] }));
  const { refusals, moreRefusals } = trimObject(slice({ endpoints }));
  t.equal(refusals.length, limits.objects.refusals);
  t.equal(moreRefusals, 1000 + 1 - limits.objects.refusals);
});

t.test('nothing throws, and nothing of the raw object is kept', async (t) => {
  const keys = ['type', 'ips', 'ports', 'name', 'port', 'addresses', 'hostname', 'conditions', 'labels', '__proto__'];
  const anything = fc.object({ key: fc.constantFrom(...keys), maxDepth: 3 });
  fc.assert(
    fc.property(fc.boolean(), anything, anything, (isSlice, fields, metadata) => {
      const raw = (isSlice ? slice(fields, {}, metadata) : serviceImport(fields, metadata)) as { spec?: unknown };
      const before = JSON.stringify(trimObject(raw));
      return JSON.stringify(trimObject(deepFreeze(raw))) === before;
    }),
  );
  const raw = slice({ endpoints: [{ addresses: ['10.0.0.1'] }] }) as { endpoints: { addresses: string[] }[] };
  const trimmed = trimObject(raw);
  raw.endpoints[0]!.addresses[0] = 'changed';
  raw.endpoints.length = 0;
  t.match(trimmed, { object: { endpoints: [ENDPOINT] } });
});

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
