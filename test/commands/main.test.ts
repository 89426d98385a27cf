// The command as it is typed: what each flag accepts, and that every refusal is one line and exit code 2.
import { spawn } from 'node:child_process';
import path from 'node:path';
import t from 'tap';
import { parseCheckFlags, parseDumpFlags, parseServeFlags } from '../../src/config.ts';
import { processors } from '../../src/processors.ts';

const bin = path.join(import.meta.dirname, '../../bin/clusterset-dns.js');

function run(argv: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [bin, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { stdout: '', stderr: '' };
    child.stdout.on('data', (text: Buffer) => (said.stdout += text.toString()));
    child.stderr.on('data', (text: Buffer) => (said.stderr += text.toString()));
    child.on('close', (code) => resolve({ code, ...said }));
  });
}

const serve = ['serve', '--lab', 'lab'];

// [argv, what the one line on stderr is after `clusterset-dns: `]; each ends with exit code 2 and says nothing on stdout.
const REFUSED: readonly (readonly [argv: readonly string[], line: string | RegExp])[] = [
  [
    ['serve'],
    '--config: a source of clusters is needed: --config FILE, --lab DIR, --kubeconfig FILE, --context NAME, --all-contexts or --in-cluster',
  ],
  [[...serve, '--config', 'x'], '--lab: is not for use with --config, whose file names the clusters'],
  [
    ['serve', '--config', 'x', '--in-cluster'],
    '--in-cluster: is not for use with --config, whose file names the clusters',
  ],
  [['serve', '--context', 'a', '--all-contexts'], '--all-contexts: is not for use with --context, which chooses some'],
  [
    ['serve', '--context', 'admin@b'],
    `--context: "admin@b" is no cluster id (DNS labels): give it one with --context 'admin@b=CLUSTER-ID'`,
  ],
  [['serve', '--in-cluster', 'Prod_EU'], '--in-cluster: "Prod_EU" is not a cluster id (DNS labels)'],
  [['serve', '--kubeconfig'], "option '--kubeconfig <FILE>' argument missing"],
  [['serve', '--state-dir', '', '--lab', 'x'], '--state-dir: "" is not the path of a folder'],
  [['check', '--config', 'x'], "unknown option '--config'"],
  [['check'], /^--lab: a source of clusters is needed/],
  [['dump'], /^--lab: a source of clusters is needed/],
  [['serve', '--lab'], "option '--lab <DIR>' argument missing"],
  [['serve', '--lsten', 'x'], "unknown option '--lsten' (Did you mean --listen?)"],
  [['serv'], "unknown command 'serv' (Did you mean serve?)"],
  [['--nope'], "unknown option '--nope'"],
  [[...serve, 'extra'], /^too many arguments for 'serve'/],
  [[...serve, '--ttl', '1h\nx'], '--ttl: "1h\\nx" is not a number of seconds from 0 to 3600'],
  [[...serve, '--admin', 'on'], /^--admin: "on" is not ADDR:PORT with an IP address, .*, nor off$/],
  [['dump', '--lab', 'x', '--zone', '.'], '--zone: "." is not a DNS name, such as clusterset.local'],
  [['check', '--lab', 'x', '-o', 'xml'], '--output: "xml" is not one of text, json'],
  [['query'], 'a name to ask for is needed: clusterset-dns query NAME [TYPE]'],
  [['query', 'a', '+nope'], /^\+nope: not a word of query/],
  [['query', 'a', '-p', 'x'], '--port: "x" is not a number from 1 to 65535'],
];

t.test('refused, through the command itself', async (t) => {
  for (const [argv, line] of REFUSED) {
    const { code, stdout, stderr } = await run(argv);
    t.equal(code, 2, argv.join(' '));
    t.equal(stdout, '');
    t.match(stderr, /^clusterset-dns: [^\n]+\n$/, 'one line');
    const said = stderr.slice('clusterset-dns: '.length, -1);
    if (typeof line === 'string') t.equal(said, line);
    else t.match(said, line);
  }
});

t.test('answered', async (t) => {
  for (const [argv, code, stdout, stderr] of [
    [['--version'], 0, /^clusterset-dns \d+\.\d+\.\d+( \(commit [0-9a-f]{12}\))?, Node v[0-9.]+\n$/, /^$/],
    [['--help'], 0, /Commands:\n +serve[^]*Examples:\n +\$ clusterset-dns serve/, /^$/],
    [[], 2, /^$/, /^Usage: clusterset-dns/],
    ...['serve', 'check', 'query', 'dump'].map(
      (name) =>
        [[name, '--help'], 0, new RegExp(`^Usage: clusterset-dns ${name} [^]*Examples:\n  \\$ `), /^$/] as const,
    ),
    [['help', 'serve'], 0, /--lameduck/, /^$/],
    [['query', '@127.0.0.1#1', 'a', '+tries=1'], 1, /connection refused\n;; no servers could be reached\n$/, /^$/],
  ] as const) {
    const found = await run(argv);
    t.equal(found.code, code, argv.join(' '));
    t.match(found.stdout, stdout);
    t.match(found.stderr, stderr);
  }
});

const around = { stderrIsTerminal: false, processors: 8 };

t.test('what serve runs with', async (t) => {
  const config = parseServeFlags({ lab: 'lab' }, around);
  t.strictSame(config, {
    configFile: undefined,
    lab: 'lab',
    clusters: { kubeconfig: undefined, inCluster: undefined, entries: [], defaults: {}, overrides: [] },
    zone: 'clusterset.local',
    ttlSeconds: 5,
    negativeTtlSeconds: 5,
    listen: [{ host: '127.0.0.1', port: 1053, family: 4 }],
    admin: { host: '127.0.0.1', port: 9153 },
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
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.listen[0]) && Object.isFrozen(config.log));
  t.strictSame(parseDumpFlags({ lab: 'x', ttl: '9' }), {
    zone: 'clusterset.local',
    ttl: 9,
    negativeTtl: 5,
    lab: 'x',
    output: 'text',
  });
  t.strictSame(parseCheckFlags({ lab: 'x', strict: true }), { lab: 'x', strict: true, output: 'text' });

  for (const [flags, wanted] of [
    [{ zone: 'ClusterSet.Local.' }, { zone: 'clusterset.local' }],
    [{ zone: '_x.a-b' }, { zone: '_x.a-b' }],
    [
      { ttl: '0', negativeTtl: '3600' },
      { ttlSeconds: 0, negativeTtlSeconds: 3600 },
    ],
    [{ admin: 'off' }, { admin: undefined }],
    [{ admin: '[::]:0' }, { admin: { host: '::', port: 0 } }],
    [{ workers: '32' }, { workers: 32 }],
    [{ lameduck: '0' }, { lameduckMillis: 0 }],
    [{ lameduck: '500ms' }, { lameduckMillis: 500 }],
    [{ lameduck: '10m' }, { lameduckMillis: 600_000 }],
    [{ stateDir: '/var/lib/x' }, { stateDir: '/var/lib/x' }],
    [{ logLevel: 'debug', logFormat: 'text' }, { log: { level: 'debug', format: 'text' } }],
    [
      { listen: ['0.0.0.0:53', '[FD00::1]:53', '[0:0:0:0:0:0:0:0]:53', '127.0.0.1:0', '127.0.0.1:0'] },
      {
        listen: [
          { host: '0.0.0.0', port: 53, family: 4 },
          { host: 'fd00::1', port: 53, family: 6 },
          { host: '::', port: 53, family: 6 },
          { host: '127.0.0.1', port: 0, family: 4 },
          { host: '127.0.0.1', port: 0, family: 4 },
        ],
      },
    ],
  ] as const) {
    const found = parseServeFlags({ lab: 'lab', ...flags }, around) as unknown as Record<string, unknown>;
    for (const [key, value] of Object.entries(wanted)) t.strictSame(found[key], value, JSON.stringify(flags));
  }
  t.equal(parseServeFlags({ lab: 'x' }, { stderrIsTerminal: true, processors: 1 }).log.format, 'text');
  t.equal(parseServeFlags({ lab: 'x' }, { stderrIsTerminal: true, processors: 1 }).workers, 1);
});

t.test('clusters by flags', async (t) => {
  const arn = 'arn:aws:eks:eu-west-1:123456789012:cluster/prod';
  const none = { kubeconfig: undefined, inCluster: undefined, entries: [], defaults: {}, overrides: [] };
  const context = (...names: string[]): unknown =>
    parseServeFlags({ context: names }, around).clusters.kubeconfig?.contexts;
  for (const [flags, kubeconfig, inCluster] of [
    [{ kubeconfig: 'f' }, { file: 'f', contexts: 'current' }],
    [{ allContexts: true }, { file: undefined, contexts: 'all' }],
    [
      { kubeconfig: 'f', context: ['a'] },
      { file: 'f', contexts: [{ name: 'a', id: undefined }] },
    ],
    [{ inCluster: true }, undefined, { id: undefined, own: {} }],
    [{ inCluster: 'Cluster-A' }, undefined, { id: 'cluster-a', own: {} }],
    [
      { inCluster: true, allContexts: true },
      { file: undefined, contexts: 'all' },
      { id: undefined, own: {} },
    ],
  ] as const) {
    for (const lab of [{}, { lab: 'x' }]) {
      const config = parseServeFlags({ ...flags, ...lab }, around);
      t.strictSame(config.clusters, { ...none, kubeconfig, inCluster }, JSON.stringify(flags));
      t.strictSame(
        config.listen.map(({ host, port, family }) => `${host} ${port} ${family}`),
        ['0.0.0.0 1053 4', ':: 1053 6'],
      );
      t.strictSame(config.admin, { host: '0.0.0.0', port: 9153 });
    }
  }
  t.strictSame(context('Kind-A', 'b.c'), [
    { name: 'Kind-A', id: undefined },
    { name: 'b.c', id: undefined },
  ]);
  t.strictSame(context(`${arn}=Prod`, 'a=b=c', 'k=v@x=y', 'b='.concat('d.e')), [
    { name: arn, id: 'prod' },
    { name: 'a=b', id: 'c' },
    { name: 'k=v@x', id: 'y' },
    { name: 'b', id: 'd.e' },
  ]);
  for (const [flags, message] of [
    [
      { context: [arn] },
      `--context: ${JSON.stringify(arn.slice(0, 40) + '…')} is no cluster id (DNS labels): give it one with --context '${arn}=CLUSTER-ID'`,
    ],
    [
      { context: ["it's"] },
      `--context: "it's" is no cluster id (DNS labels): give it one with --context 'it'\\''s=CLUSTER-ID'`,
    ],
    [
      { context: ['a=Prod_EU'] },
      `--context: "a=Prod_EU" is no cluster id (DNS labels): give it one with --context 'a=Prod_EU=CLUSTER-ID'`,
    ],
    [{ context: [''] }, '--context: "" is no name of a context'],
    [{ context: ['=b'] }, '--context: "=b" is no name of a context'],
    [{ context: ['a', 'a=b'] }, '--context: a is given twice'],
    [{ context: ['a', 'b=A'] }, '--context: the cluster id a is given twice'],
    [{ context: ['a'], inCluster: 'a' }, '--in-cluster: the cluster id a is that of a --context already'],
    [{ config: 'c', kubeconfig: 'f' }, '--kubeconfig: is not for use with --config, whose file names the clusters'],
    [{ config: 'c', context: ['f'] }, '--context: is not for use with --config, whose file names the clusters'],
    [{ config: 'c', allContexts: true }, '--all-contexts: is not for use with --config, whose file names the clusters'],
    [{ lab: 'x', listen: ['127.0.0.1:9153'] }, '--admin: 127.0.0.1:9153 is a listen address already'],
    [{ lab: 'x', listen: ['127.0.0.1:1', '127.0.0.1:1'] }, '--listen: 127.0.0.1:1 is given twice'],
  ] as const) {
    t.throws(() => parseServeFlags(flags, around), { name: 'UsageError', message }, message);
  }
});

t.test('what no flag takes', async (t) => {
  const wrong: Readonly<Record<string, readonly (string | readonly string[])[]>> = {
    zone: ['', '.', 'a..b', '.a', 'a b', '-a', 'a-', 'é', 'x'.repeat(64), 'x.'.repeat(127) + 'x', 'a\n'],
    ttl: ['', '-1', '3601', '1e3', '0x1', ' 1', '1.5', '5s'],
    'negative-ttl': ['3601'],
    listen: [
      ['localhost:53'],
      [':53'],
      ['1.2.3.4'],
      ['1.2.3.4:'],
      ['1.2.3:53'],
      ['::1:53'],
      ['[::1]'],
      ['[1.2.3.4]:53'],
      ['1.2.3.4:65536'],
      ['010.0.0.1:53'],
      ['1.2.3.4:53', '1.2.3.4:53'],
      ['1.2.3.4:53', 'x'],
    ],
    admin: ['', 'OFF', '9153', 'localhost:9153', '127.0.0.1:1053'],
    workers: ['0', '33', 'auto'],
    udp: ['', 'AUTO', 'epoll'],
    lameduck: ['', '5', '-5s', '1h', '11m', '1.5s', 's'],
    'log-level': ['trace', ''],
    'log-format': ['yaml'],
    'state-dir': ['', 'a\0b'],
    kubeconfig: [''],
    'in-cluster': ['', 'a_b', 'a..b', '-a'],
    lab: ['', 'a\0b'],
    nope: ['x'],
  };
  for (const [flag, values] of Object.entries(wrong)) {
    const key = flag.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    for (const value of values) {
      const refusal = { name: 'UsageError', message: new RegExp(flag === 'nope' ? 'nope' : `^--${flag}: [^\n]+$`) };
      t.throws(() => parseServeFlags({ lab: 'lab', [key]: value }, around), refusal, `--${flag} ${String(value)}`);
    }
  }
});

t.test('processors of a cgroup', async (t) => {
  const all = processors(() => undefined);
  for (const [what, files, wanted] of [
    ['no quota', { '/sys/fs/cgroup/cpu.max': 'max 100000\n' }, all],
    ['half a processor', { '/sys/fs/cgroup/cpu.max': '50000 100000\n' }, 1],
    ['one and a half', { '/sys/fs/cgroup/cpu.max': '150000 100000\n' }, 1],
    ['more than there are', { '/sys/fs/cgroup/cpu.max': '99900000 100000\n' }, all],
    [
      'the tightest above it',
      {
        '/proc/self/cgroup': '0::/a/b\n',
        '/sys/fs/cgroup/a/b/cpu.max': '300000 100000\n',
        '/sys/fs/cgroup/a/cpu.max': '100000 100000\n',
      },
      1,
    ],
    [
      'v1',
      { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '100000\n', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' },
      1,
    ],
    [
      'v1 without',
      { '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n', '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' },
      all,
    ],
    [
      'v1 below its root',
      {
        '/proc/self/cgroup': '5:cpu,cpuacct:/docker/x\n3:cpuset:/y\n',
        '/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us': '20000',
        '/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us': '10000',
      },
      Math.min(all, 2),
    ],
    ['nonsense', { '/sys/fs/cgroup/cpu.max': 'x' }, all],
  ] as const) {
    const texts = new Map(Object.entries<string>(files));
    t.equal(
      processors((file) => texts.get(file)),
      wanted,
      what,
    );
  }
});
