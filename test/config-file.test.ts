// The configuration file: what each key makes of the Config, every refusal in its own words and with its line, how
// settings and flags go before each other, and the JSON Schema.
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { restartNeeded, type Config } from '../src/config.ts';
import { matchesPattern, settingsOf } from '../src/config-clusters.ts';
import { readConfig, readConfigFile } from '../src/config-file.ts';
import { configJsonSchema } from '../src/config-schema.ts';
import { defaultSettings } from '../src/k8s/cluster-settings.ts';
import { limits } from '../src/limits.ts';
import { UsageError } from '../src/usage.ts';

const around = { stderrIsTerminal: false, processors: 8 };
const version = 'apiVersion: clusterset-dns/v1\n';
const lab = `${version}lab: x\n`;

const dir = await mkdtemp(path.join(tmpdir(), 'config-'));
t.teardown(() => rm(dir, { recursive: true, force: true }));
const file = path.join(dir, 'config.yaml');

async function read(text: string | Uint8Array, flags: Readonly<Record<string, unknown>> = {}): Promise<Config> {
  await writeFile(file, text);
  return readConfig({ config: file, ...flags }, around);
}

/** The refusal of a text, without the file's own path. */
async function refusal(text: string | Uint8Array, flags: Readonly<Record<string, unknown>> = {}): Promise<string> {
  try {
    await read(text, flags);
  } catch (error) {
    if (error instanceof UsageError) return error.message.replaceAll(dir, '');
    throw error;
  }
  return 'accepted';
}

/** A file with these keys below a good beginning; line 3 is the first of them. */
async function keys(t: Test, text: string, wanted: Partial<Config>): Promise<void> {
  const config = await read(lab + text);
  for (const [key, value] of Object.entries(wanted)) {
    t.strictSame((config as unknown as Record<string, unknown>)[key], value, text);
  }
}

t.test('a file as people write it', async (t) => {
  const config = await read(`apiVersion: clusterset-dns/v1
zone: clusterset.local
ttl: 5
listen: ["0.0.0.0:1053", "[::]:1053"]
clusters:
  - id: cluster-a            # one or two DNS labels, or more, as KEP-2149 allows
    inCluster: true
  - id: cluster-b
    kubeconfig: /etc/clusters/b.yaml
    context: admin@b
  - id: Cluster-C.eu
    manifests: ./lab/cluster-c
    state: active            # drained: its endpoints are out, its imports and view stay
clusterDefaults: {onLoss: hold}
overrides: [{match: "prod-*", required: true}]   # discovered clusters get their policy here
`);
  t.strictSame(config, {
    configFile: file,
    lab: undefined,
    clusters: {
      kubeconfig: undefined,
      inCluster: undefined,
      entries: [
        { id: 'cluster-a', source: { kind: 'in-cluster' }, settings: defaultSettings },
        {
          id: 'cluster-b',
          source: { kind: 'kubeconfig', file: '/etc/clusters/b.yaml', context: 'admin@b' },
          settings: defaultSettings,
        },
        {
          id: 'cluster-c.eu',
          source: { kind: 'manifests', dir: path.join(dir, 'lab/cluster-c') },
          settings: defaultSettings,
        },
      ],
      defaults: { onLoss: 'hold' },
      overrides: [{ match: 'prod-*', required: true }],
    },
    zone: 'clusterset.local',
    ttlSeconds: 5,
    negativeTtlSeconds: 5,
    listen: [
      { host: '0.0.0.0', port: 1053, family: 4 },
      { host: '::', port: 1053, family: 6 },
    ],
    admin: { host: '0.0.0.0', port: 9153 },
    workers: 4,
    udp: 'auto',
    lameduckMillis: 5000,
    log: { level: 'info', format: 'json' },
    stateDir: undefined,
    startupTimeoutMillis: 30_000,
    unknownForMillis: 60_000,
    staleAfterMillis: 60_000,
    addressConflict: 'servfail',
    nameservers: undefined,
  });
  t.ok(Object.isFrozen(config.clusters.entries[2]?.settings) && Object.isFrozen(config.clusters.overrides[0]));
  const json = await read(JSON.stringify({ apiVersion: 'clusterset-dns/v1', lab: '/l', ttl: 7 }));
  t.match(json, { lab: '/l', ttlSeconds: 7, listen: [{ host: '127.0.0.1' }], admin: { host: '127.0.0.1' } });
});

t.test('each key', async (t) => {
  for (const [text, wanted] of [
    ['zone: Fleet.Example.', { zone: 'fleet.example' }],
    ['ttl: 0\nnegativeTtl: 3600', { ttlSeconds: 0, negativeTtlSeconds: 3600 }],
    ['listen: ["[::1]:53"]', { listen: [{ host: '::1', port: 53, family: 6 }] }],
    ['admin: off', { admin: undefined }],
    ['admin: "[::]:0"', { admin: { host: '::', port: 0 } }],
    ['workers: 32\nudp: dgram', { workers: 32, udp: 'dgram' }],
    ['lameduck: 0', { lameduckMillis: 0 }],
    ['lameduck: 500ms', { lameduckMillis: 500 }],
    ['log: {level: debug, format: text}', { log: { level: 'debug', format: 'text' } }],
    ['log: {level: warn}', { log: { level: 'warn', format: 'json' } }],
    ['stateDir: state/../s', { stateDir: path.join(dir, 's') }],
    ['stateDir: /var/lib/x', { stateDir: '/var/lib/x' }],
    ['startupTimeout: 2m', { startupTimeoutMillis: 120_000 }],
    ['unknownFor: 0\nstaleAfter: 1h', { unknownForMillis: 0, staleAfterMillis: 3_600_000 }],
    ['addressConflict: precedence', { addressConflict: 'precedence' }],
    [
      'nameservers: [{name: ns1.Clusterset.local, addresses: ["FD00:0::1", 10.0.0.1]}, {name: ns.example}]',
      {
        nameservers: [
          { name: 'ns1.clusterset.local', addresses: ['fd00::1', '10.0.0.1'] },
          { name: 'ns.example', addresses: [] },
        ],
      },
    ],
    ['', { lab: path.join(dir, 'x'), clusters: { ...(await read(lab)).clusters, entries: [] } }],
  ] as const) {
    await keys(t, text, wanted);
  }
  const { clusters } = await read(`${version}clusters: [{inCluster: true, required: true}]\n`);
  t.strictSame(clusters.inCluster, { id: undefined, own: { required: true } });
  t.strictSame(clusters.entries, []);
  const local = await read(`${lab}clusters: [{id: a, manifests: m}]\n`);
  t.equal(local.listen.length, 1, 'a lab and manifests are asked from here only');
});

t.test('settings: built-in, clusterDefaults, overrides in order, the entry', async (t) => {
  const { clusters } = await read(`${version}
clusterDefaults: {holdFor: 15m, precedence: 5}
overrides:
  - {match: "prod-*", required: true, precedence: 4}
  - {match: "*-eu", onLoss: withdraw, withdrawLast: true, speaksFor: [Old.EU]}
  - {match: prod-x, precedence: 3, endpointsFrom: mirrored}
clusters:
  - {id: prod-x, manifests: a, precedence: 0}
  - {id: prod-eu, manifests: b}
  - {id: dev-eu, manifests: c, onLoss: hold, holdFor: 720h, state: drained, speaksFor: []}
  - {id: dev, manifests: d}
`);
  const base = { ...defaultSettings, holdForMillis: 900_000, precedence: 5 };
  const eu = { onLoss: 'withdraw', holdForMillis: undefined, withdrawLast: true, speaksFor: ['old.eu'] } as const;
  const wanted = {
    'prod-x': { ...base, required: true, precedence: 0, endpointsFrom: 'mirrored' },
    'prod-eu': { ...base, ...eu, required: true, precedence: 4 },
    'dev-eu': { ...base, ...eu, onLoss: 'hold', holdForMillis: 2_592_000_000, state: 'drained', speaksFor: [] },
    dev: base,
  };
  t.strictSame(Object.fromEntries(clusters.entries.map(({ id, settings }) => [id, settings])), wanted);
  t.strictSame(settingsOf(clusters, 'prod-eu'), wanted['prod-eu'], 'of a cluster that is no entry');
  t.strictSame(settingsOf(clusters, 'prod-eu', { required: false }).required, false);
  for (const [pattern, id, is] of [
    ['*', 'a', true],
    ['a', 'a', true],
    ['a', 'ab', false],
    ['a*', 'a', true],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['*b*', 'abc', true],
    ['*-*-eu', 'a-eu', false],
    ['a**c', 'abc', true],
    ['a*b*c', 'a.b.x.c', true],
    ['*a.b', 'aab', false],
  ] as const) {
    t.equal(matchesPattern(pattern, id), is, `${pattern} ${id}`);
  }
  const start = performance.now();
  matchesPattern('*a'.repeat(126), 'a'.repeat(125) + 'b');
  t.ok(performance.now() - start < 100, 'linear');
});

t.test('flags win', async (t) => {
  const text = `${lab}zone: a\nttl: 1\nnegativeTtl: 1\nlisten: ["127.0.0.1:1"]\nadmin: off\nworkers: 1\nudp: dgram
lameduck: 1s\nlog: {level: error, format: text}\nstateDir: s\n`;
  const flags = {
    zone: 'b',
    ttl: '2',
    negativeTtl: '3',
    listen: ['127.0.0.1:2'],
    admin: '127.0.0.1:3',
    workers: '4',
    udp: 'mmsg',
    lameduck: '5s',
    logLevel: 'warn',
    logFormat: 'json',
    stateDir: 'here',
  };
  const wanted = {
    zone: 'b',
    ttlSeconds: 2,
    negativeTtlSeconds: 3,
    listen: [{ host: '127.0.0.1', port: 2, family: 4 }],
    admin: { host: '127.0.0.1', port: 3 },
    workers: 4,
    udp: 'mmsg',
    lameduckMillis: 5000,
    log: { level: 'warn', format: 'json' },
    stateDir: 'here',
  } as const;
  const before = await read(text);
  t.match(await read(text, flags), wanted);
  t.strictSame({ ...(await read(text, flags)), ...before }, before, 'and nothing else is different');
  t.equal(await refusal(text, { admin: '127.0.0.1:1' }), '--admin: 127.0.0.1:1 is a listen address already');
  t.equal(await refusal(text, { lab: 'y' }), '--lab: is not for use with --config, whose file names the clusters');
  t.match(await refusal(text, { ttl: 'x' }), /^--ttl: "x" is not a number/);
  t.strictSame(restartNeeded(before, before), []);
  t.strictSame(restartNeeded(before, await read(text, flags)), [
    'zone',
    'ttl',
    'negativeTtl',
    'listen',
    'admin',
    'workers',
    'udp',
    'lameduck',
    'log',
    'stateDir',
  ]);
  t.strictSame(restartNeeded(before, await read(text.replace('lab: x', 'lab: z'))), ['lab']);
  const other = `${text}nameservers: [{name: x}]\naddressConflict: precedence\nclusterDefaults: {required: true}\n`;
  t.strictSame(restartNeeded(before, await read(other)), ['addressConflict', 'nameservers']);
});

// [keys below `apiVersion` and `lab`, hence from line 3 on; what is said after the file's name]
const REFUSED: readonly (readonly [text: string, said: string])[] = [
  ['zone: "."', ':3: zone: "." is not a DNS name, such as clusterset.local'],
  ['zone: 7', ':3: zone: 7 is no text: write it in quotes'],
  ['ttl: 3601', ':3: ttl: 3601 is not a number of seconds from 0 to 3600'],
  ['ttl: -1', ':3: ttl: -1 is not a number of seconds from 0 to 3600'],
  ['ttl: 1.5', ':3: ttl: 1.5 is not a number of seconds from 0 to 3600'],
  ['ttl: .nan', ':3: ttl: NaN is not a number of seconds from 0 to 3600'],
  ['negativeTtl: 5s', ':3: negativeTtl: "5s" is not a number of seconds from 0 to 3600'],
  ['ttl:', ':3: ttl: is empty: a number of seconds from 0 to 3600'],
  ['listen: "1.2.3.4:53"', ':3: listen: "1.2.3.4:53" is not a list'],
  ['listen: []', ':3: listen: is empty: at least one ADDR:PORT'],
  [
    'listen:\n  - 1.2.3.4:53\n  - localhost:53',
    ':5: listen[1]: "localhost:53" is not ADDR:PORT with an IP address, such as 127.0.0.1:1053 or [::1]:1053, and a port from 0 to 65535',
  ],
  ['listen:\n  - 1.2.3.4:53\n  - 1.2.3.4:53', ':3: listen: 1.2.3.4:53 is given twice'],
  ['listen: ["127.0.0.1:9153"]', ':1: admin: 127.0.0.1:9153 is a listen address already'],
  ['admin: false', ':3: admin: false is no text: write it in quotes'],
  ['workers: 0', ':3: workers: 0 is not a number of threads from 1 to 32'],
  ['workers: "4"', ':3: workers: "4" is not a number of threads from 1 to 32'],
  ['udp: epoll', ':3: udp: "epoll" is not one of auto, mmsg, dgram'],
  ['lameduck: 5', ':3: lameduck: 5 is not a time such as 5s, 500ms or 0, at most 10m'],
  ['lameduck: 11m', ':3: lameduck: "11m" is not a time such as 5s, 500ms or 0, at most 10m'],
  ['log: debug', ':3: log: "debug" is not a mapping of keys'],
  ['log: {level: trace}', ':3: log.level: "trace" is not one of error, warn, info, debug'],
  ['log:\n  levle: info', ':4: log.levle: is no key here; did you mean level?'],
  ['stateDir: ""', ':3: stateDir: "" is not the path of a folder'],
  ['startupTimeout: 2h', ':3: startupTimeout: "2h" is not a time such as 5s, 500ms or 0, at most 1h'],
  ['unknownFor: 1d', ':3: unknownFor: "1d" is not a time such as 5s, 500ms or 0, at most 1h'],
  ['staleAfter: 25h', ':3: staleAfter: "25h" is not a time such as 5s, 500ms or 0, at most 24h'],
  ['addressConflict: both', ':3: addressConflict: "both" is not one of servfail, precedence'],
  ['nameservers: [{addresses: []}]', ':3: nameservers[0].name: is missing: a DNS name, such as clusterset.local'],
  ['nameservers: []', ':3: nameservers: is empty: at least one name'],
  ['nameservers: [{name: a.example, addresses: [x]}]', ':3: nameservers[0].addresses[0]: "x" is not an IP address'],
  [
    'nameservers: [{name: ns.clusterset.local}]',
    ':3: nameservers[0]: ns.clusterset.local is in the zone and needs addresses',
  ],
  ['zoen: x', ':3: zoen: is no key here; did you mean zone?'],
  ['colour:\n  - red', ':3: colour: is no key here'],
  ['<<: {ttl: 5}', ':3: "<<": is no key here'],
  ['allContexts: true', ':3: allContexts: is no key here'],
  ['__proto__: {a: 1}', ':3: __proto__: is no key here'],
  ['zone: a\nttl: 1\nzone: b', ':5: zone: stands twice in one mapping'],
  ['log: {level: info,\n  level: warn}', ':4: level: stands twice in one mapping'],
  ['ttl: 9999\nzoen: x\nudp: y', ':3: ttl: 9999 is not a number of seconds from 0 to 3600'],
  ['zoen: x\nttl: 9999\nudp: y', ':3: zoen: is no key here; did you mean zone?'],
  ['clusters: {a: {}}', ':3: clusters: an object is not a list'],
  ['clusters: [a]', ':3: clusters[0]: "a" is not a mapping of keys'],
  ['clusters:\n  -', ':4: clusters[0]: is empty: a mapping of keys'],
  ['clusters: [{id: a}]', ':3: clusters[0]: has no source: one of inCluster: true, kubeconfig and manifests'],
  ['clusters: [{id: a, inCluster: false}]', ':3: clusters[0].inCluster: false is not true'],
  ['clusters:\n  - manifests: m', ':4: clusters[0].id: is missing: a cluster id (DNS labels)'],
  ['clusters:\n  - {id: a_b, manifests: m}', ':4: clusters[0].id: "a_b" is not a cluster id (DNS labels)'],
  ['clusters: [{id: 007, manifests: m}]', ':3: clusters[0].id: 7 is no text: write it in quotes'],
  [
    'clusters:\n  - id: a\n    kubeconfig: k\n    manifests: m',
    ':6: clusters[0].manifests: is a second source of one cluster, beside kubeconfig',
  ],
  [
    'clusters:\n  - id: a\n    inCluster: true\n    kubeconfig: k',
    ':6: clusters[0].kubeconfig: is a second source of one cluster, beside inCluster',
  ],
  ['clusters: [{id: a, inCluster: true, context: c}]', ':3: clusters[0].context: is for a kubeconfig only'],
  ['clusters: [{id: a, kubeconfig: k, context: ""}]', ':3: clusters[0].context: "" is not the name of a context'],
  [
    'clusters:\n  - {id: a, manifests: m}\n  - {id: A, manifests: n}',
    ':5: clusters[1].id: a is the id of clusters[0] already',
  ],
  [
    'clusters:\n  - {id: a, manifests: m}\n  - {id: b, manifests: ./n/../m}',
    ':5: clusters[1].manifests: clusters[0] is the same cluster',
  ],
  [
    'clusters:\n  - {id: a, kubeconfig: k, context: c}\n  - {id: b, kubeconfig: ./k, context: c}',
    ':5: clusters[1].kubeconfig: clusters[0] is the same cluster',
  ],
  [
    'clusters: [{id: a, inCluster: true},\n  {inCluster: true}]',
    ':4: clusters[1].inCluster: clusters[0] is the same cluster',
  ],
  [
    'clusters:\n  - {id: a, manifests: m}\n  - {id: b, manifests: n,\n     onLos: hold}',
    ':6: clusters[1].onLos: is no key here; did you mean onLoss?',
  ],
  ['clusters: [{id: a, manifests: m, onLoss: keep}]', ':3: clusters[0].onLoss: "keep" is not one of hold, withdraw'],
  [
    'clusters: [{id: a, manifests: m, holdFor: 0}]',
    ':3: clusters[0].holdFor: 0 is not a time such as 5s, 500ms or 15m, at most 720h',
  ],
  [
    'clusters:\n  - id: a\n    manifests: m\n    onLoss: withdraw\n    holdFor: 5m',
    ':7: clusters[0].holdFor: needs onLoss: hold',
  ],
  [
    'clusterDefaults: {onLoss: withdraw}\nclusters: [{id: a, manifests: m, holdFor: 5m}]',
    ':4: clusters[0].holdFor: needs onLoss: hold, and clusterDefaults or overrides say withdraw',
  ],
  ['clusterDefaults: {onLoss: withdraw, holdFor: 5m}', ':3: clusterDefaults.holdFor: needs onLoss: hold'],
  ['clusterDefaults: {state: off}', ':3: clusterDefaults.state: "off" is not one of active, drained'],
  ['clusterDefaults: {required: "yes"}', ':3: clusterDefaults.required: "yes" is not true or false'],
  ['clusterDefaults: {withdrawLast: 1}', ':3: clusterDefaults.withdrawLast: 1 is not true or false'],
  ['clusterDefaults: {precedence: -1}', ':3: clusterDefaults.precedence: -1 is not a whole number from 0 to 1000000'],
  [
    'clusterDefaults: {endpointsFrom: all}',
    ':3: clusterDefaults.endpointsFrom: "all" is not one of auto, native, mirrored',
  ],
  ['clusterDefaults: {speaksFor: [a_]}', ':3: clusterDefaults.speaksFor[0]: "a_" is not a cluster id (DNS labels)'],
  [
    'clusterDefaults: &a {onLos: hold}\noverrides: [*a]',
    ':3: clusterDefaults.onLos: is no key here; did you mean onLoss?',
  ],
  ['clusterDefaults: {id: a}', ':3: clusterDefaults.id: is no key here'],
  ['overrides: [{required: true}]', ':3: overrides[0].match: is missing: a pattern of cluster ids, such as prod-*'],
  ['overrides: [{match: "a?"}]', ':3: overrides[0].match: "a?" is not a pattern of cluster ids, such as prod-*'],
  ['overrides: [{match: a, onLoss: withdraw, holdFor: 1s}]', ':3: overrides[0].holdFor: needs onLoss: hold'],
  ['x: &a [1]\ny: *b', ':4: *b names no anchor before it'],
  ['x: [', ':3: does not parse: Flow sequence in block collection must be sufficiently indented and end with a ]'],
  ['a: b: c', ':3: does not parse: Nested mappings are not allowed in compact mappings'],
  ['? [a]\n: 1', ':3: a key must be a word'],
  ['x: &a [1]\ny: ["b",\n *a]', ':3: x: is no key here'],
  [`x: &a [1]\ny: [${'*a,'.repeat(101)}]`, ':4: has more than 100 aliases'],
  ['---\na: 1', ':3: is a second document: a configuration is one'],
];

t.test('refused keys', async (t) => {
  for (const [text, said] of REFUSED) t.equal(await refusal(`${lab}${text}\n`), `/config.yaml${said}`, text);
});

t.test('refused files', async (t) => {
  const all = 'abcdefgh'.split('');
  const bomb = all.map((key, i) => `${key}: &${key} [${`${i === 0 ? 'x' : `*${all[i - 1]!}`},`.repeat(9)}]\n`).join('');
  for (const [text, said] of [
    ['', ': is empty: it needs apiVersion and clusters'],
    ['# nothing\n---\n', ': is empty: it needs apiVersion and clusters'],
    ['- a\n', ':1: is not a mapping of keys'],
    ['\nhello\n', ':2: is not a mapping of keys'],
    ['lab: x\n', ':1: apiVersion: is missing: clusterset-dns/v1'],
    ['# c\napiVersion: v2\nlab: x\n', ':2: apiVersion: "v2" is not clusterset-dns/v1'],
    [version, ':1: clusters: a source of clusters is needed: clusters, or lab'],
    [`${version}clusters: []\n`, ':2: clusters: a source of clusters is needed: clusters, or lab'],
    [bomb, ':1: does not parse: Excessive alias count indicates a resource exhaustion attack'],
    [Buffer.from([0x61, 0x3a, 0xff, 0xfe]), ': is not UTF-8'],
    [Buffer.alloc(limits.config.fileOctets + 1, '#'), ': is larger than 1 MiB'],
    [`${lab}clusters:\n${'- {}\n'.repeat(200_000)}`, /^\/config.yaml:4: clusters\[0\]: has no source/],
    [`${lab}clusters:\n${'- 1\n'.repeat(200_000)}`, /^\/config.yaml:4: clusters\[0\]: 1 is not a mapping of keys$/],
    [`${lab}x: ${'['.repeat(100_000)}`, /^\/config.yaml:\d+: does not parse: [^\n]+$/],
  ] as const) {
    const found = await refusal(text);
    if (typeof said === 'string') t.equal(found, `/config.yaml${said}`);
    else t.match(found, said);
  }
  const missing = path.join(dir, 'missing');
  await t.rejects(readConfigFile(missing, {}, around), new UsageError(`${missing}: is not there`));
  await t.rejects(readConfigFile(dir, {}, around), new UsageError(`${dir}: is a folder`));
  await t.rejects(readConfigFile('/dev/null', {}, around), new UsageError('/dev/null: is no plain file'));
  t.equal(
    await refusal(`\ufeff${version}`),
    '/config.yaml:1: clusters: a source of clusters is needed: clusters, or lab',
  );
});

t.test('relative paths begin where the file is named, symlinks apart', async (t) => {
  await mkdir(path.join(dir, '..data'), { recursive: true });
  await writeFile(path.join(dir, '..data/c.yaml'), `${lab}clusters: [{id: a, kubeconfig: ../k, context: c}]\n`);
  await symlink('..data/c.yaml', path.join(dir, 'c.yaml'));
  const config = await readConfigFile(path.join(dir, 'c.yaml'), {}, around);
  t.equal(config.lab, path.join(dir, 'x'));
  t.strictSame(config.clusters.entries[0]?.source, {
    kind: 'kubeconfig',
    file: path.join(dir, '../k'),
    context: 'c',
  });
});

t.test('JSON Schema', async (t) => {
  const schema = configJsonSchema();
  t.match(schema, {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    required: ['apiVersion'],
    additionalProperties: false,
    properties: {
      apiVersion: { const: 'clusterset-dns/v1' },
      ttl: { type: 'integer', minimum: 0, maximum: 3600 },
      listen: { type: 'array', items: { type: 'string' } },
      clusters: {
        items: {
          additionalProperties: false,
          properties: { inCluster: { const: true }, onLoss: { enum: ['hold', 'withdraw'] } },
        },
      },
      overrides: { items: { required: ['match'] } },
    },
  });
  const properties = Object.keys(schema['properties'] as object);
  t.strictSame(properties, [
    ...['apiVersion', 'zone', 'ttl', 'negativeTtl', 'listen', 'admin', 'workers', 'udp', 'lameduck', 'log', 'stateDir'],
    ...['lab', 'clusters', 'clusterDefaults', 'overrides', 'startupTimeout', 'unknownFor', 'staleAfter'],
    ...['addressConflict', 'nameservers'],
  ]);
});
