// A member against real API servers of ours: credentials that come, change, end and break, a server that becomes another
// one, and what is served meanwhile.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import t, { type Test } from 'tap';
import type { Access, AccessSource } from '../../src/k8s/api/access.ts';
import type { ReflectorLimits } from '../../src/k8s/api/backoff.ts';
import { Credentials } from '../../src/k8s/credentials/credentials.ts';
import { FileStamps } from '../../src/k8s/credentials/file-stamps.ts';
import { ListGate } from '../../src/k8s/api/list-gate.ts';
import { Member } from '../../src/k8s/member.ts';
import { policyOf } from '../../src/k8s/policy.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import { issue, makeCa } from '../support/api/certs.ts';
import { FaultServer, type FaultServerOptions } from '../support/api/fault-server.ts';
import { nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { storeText } from './support-holdings.ts';
import { accessTo, quick, startMember, until, type MemberRig } from './support-member.ts';

async function start(t: Test, options: FaultServerOptions = {}): Promise<FaultServer> {
  // Often enough that no watch counts as silent.
  const server = await FaultServer.start({ bookmarkMillis: 300, ...options });
  t.teardown(() => server.close());
  return server;
}

/** A server whose cluster exports a service with an endpoint, and imports it from `address`. */
async function serving(t: Test, address: string, options: FaultServerOptions = {}): Promise<FaultServer> {
  const server = await start(t, options);
  server.put(serviceImport('shop', 'web', { ips: [address] }));
  server.put(serviceExport('shop', 'web'));
  server.put(nativeSlice('shop', 'web-1', 'web', { endpoints: ['10.1.0.1'] }));
  return server;
}

const synced = (rig: Pick<MemberRig, 'member'>): Promise<void> =>
  until(
    () => rig.member.status().state === 'synced',
    () => rig.member.status(),
  );

/** Resolves when the store imports the service from this address. */
function shows(store: FleetStore, address: string): Promise<void> {
  const line = `import shop/web ClusterSetIP ${address}`;
  return until(
    () => storeText(store, 'a').includes(line),
    () => storeText(store, 'a'),
  );
}

function listsOf(server: FaultServer): number {
  const kinds = ['list', 'watch-list'] as const;
  return kinds.reduce((sum, kind) => sum + server.requests.of(kind, 'ServiceImport').length, 0);
}

/** The Authorization headers of the requests after the first `count`. */
function tokensAfter(server: FaultServer, count: number): (string | undefined)[] {
  return server.requests.all.filter(({ number }) => number > count).map(({ authorization }) => authorization);
}

/** Looks at the store whenever a publisher would; gives the smallest number of objects seen. */
function watchSize(store: FleetStore): () => number {
  let least = storeText(store, 'a').length;
  store.onChange(() =>
    setImmediate(() => {
      store.takeDirty();
      least = Math.min(least, storeText(store, 'a').length);
    }),
  );
  return () => least;
}

interface Opened {
  readonly member: Member;
  readonly store: FleetStore;
}

/** A member with the credentials of the product, or others. */
function open(
  t: Test,
  credentials: Pick<Credentials, 'read'>,
  source: AccessSource,
  more: Partial<ReflectorLimits> = {},
): Opened {
  const store = new FleetStore({ addressConflict: 'servfail' });
  store.addCluster(policyOf('a'));
  const limits = { ...quick, ...more };
  const member = new Member({
    id: 'a',
    source,
    store,
    credentials: credentials as Credentials,
    stamps: new FileStamps(),
    lists: new ListGate(limits.listsAtOnce, limits.listTurnMillis),
    limits,
    random: Math.random,
    onNote: () => undefined,
    onBroken: (error) => {
      throw error;
    },
  });
  t.teardown(() => member.close());
  member.start();
  return { member, store };
}

async function folder(t: Test): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'member-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

function kubeconfig(server: string, token = 'one'): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
    clusters: [{ name: 'k', cluster: { server } }],
    users: [{ name: 'u', user: { token } }],
  });
}

t.test('another server: its generation syncs beside the one that serves, then takes its place', async (t) => {
  const [first, second] = [await serving(t, '10.0.0.1'), await serving(t, '10.0.0.2')];
  const rig = startMember(t, accessTo(first.url));
  await synced(rig);
  const least = watchSize(rig.store);
  second.fault({ type: 'hold' }, { resource: 'ServiceImport' });
  rig.access = accessTo(second.url);
  await rig.member.renew();
  await until(() => second.requests.of('watch-list', 'EndpointSlice').length > 0);
  first.put(serviceImport('shop', 'web', { ips: ['10.0.0.3'] }));
  await shows(rig.store, '10.0.0.3');
  t.equal(rig.member.status().state, 'synced', 'it is followed all the while');
  await second.heal();
  await shows(rig.store, '10.0.0.2');
  await until(() => first.connections() === 0);
  first.put(serviceImport('shop', 'web', { ips: ['10.0.0.4'] }));
  second.put(serviceImport('shop', 'db'));
  await until(() => rig.store.keysOf('a').length === 2);
  t.equal(least(), 3, 'at no moment did anything lack');
  t.notOk(storeText(rig.store, 'a').join().includes('10.0.0.4'));
});

t.test('another CA and another client certificate', async (t) => {
  const ca = makeCa();
  const server = await serving(t, '10.0.0.1', { tls: { ...issue(ca), ca: ca.cert } });
  const client = (name: string): Partial<Access> => issue(ca, { names: [name], client: true });
  const rig = startMember(t, accessTo(server.url, { ca: ca.cert, ...client('one') }));
  await synced(rig);
  const least = watchSize(rig.store);
  for (const [what, more] of [
    ['a bundle', { ca: ca.cert + makeCa('another').cert, ...client('one') }],
    ['a certificate', { ca: ca.cert, ...client('two') }],
  ] as const) {
    const lists = listsOf(server);
    rig.access = accessTo(server.url, more);
    await rig.member.renew();
    await until(
      () => listsOf(server) > lists && server.watches().length === 4,
      () => what,
    );
    await synced(rig);
  }
  rig.access = accessTo(server.url, { ca: makeCa('another').cert, ...client('two') });
  await rig.member.renew();
  server.put(serviceImport('shop', 'web', { ips: ['10.0.0.5'] }));
  await shows(rig.store, '10.0.0.5');
  t.equal(rig.member.status().state, 'synced', 'one that does not fit leaves the one that serves alone');
  t.equal(least(), 3);
});

t.test('another token: nothing is listed anew', async (t) => {
  const server = await serving(t, '10.0.0.1', { token: ['one', 'two'] });
  const rig = startMember(t, accessTo(server.url, { authorization: 'Bearer one' }));
  await synced(rig);
  rig.access = accessTo(server.url, { authorization: 'Bearer two' });
  await rig.member.renew();
  const { count } = server.requests;
  const lists = listsOf(server);
  server.endWatches('end');
  await until(() => server.requests.count >= count + 4 && server.watches().length === 4);
  t.strictSame(new Set(tokensAfter(server, count)), new Set(['Bearer two']));
  t.equal(listsOf(server), lists);
});

t.test('a token that is not taken any more is read again, from its file too', async (t) => {
  const dir = await folder(t);
  const tokenFile = path.join(dir, 'token');
  await writeFile(tokenFile, 'one\n');
  const server = await serving(t, '10.0.0.1', { token: 'one' });
  const rig = startMember(t, accessTo(server.url, { authorization: 'Bearer one', tokenFile }));
  await synced(rig);
  await writeFile(tokenFile, 'two\n');
  const { count } = server.requests;
  await until(() => {
    server.accept(['one', 'two']);
    server.endWatches('end');
    return tokensAfter(server, count).includes('Bearer two');
  });
  t.equal(rig.reads(), 1, 'its file alone was read');
  rig.access = accessTo(server.url, { authorization: 'Bearer three', tokenFile });
  await writeFile(tokenFile, '');
  server.accept(['three']);
  server.endWatches('reset');
  await until(() => rig.reads() > 1);
  server.put(serviceImport('shop', 'web', { ips: ['10.0.0.3'] }));
  await shows(rig.store, '10.0.0.3');
});

t.test('a kubeconfig that changes, breaks, goes and comes back', async (t) => {
  const dir = await folder(t);
  const file = path.join(dir, 'config');
  const [first, second] = [
    await serving(t, '10.0.0.1', { token: 'one' }),
    await serving(t, '10.0.0.2', { token: 'two' }),
  ];
  await writeFile(file, kubeconfig(first.url));
  const credentials = new Credentials();
  t.teardown(() => credentials.close());
  const rig = open(t, credentials, { kind: 'kubeconfig', file, context: undefined });
  await shows(rig.store, '10.0.0.1');
  await synced(rig);
  const least = watchSize(rig.store);
  for (const [what, breaks, says] of [
    ['malformed', (): Promise<void> => writeFile(file, '{"clusters": ['), /^kubeconfig .*config/],
    ['gone', (): Promise<void> => rm(file), /^kubeconfig .*does not exist/],
  ] as const) {
    await breaks();
    await until(
      () => says.test(rig.member.status().reason ?? ''),
      () => [what, rig.member.status()],
    );
    const { state, outSinceMillis } = rig.member.status();
    t.strictSame([state, outSinceMillis], ['synced', undefined], `${what}: what is open goes on`);
  }
  first.put(serviceImport('shop', 'web', { ips: ['10.0.0.3'] }));
  await shows(rig.store, '10.0.0.3');
  await writeFile(file, kubeconfig(second.url, 'two'));
  await shows(rig.store, '10.0.0.2');
  await until(() => rig.member.status().reason === undefined && rig.member.status().state === 'synced');
  t.equal(least(), 3);
});

t.test('a kubeconfig that changes while it is read', async (t) => {
  const dir = await folder(t);
  const file = path.join(dir, 'config');
  await writeFile(file, 'one');
  const [first, second] = [await serving(t, '10.0.0.1'), await serving(t, '10.0.0.2')];
  let reads = 0;
  const read = async (): Promise<Access> => {
    if (reads++ > 0) return accessTo(second.url, { files: [file] });
    // Longer than a look at a file is shared.
    await new Promise((resolve) => setTimeout(resolve, 700));
    await writeFile(file, 'another, longer');
    return accessTo(first.url, { files: [file] });
  };
  const rig = open(t, { read }, { kind: 'kubeconfig', file, context: undefined });
  await shows(rig.store, '10.0.0.2');
  t.equal(reads, 2);
});

t.test('credentials that cannot be read are said, and tried again', async (t) => {
  const server = await serving(t, '10.0.0.1');
  const rig = startMember(t, new Error('token file /none: does not exist'));
  await until(() => rig.reads() > 1);
  const { state, reason, hasSynced } = rig.member.status();
  t.strictSame([state, reason, hasSynced], ['connecting', 'token file /none: does not exist', false]);
  rig.access = accessTo(server.url);
  await synced(rig);
  t.strictSame([rig.member.status().reason, rig.member.status().hasSynced], [undefined, true]);
  t.match(rig.member.details(), {
    resources: {
      serviceimports: { phase: 'watching', objects: 1 },
      'endpointslices (native)': { phase: 'watching', objects: 1 },
    },
    refusedObjects: 0,
  });
});

t.test('credentials that end are read again in time', async (t) => {
  const server = await serving(t, '10.0.0.1', { token: ['one', 'two'] });
  const ending = (token: string, millis: number): Access =>
    accessTo(server.url, { authorization: `Bearer ${token}`, expiresAtMillis: Date.now() + millis });
  const rig = startMember(t, ending('one', 900), { expiryMillis: 600 });
  await synced(rig);
  rig.access = ending('two', 3_600_000);
  const before = rig.reads();
  await until(() => rig.reads() > before);
  server.endWatches('end');
  await until(() => server.requests.of('watch', 'ServiceImport').at(-1)?.authorization === 'Bearer two');
  t.equal(rig.reads(), before + 1, 'and not before they end again');
  // Our clock may be ahead: all that is given has ended.
  const late = startMember(t, ending('one', -60_000), { expiryMillis: 600 });
  await until(() => late.reads() > 2);
  const [reads, since] = [late.reads(), performance.now()];
  await until(() => late.reads() > reads + 3);
  t.ok(performance.now() - since > 200, 'no hot loop');
});

t.test('two changes in quick succession', async (t) => {
  const servers = [await serving(t, '10.0.0.1'), await serving(t, '10.0.0.2'), await serving(t, '10.0.0.3')] as const;
  const rig = startMember(t, accessTo(servers[0].url));
  await synced(rig);
  const least = watchSize(rig.store);
  servers[1].fault({ type: 'delay', millis: 100 });
  for (const { url } of servers.slice(1)) {
    rig.access = accessTo(url);
    await rig.member.renew();
  }
  await shows(rig.store, '10.0.0.3');
  await until(() => servers[0].connections() === 0 && servers[1].connections() === 0);
  servers[1].put(serviceImport('shop', 'late'));
  servers[2].put(serviceImport('shop', 'db'));
  await until(() => rig.store.keysOf('a').length === 2);
  t.strictSame([least(), rig.store.keysOf('a').sort()], [3, ['shop/db', 'shop/web']]);
});

t.test('reading from elsewhere: what is held stays until that has synced', async (t) => {
  const [first, second] = [await serving(t, '10.0.0.1'), await serving(t, '10.0.0.2')];
  const elsewhere: AccessSource = { kind: 'kubeconfig', file: 'elsewhere', context: undefined };
  let isThere = false;
  const read = (source: AccessSource): Promise<Access> => {
    if (source !== elsewhere) return Promise.resolve(accessTo(first.url));
    return isThere ? Promise.resolve(accessTo(second.url)) : Promise.reject(new Error('elsewhere: does not exist'));
  };
  const rig = open(t, { read }, { kind: 'in-cluster' });
  await synced(rig);
  const least = watchSize(rig.store);
  t.equal(rig.member.move({ kind: 'manifests', dir: '/none' }), false, 'another kind of member');
  t.equal(rig.member.move(elsewhere), true);
  await until(() => rig.member.status().reason === 'elsewhere: does not exist');
  first.put(serviceImport('shop', 'web', { ips: ['10.0.0.9'] }));
  await shows(rig.store, '10.0.0.9');
  isThere = true;
  await shows(rig.store, '10.0.0.2');
  await until(() => first.connections() === 0);
  t.equal(least(), 3);
});

t.test('another cluster behind the new address, and an empty one: not believed at once', async (t) => {
  const first = await start(t);
  for (let i = 0; i < 25; i++) first.put(serviceImport('shop', `s${String(i)}`));
  const empty = await start(t);
  const rig = startMember(t, accessTo(first.url), { confirmMillis: 600 });
  await synced(rig);
  const names = (): number => rig.store.keysOf('a').length;
  rig.access = accessTo(empty.url);
  await rig.member.renew();
  await until(() => /its lists lack 25 of 25 names/.test(rig.member.status().reason ?? ''));
  first.put(serviceImport('shop', 's25'));
  await until(() => names() === 26);
  t.ok(listsOf(empty) > 0, 'held, and the one before is followed on');
  // It was an error: what would have been believed is not waited for.
  const another = await start(t);
  another.fault({ type: 'delay', millis: 400 });
  rig.access = accessTo(another.url);
  await rig.member.renew();
  await until(() => /its lists lack 26 of 26 names/.test(rig.member.status().reason ?? '') && listsOf(another) > 0);
  t.equal(names(), 26, 'another server is asked twice, too');
  await until(() => names() === 0);
  await until(() => rig.member.status().state === 'synced' && rig.member.status().reason === undefined);
  t.ok(listsOf(another) > 1);
});

t.test('what is not served any more is held, and shown', async (t) => {
  const server = await serving(t, '10.0.0.1');
  const rig = startMember(t, accessTo(server.url));
  await synced(rig);
  t.equal(rig.member.status().outSinceMillis, undefined);
  const other = await serving(t, '10.0.0.2', { versions: { ServiceImport: [] } });
  rig.access = accessTo(other.url);
  await rig.member.renew();
  await until(() => server.connections() === 0);
  await until(() => rig.member.status().state === 'degraded');
  t.match(rig.member.status(), { reason: /^serviceimports: /, outSinceMillis: Number });
  t.ok(storeText(rig.store, 'a').includes('import shop/web ClusterSetIP 10.0.0.1'));
  other.setVersions('ServiceImport', ['v1beta1']);
  await shows(rig.store, '10.0.0.2');
  await synced(rig);
  t.equal(rig.member.status().outSinceMillis, undefined);
});

t.test('closing ends every connection and timer', async (t) => {
  const server = await serving(t, '10.0.0.1');
  const timers = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;
  const before = timers();
  const rig = startMember(t, accessTo(server.url, { expiresAtMillis: Date.now() + 3_600_000 }));
  await synced(rig);
  const other = await start(t);
  other.fault({ type: 'black-hole' });
  rig.access = accessTo(other.url);
  await rig.member.renew();
  await until(() => other.connections() > 0);
  t.ok(server.connections() > 0);
  await rig.member.close();
  await until(() => server.connections() === 0 && other.connections() === 0);
  await until(() => timers() <= before, timers);
  const { count } = server.requests;
  server.put(serviceImport('shop', 'late'));
  await rig.member.renew();
  t.equal(server.requests.count, count);
  t.strictSame(rig.store.keysOf('a'), ['shop/web'], 'the store keeps what it holds');
});

t.test('credentials that come after the end begin nothing', async (t) => {
  const server = await serving(t, '10.0.0.1');
  const { promise, resolve } = Promise.withResolvers<Access>();
  const rig = open(t, { read: () => promise }, { kind: 'in-cluster' });
  const renewing = rig.member.renew();
  await rig.member.close();
  resolve(accessTo(server.url));
  await renewing;
  await new Promise((done) => setTimeout(done, 150));
  t.equal(server.requests.count, 0);
});
