// Events that are wrong and change nothing, connections that flap, certificates and clocks that do not fit, and the
// oldest API server that is read. Answers that are wrong: faults.test.ts.

import { createServer, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { issue, makeCa } from '../support/api/certs.ts';
import { FaultServer, kubernetes122 } from '../support/api/fault-server.ts';
import { rewrites } from '../support/api/faults.ts';
import { endpoints, mirroredSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { accessTo, startMember, until } from './support-member.ts';
import {
  contents,
  isSynced,
  names,
  seed,
  startApi,
  startSynced,
  untilGone,
  untilHolds,
  untilReason,
  untilRequests,
} from './support-rules.ts';
import type { Rig } from './support-rules.ts';

t.jobs = 4;

const imports = { resource: 'ServiceImport' } as const;

/** Waits until all that was sent before has been read: a marker came and went. */
async function settled(rig: Rig): Promise<void> {
  rig.server.put(serviceImport('shop', 'marker'));
  await untilHolds(rig, 'ServiceImport shop/marker');
  rig.server.remove('ServiceImport', 'shop', 'marker');
  await untilGone(rig, 'ServiceImport shop/marker');
}

t.test('events that mean nothing: no version, unknown types, half lines, split characters', async (t) => {
  const rig = await startSynced(t);
  const { server, store, member } = rig;
  const before = contents(store);
  server.injectEvent('BOOKMARK', { kind: 'ServiceImport', metadata: {} });
  server.injectEvent('BOOKMARK', null);
  server.injectEvent('BOOKMARK', { metadata: { resourceVersion: 7 } });
  server.injectEvent('RENAMED', { metadata: { namespace: 'shop', name: 'x', resourceVersion: '999999' } });
  server.injectEvent('', {});
  server.inject('\n\r\n\n');
  const line = Buffer.from(`{"type":"BOOKMARK","object":{"metadata":{"annotations":{"a":"漢😀"}}}}\r\n`);
  for (const octet of line) server.inject(Buffer.of(octet));
  await settled(rig);
  t.same(contents(store), before);
  t.match(member.status(), { state: 'synced', reason: undefined });
  t.equal(server.requests.of('watch').length, 0, 'no watch ended of it');
});

t.test('events that come twice, and each other one before its turn', async (t) => {
  for (const line of [rewrites.twice(), rewrites.swapped()]) {
    const rig = await startSynced(t);
    const { server, store } = rig;
    server.fault({ type: 'rewrite', line }, imports);
    for (let n = 0; n < 10; n++) server.put(serviceImport('shop', 'web', { ips: [`10.0.1.${n}`] }));
    for (let n = 0; n < 10; n++) server.put(serviceImport('shop', `svc-${n}`));
    for (let n = 0; n < 10; n += 2) server.remove('ServiceImport', 'shop', `svc-${n}`);
    server.put(serviceImport('shop', 'last'));
    await untilHolds(rig, 'ServiceImport shop/last');
    const left = names(store).filter((name) => name.includes('svc-'));
    t.same(
      left,
      [1, 3, 5, 7, 9].map((n) => `ServiceImport shop/svc-${n}`),
    );
    t.match(contents(store).join('\n'), /"name":"web","type":"ClusterSetIP","ips":\["10\.0\.1\.9"\]/);
  }
});

t.test('versions that go back: what was seen stays, and the next watch starts where the last one was', async (t) => {
  const rig = await startSynced(t);
  const { server, store } = rig;
  const { version } = server.model;
  server.put(serviceImport('shop', 'web', { ips: ['10.0.0.2'] }));
  server.put(serviceImport('shop', 'gone'));
  await untilHolds(rig, 'ServiceImport shop/gone');
  server.remove('ServiceImport', 'shop', 'gone');
  await untilGone(rig, 'ServiceImport shop/gone');
  const last = server.model.version;
  const before = contents(store);
  const old = (name: string): object => {
    const { metadata, ...rest } = serviceImport('shop', name, { ips: ['10.0.0.99'] });
    return { ...rest, metadata: { ...(metadata as object), resourceVersion: String(version) } };
  };
  server.injectEvent('MODIFIED', old('web'), imports);
  server.injectEvent('ADDED', old('gone'), imports);
  server.injectEvent('DELETED', old('web'), imports);
  server.injectEvent('BOOKMARK', { kind: 'ServiceImport', metadata: { resourceVersion: '2' } }, imports);
  server.endWatches('end', imports);
  const [resumed] = await untilRequests(server, 1, 'watch', 'ServiceImport');
  t.equal(resumed?.query.get('resourceVersion'), String(last));
  t.same(contents(store), before);
  await settled(rig);
});

t.test('objects with every field null, missing, of the wrong type or 1 MB long', async (t) => {
  const rig = await startSynced(t);
  const { server, store, member } = rig;
  const before = contents(store);
  const long = 'x'.repeat(1_000_000);
  const wrong = [null, undefined, 7, 'text', true, [], {}, [[]], [null], { a: null }, long];
  const version = String(server.model.version + 1);
  const whole = (kind: string): Record<string, unknown> => ({
    ...(kind === 'EndpointSlice'
      ? mirroredSlice('bad', 'slice', 'web', 'eu')
      : { ...serviceImport('bad', 'import'), status: { conditions: [{ type: 'Valid' }] } }),
    ...(kind === 'ServiceExport' ? serviceExport('bad', 'export') : {}),
  });
  let sent = 0;
  for (const resource of ['ServiceImport', 'ServiceExport', 'EndpointSlice'] as const) {
    const object = whole(resource);
    for (const value of wrong) {
      for (const field of Object.keys(object))
        sent += server.injectEvent('ADDED', { ...object, [field]: value }, { resource });
      for (const field of [
        'name',
        'namespace',
        'labels',
        'annotations',
        'resourceVersion',
        'creationTimestamp',
        'uid',
      ]) {
        const metadata = { ...(object['metadata'] as object), resourceVersion: version, [field]: value };
        sent += server.injectEvent('MODIFIED', { ...object, metadata }, { resource });
      }
      sent += server.injectEvent('DELETED', value ?? null, { resource });
      server.putRaw(resource, 'bad', `raw-${sent}`, JSON.stringify(value ?? null), {
        'multicluster.kubernetes.io/service-name': 'x',
      });
    }
  }
  t.ok(sent > 400, String(sent));
  const ours = (): string[] => contents(store).filter((line) => /"namespace":"(shop|db)"/.test(line));
  await settled(rig);
  t.same(ours(), before);
  t.same(member.status().state, 'synced');
  server.injectError(410);
  await untilRequests(server, 8, 'watch-list');
  await isSynced(rig);
  await untilGone(rig, 'ServiceImport bad/import');
  t.same(ours(), before, 'nor of a list, which took away what only the events said');
});

t.test('octets cut anywhere, from discovery to the watch', async (t) => {
  for (const watchList of ['served', 'refused'] as const) {
    const server = await startApi(t, { watchList });
    server.put(serviceImport('shop', 'wide', { clusters: ['漢字😀é'] }));
    server.fault({ type: 'chunks', octets: 3 });
    const rig = startMember(t, accessTo(server.url));
    await untilHolds(rig, 'ServiceImport shop/wide', 'EndpointSlice shop/web-n1');
    server.put(serviceImport('shop', 'later', { clusters: ['漢字😀é'] }));
    await untilHolds(rig, 'ServiceImport shop/later');
    t.equal(rig.member.status().reason, undefined);
  }
});

t.test('a connection that is closed between pages', async (t) => {
  const server = await startApi(t, { watchList: 'refused' });
  for (let n = 0; n < 600; n++) server.put(serviceImport('many', `svc-${n}`));
  server.fault({ type: 'hang-up' }, { kinds: ['list'], isContinued: true });
  const rig = startMember(t, accessTo(server.url));
  await untilReason(rig, /serviceimports: connection closed by the other side/);
  t.same(contents(rig.store), []);
  await server.heal();
  await untilHolds(rig, 'ServiceImport many/svc-599');
});

t.test('a redirect is not followed, and the token stays here', async (t) => {
  const other = await startApi(t);
  const rig = await startSynced(t, {}, {}, { authorization: 'Bearer secret' });
  const headers = { location: `${other.url}/apis/multicluster.x-k8s.io/v1beta1/serviceimports?watch=1` };
  for (const code of [301, 302, 307, 308]) {
    rig.server.fault({ type: 'raw', code, headers, body: '' });
    rig.server.endWatches('reset');
    await untilReason(rig, new RegExp(`${code} `));
    await rig.server.heal();
    await isSynced(rig);
  }
  t.equal(other.requests.count, 0);
});

t.test('flapping every moment: no more sockets than watches, and no storm of requests', async (t) => {
  const rig = await startSynced(t);
  const { server, store } = rig;
  const before = contents(store);
  let most = 0;
  const from = server.requests.count;
  for (let n = 0; n < 40; n++) {
    if (n % 3 === 0) server.cut();
    else if (n % 3 === 1) await server.refuse();
    else server.endWatches('reset');
    await new Promise((resolve) => setTimeout(resolve, 30));
    await server.listen();
    most = Math.max(most, server.connections());
    await new Promise((resolve) => setTimeout(resolve, 20));
    most = Math.max(most, server.connections());
  }
  t.ok(most <= 8, `${most} sockets`);
  t.ok(server.requests.count - from < 40 * 8, `${server.requests.count - from} requests`);
  t.same(contents(store), before);
  server.put(serviceImport('shop', 'meanwhile'));
  await untilHolds(rig, 'ServiceImport shop/meanwhile');
  await isSynced(rig);
  await until(
    () => server.connections() <= 5,
    () => server.connections(),
  );
});

t.test('tokens that end and are rotated', async (t) => {
  const rig = await startSynced(t, { token: 'token-0' }, {}, { authorization: 'Bearer token-0' });
  const { server } = rig;
  for (let n = 1; n < 4; n++) {
    const before = contents(rig.store);
    server.accept([`token-${n}`]);
    server.endWatches('reset');
    await untilReason(rig, /401 Unauthorized/);
    t.same(contents(rig.store), before);
    rig.access = accessTo(server.url, { authorization: `Bearer token-${n}` });
    server.put(serviceImport('shop', `after-${n}`));
    await untilHolds(rig, `ServiceImport shop/after-${n}`);
  }
  await isSynced(rig);
  t.equal(server.requests.of('watch-list').length, 4, 'the watches go on; nothing is listed again');
});

async function servesAnother(
  t: Test,
  tls: { readonly cert: string; readonly key: string },
  reason: RegExp,
): Promise<void> {
  const ca = makeCa();
  const right = issue(ca);
  const rig = await startSynced(t, { tls: right }, {}, { ca: ca.cert });
  const { port } = rig.server;
  const before = contents(rig.store);
  await rig.server.close();
  const wrong = await FaultServer.start({ port, tls });
  t.teardown(() => wrong.close());
  seed(wrong);
  wrong.put(serviceImport('shop', 'forged'));
  const text = await untilReason(rig, reason);
  t.notMatch(text, /\n/);
  t.equal(wrong.requests.count, 0);
  t.same(contents(rig.store), before);
  await wrong.close();
  const healed = await FaultServer.start({ port, tls: right });
  t.teardown(() => healed.close());
  seed(healed);
  for (let n = 0; n < 10; n++) healed.put(serviceImport('shop', 'meanwhile', { ips: [`10.0.0.${n}`] }));
  await untilHolds(rig, 'ServiceImport shop/meanwhile');
  await isSynced({ ...rig, server: healed });
}

t.test('a certificate of another CA', (t) =>
  servesAnother(t, issue(makeCa('another CA')), /the server certificate is of another CA/),
);
t.test('a certificate that is not for a server', (t) =>
  servesAnother(t, makeCa('alone'), /the server certificate is not for a server \(INVALID_PURPOSE\)/),
);
t.test('a certificate for another name', (t) =>
  servesAnother(
    t,
    issue(makeCa(), { names: ['elsewhere.example'], ips: ['10.9.9.9'] }),
    /127\.0\.0\.1.*(10\.9\.9\.9|cert)/,
  ),
);
t.test('a certificate that ended', (t) =>
  servesAnother(t, issue(makeCa(), { days: -1 }), /the server certificate has expired/),
);

t.test('a client certificate lets in', async (t) => {
  const ca = makeCa();
  const client = issue(ca, { names: ['someone'], client: true });
  const rig = await startSynced(t, { tls: { ...issue(ca), ca: ca.cert } }, {}, { ca: ca.cert, ...client });
  t.equal(rig.member.status().state, 'synced');
});

t.test('clocks that are an hour apart, and objects from the future', async (t) => {
  const server = await startApi(t);
  // The Date header of every answer, an hour ahead: of the same length.
  const ahead = new Date(Date.now() + 3_600_000).toUTCString();
  const proxy = createServer((client) => {
    const upstream = connect(server.port, '127.0.0.1');
    client.pipe(upstream);
    upstream.on('data', (octets) => {
      client.write(Buffer.from(octets.toString('latin1').replaceAll(/(?<=\r\nDate: ).{29}/g, ahead), 'latin1'));
    });
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.once('close', () => upstream.destroy());
    upstream.once('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => proxy.close());
  const rig = startMember(t, accessTo(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`));
  const straight = startMember(t, accessTo(server.url));
  server.put(serviceImport('shop', 'future', { created: '2099-01-01T00:00:00Z' }));
  server.put(
    mirroredSlice('shop', 'future-eu', 'future', 'eu', { created: '2099-01-01T00:00:00Z', endpoints: endpoints(3) }),
  );
  await untilHolds(rig, 'ServiceImport shop/future', 'EndpointSlice shop/future-eu', 'EndpointSlice shop/web-n1');
  await untilHolds(straight, 'ServiceImport shop/future', 'EndpointSlice shop/future-eu', 'EndpointSlice shop/web-n1');
  t.same(contents(rig.store), contents(straight.store));
  server.fault(
    { type: 'status', code: 429, retryAfter: ahead },
    { kinds: ['watch'], times: 1, resource: 'ServiceExport' },
  );
  server.endWatches('reset', { resource: 'ServiceExport' });
  await untilReason(rig, /serviceexports: 429/).catch(() => untilReason(straight, /serviceexports: 429/));
  server.put(serviceImport('shop', 'after'));
  await untilHolds(rig, 'ServiceImport shop/after');
});

t.test("a server of Kubernetes 1.22's ways", async (t) => {
  const rig = await startSynced(t, kubernetes122);
  t.equal(rig.member.status().state, 'synced');
  t.equal(names(rig.store).length, 5);
  t.equal(rig.server.requests.of('list').length, 4);
  await settled(rig);
  await rig.server.refuse();
  rig.server.put(serviceImport('shop', 'meanwhile'));
  await rig.server.listen();
  await untilHolds(rig, 'ServiceImport shop/meanwhile');
  t.equal(rig.server.requests.of('list').length, 4);
});
