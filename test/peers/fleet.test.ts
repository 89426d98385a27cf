/**
 * The story of a fleet, with real API servers and the real server: what is applied is answered; an API server that is
 * gone takes no name with it; it comes back after a compaction, with another token; rights that were withdrawn; a restart
 * while nobody is there to be asked; and a cluster with an etcd of long ago.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { answers, anyOf, Checker } from '../support/checker.ts';
import { ABSENT, EMPTY, withoutDig } from '../support/dig.ts';
import { Etcd, KubeApi, reader } from '../support/kube.ts';
import { readerRole } from '../support/kube-objects.ts';
import { withoutKube } from '../support/peers.ts';
import { boundToken, FleetServer } from './support-fleet.ts';

const Z = 'shop.svc.clusterset.local';
const WEB = `web.${Z}`;
const DB = `db.${Z}`;
/** A forwarder's cache holds an answer for longer than this. */
const SOON_MILLIS = 1_500;
const HEAL_MILLIS = 5_000;
const STALE = 'EDE 3 (Stale Answer)';

const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } };

function serviceImport(name: string, spec: object): object {
  const metadata = { name, namespace: 'shop' };
  return { apiVersion: 'multicluster.x-k8s.io/v1beta1', kind: 'ServiceImport', metadata, spec };
}

function serviceExport(name: string): object {
  const metadata = { name, namespace: 'shop' };
  return { apiVersion: 'multicluster.x-k8s.io/v1beta1', kind: 'ServiceExport', metadata };
}

function webAt(ip: string): object {
  return serviceImport('web', {
    type: 'ClusterSetIP',
    ips: [ip],
    ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
  });
}

const headless = serviceImport('db', { type: 'Headless', ports: [{ name: 'sql', port: 3306, protocol: 'TCP' }] });

/** A slice of `db` whose endpoints are pods 0, 1, …; of another cluster where `source` is given. */
function dbSlice(name: string, addresses: readonly string[], source?: string): object {
  const labels =
    source === undefined
      ? { 'kubernetes.io/service-name': 'db' }
      : { 'multicluster.kubernetes.io/service-name': 'db', 'multicluster.kubernetes.io/source-cluster': source };
  return {
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name, namespace: 'shop', labels } },
    addressType: addresses[0]!.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: addresses.map((address, i) => ({
      ...{ addresses: [address], hostname: `db-${i}`, conditions: { ready: true } },
    })),
    ports: [{ name: 'sql', port: 3306, protocol: 'TCP' }],
  };
}

const record = (name: string, type: string, ...values: string[]): string[] => [
  'NOERROR aa',
  ...values.map((value) => `${name}. 5 IN ${type} ${value}`),
];

/** A cluster that its reader may read. */
async function member(t: Test, etcd: Etcd, name: string): Promise<KubeApi> {
  const api = await KubeApi.start(t, { etcd, name });
  await api.applyCrds();
  await api.apply(namespace);
  await reader(api);
  return api;
}

t.test('three clusters', { skip: withoutKube() || withoutDig }, async (t) => {
  const etcd = await Etcd.start(t);
  const apis = await Promise.all(['west', 'east', 'north'].map((name) => member(t, etcd, name)));
  const [west, east, north] = apis as [KubeApi, KubeApi, KubeApi];
  const server = await FleetServer.open(t);
  const tokenFile = `${server.folder}/east.token`;
  const [oldToken, newToken] = await accountTokens(east);
  writeFileSync(tokenFile, oldToken);
  server.writeKubeconfig(apis, { east: tokenFile });
  await server.start().ready();
  const checker = await Checker.open({ port: server.port, questionsPerSecond: 300 });
  t.teardown(() => checker.pause());
  const a = (name: string, ...addresses: string[]) => answers(addresses.map((address) => `${name} A ${address}`));

  /** Applies something, and waits until its name is answered so; both answers are right meanwhile. */
  const changes = async (name: string, addresses: readonly string[], apply: () => Promise<unknown>): Promise<void> => {
    const before = right.get(name);
    right.set(name, addresses);
    const after = addresses.length === 0 ? answers([], 'NXDOMAIN') : a(name, ...addresses);
    if (before !== undefined) checker.expect(name, 'A', anyOf(a(name, ...before), after));
    await apply();
    const lines = addresses.length === 0 ? ABSENT : record(name, 'A', ...addresses);
    const millis = await server.until(`${name} A`, lines);
    t.ok(millis < SOON_MILLIS, `${name}: ${Math.round(millis)} ms after the apply`);
    checker.expect(name, 'A', after);
  };
  const right = new Map<string, readonly string[]>();
  /** Every question since the last time was answered, and rightly. */
  const nothingWrong = (t: Test): void => {
    const { sent, violations, lost, first } = checker.report;
    t.same(
      { violations, lost, first: first.slice(0, 5) },
      { violations: 0, lost: 0, first: [] },
      `of ${sent} questions`,
    );
    checker.reset();
  };

  await t.test('what is applied is answered, edits and deletions too', async (t) => {
    t.equal(await server.dig(`${WEB} A`), ABSENT.join('\n'));
    await changes(WEB, ['10.96.0.7'], () => west.apply(webAt('10.96.0.7')));
    await changes(DB, ['10.1.0.1'], () =>
      west.apply(headless, serviceExport('db'), dbSlice('db-a', ['10.1.0.1']), dbSlice('db-b', ['fd00::1'])),
    );
    await changes(DB, ['10.1.0.1', '10.2.0.1'], () => east.apply(headless, dbSlice('db-lab', ['10.2.0.1'], 'lab')));
    await changes(DB, ['10.1.0.1', '10.2.0.1', '10.3.0.1', '10.3.0.2'], () =>
      north.apply(headless, serviceExport('db'), dbSlice('db-c', ['10.3.0.1', '10.3.0.2'])),
    );
    checker.run();
    await server.until(`${DB} AAAA`, record(DB, 'AAAA', 'fd00::1'));
    t.equal(await server.dig(`${WEB} AAAA`), EMPTY.join('\n'));
    t.equal((await server.dig(`+noadditional ${WEB} SRV`)).split('\n')[1], `${WEB}. 5 IN SRV 0 100 80 ${WEB}.`);
    for (const [host, address] of [
      ['db-0.west', '10.1.0.1'],
      ['db-0.lab', '10.2.0.1'],
      ['db-1.north', '10.3.0.2'],
    ] as const) {
      t.equal(await server.dig(`${host}.${DB} A`), record(`${host}.${DB}`, 'A', address).join('\n'));
    }
    const targets = (await server.dig(`+noadditional _sql._tcp.${DB} SRV`)).split('\n').slice(1);
    t.same(targets.map((line) => line.split(' ').at(-1)).sort(), [
      ...[`db-0.lab.${DB}.`, `db-0.north.${DB}.`, `db-0.west.${DB}.`, `db-1.north.${DB}.`],
    ]);
    await changes(WEB, ['10.96.0.8'], () => west.apply(webAt('10.96.0.8')));
    await changes(`gone.${Z}`, ['10.96.1.1'], () =>
      west.apply(serviceImport('gone', { type: 'ClusterSetIP', ips: ['10.96.1.1'], ports: [{ port: 80 }] })),
    );
    await changes(`gone.${Z}`, [], () => west.kubectl(['delete', '--namespace=shop', 'serviceimport', 'gone']));
    nothingWrong(t);
  });

  await t.test('without rights a cluster keeps its names and says why', async (t) => {
    await north.kubectl(['delete', 'clusterrolebinding', 'clusterset-dns-reader']);
    // Watches that were let in go on for minutes.
    await north.restart();
    const { reason } = await server.untilState('north', 'degraded', 20_000);
    t.match(reason, /403|forbidden/i);
    await north.apply(...readerRole);
    nothingWrong(t);
  });

  await t.test('a killed API server takes no name along', async (t) => {
    await east.kill();
    const { reason } = await server.untilState('east', 'out of touch');
    t.match(reason, /ECONNREFUSED|refused|reset|closed/i);
    await changes(WEB, ['10.96.0.9'], () => west.apply(webAt('10.96.0.9')));
    await sleep(2_000);
    t.equal(server.linesOf('east', 'cluster out of touch').length, 1);
    nothingWrong(t);
  });

  await t.test('it comes back after a compaction, and the token is another', async (t) => {
    const other = await KubeApi.start(t, { etcd, name: 'other', prefix: 'east' });
    await other.apply(dbSlice('db-lab', ['10.2.0.2'], 'lab'), webElse());
    await other.kubectl(['delete', '--namespace=shop', 'secret', 'old']);
    await etcd.compact();
    await other.kill();
    writeFileSync(tokenFile, newToken);
    const after = ['10.1.0.1', '10.2.0.2', '10.3.0.1', '10.3.0.2'];
    checker.expect(DB, 'A', anyOf(a(DB, ...right.get(DB)!), a(DB, ...after)));
    right.set(DB, after);
    await east.restart();
    const millis = await server.until(`${DB} A`, record(DB, 'A', ...after), 30_000);
    t.ok(millis < HEAL_MILLIS, `${Math.round(millis)} ms after it was ready`);
    checker.expect(DB, 'A', a(DB, ...after));
    await server.until(`else.${Z} A`, record(`else.${Z}`, 'A', '10.96.2.1'));
    await server.untilState('east', 'synced');
    nothingWrong(t);
  });

  await t.test('rights that came back are seen at the next look', async (t) => {
    await server.untilState('north', 'synced', 80_000);
    const after = ['10.1.0.1', '10.2.0.2', '10.3.0.7'];
    await changes(DB, after, () => north.apply(dbSlice('db-c', ['10.3.0.7'])));
    nothingWrong(t);
  });

  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await t.test(`every API server is away and ours is restarted by ${signal}`, async (t) => {
      // A snapshot is written 5 s after the last at most; at the end at once.
      if (signal === 'SIGKILL') await sleep(6_000);
      else await changes(WEB, ['10.96.0.10'], () => west.apply(webAt('10.96.0.10')));
      await Promise.all(apis.map((api) => api.kill()));
      checker.pause();
      await (signal === 'SIGKILL' ? server.kill() : server.stop());
      const began = performance.now();
      server.start();
      await server.until(`${WEB} A`, record(WEB, 'A', ...right.get(WEB)!), 20_000);
      t.comment(`${Math.round(performance.now() - began)} ms from the start to the first right answer`);
      await server.until(`+edns=0 ${DB} A`, [...markedAs(STALE), ...record(DB, 'A', ...right.get(DB)!).slice(1)]);
      t.match(await server.dig(`+edns=0 ${WEB} A`), STALE);
      await server.untilReady();
      const { code, clusters } = await server.ready();
      t.equal(code, 200);
      t.same([...new Set(Object.values(clusters).map(({ state }) => state))], ['snapshot']);
      checker.reset();
      checker.run();
      await Promise.all(apis.map((api) => api.restart()));
      for (const { name } of apis) await server.untilState(name, 'synced', 20_000);
      await server.until(`+edns=0 ${DB} A`, record(DB, 'A', ...right.get(DB)!));
      t.notMatch(await server.dig(`+edns=0 ${WEB} A`), STALE);
      nothingWrong(t);
    });
  }
  const { lost, violations } = await checker.stop();
  t.same({ lost, violations }, { lost: 0, violations: 0 });
});

t.test('a cluster with etcd 3.4 is read in pages', { skip: withoutKube('3.4') || withoutDig }, async (t) => {
  const api = await member(t, await Etcd.start(t, { version: '3.4' }), 'old');
  const server = await FleetServer.open(t);
  server.writeKubeconfig([api]);
  await api.apply(webAt('10.96.0.7'), headless, serviceExport('db'), dbSlice('db-a', ['10.1.0.1']));
  await server.start().ready();
  await server.until(`${WEB} A`, record(WEB, 'A', '10.96.0.7'));
  await server.until(`db-0.old.${DB} A`, record(`db-0.old.${DB}`, 'A', '10.1.0.1'));
  await api.apply(dbSlice('db-a', ['10.1.0.2', '10.1.0.3']));
  t.ok((await server.until(`${DB} A`, record(DB, 'A', '10.1.0.2', '10.1.0.3'))) < SOON_MILLIS, 'an edit is seen');
  await api.kubectl(['delete', '--namespace=shop', 'serviceimport', 'web']);
  t.ok((await server.until(`${WEB} A`, ABSENT)) < SOON_MILLIS, 'a deletion is seen');
});

function webElse(): object {
  return serviceImport('else', { type: 'ClusterSetIP', ips: ['10.96.2.1'], ports: [{ port: 80, protocol: 'TCP' }] });
}

function markedAs(error: string): string[] {
  return ['NOERROR aa', error];
}

/** Two tokens of a ServiceAccount that may read; the first ends with the Secret `old`. */
async function accountTokens(api: KubeApi): Promise<[string, string]> {
  const [role] = readerRole;
  const metadata = { namespace: 'shop', name: 'reader' };
  await api.apply(
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    ...['old', 'new'].map((name) => ({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace: 'shop', name } })),
    {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRoleBinding', metadata: { name: 'account' } },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role!.metadata.name },
      subjects: [{ kind: 'ServiceAccount', ...metadata }],
    },
  );
  return [await boundToken(api, 'shop', 'reader', 'old'), await boundToken(api, 'shop', 'reader', 'new')];
}
