// What a right API server does, of the fault server, by fetch and node:https. What it does wrong: faults.test.ts.

import { get } from 'node:https';
import t from 'tap';
import { issue, makeCa } from './certs.ts';
import { kubernetes122 } from './fault-server.ts';
import { clusterProperty, forkedImport, mirroredSlice, nativeSlice, serviceImport } from './objects.ts';
import {
  failure,
  IMPORTS,
  Lines,
  list,
  names,
  read,
  SLICES,
  start,
  until,
  WATCH_LIST,
  type List,
} from './support-client.ts';

const web = serviceImport('shop', 'web');
const db = serviceImport('db', 'mysql', { type: 'Headless' });

t.test('discovery, and versions that come and go', async (t) => {
  const server = await start(t, { versions: { GkeServiceImport: ['v1'], ServiceImport: [] } });
  t.match(await read(server, '/apis'), { code: 200, text: /"groupVersion":"net.gke.io\/v1"/ });
  t.match((await read(server, '/apis/discovery.k8s.io/v1')).text, /"name":"endpointslices"/);
  const gone = await read(server, IMPORTS);
  t.same([gone.code, gone.text], [404, '404 page not found\n']);
  t.match(gone.headers.get('content-type'), 'text/plain');
  server.put(forkedImport('net.gke.io/v1', 'shop', 'web'));
  t.same(names(await list(server, '/apis/net.gke.io/v1/serviceimports')), ['web']);

  server.setVersions('ServiceImport', ['v1beta1'], 60_000);
  const early = await read(server, IMPORTS);
  t.match(early, { code: 429, text: /storage is \(re\)initializing/ });
  t.equal(early.headers.get('retry-after'), '1');
  server.initialize(0);
  server.put(web);
  const watch = await Lines.open(t, server, `${IMPORTS}?watch=1`);
  t.equal(await watch.next(), 'ADDED web');
  server.setVersions('ServiceImport', []);
  t.same([await watch.next(), await watch.next()], ['DELETED web', 'end']);
  t.equal((await read(server, IMPORTS)).code, 404);
});

t.test('lists: namespaces, selectors, the forms of items', async (t) => {
  const server = await start(t);
  for (const object of [web, db, clusterProperty('cluster.clusterset.k8s.io', 'eu-west')]) server.put(object);
  server.put(mirroredSlice('shop', 'web-1', 'web', 'us-east', { endpoints: [] }));
  server.put(nativeSlice('shop', 'web-2', 'web', { labels: { tier: 'a' } }));
  t.same(names(await list(server, IMPORTS)), ['mysql', 'web']);
  t.same(names(await list(server, IMPORTS.replace('v1beta1', 'v1beta1/namespaces/shop'))), ['web']);
  t.equal((await list(server, IMPORTS)).items[0]?.kind, 'ServiceImport');
  const [slice] = (await list(server, SLICES)).items;
  t.equal(slice?.kind, undefined);
  t.equal(slice?.endpoints, null);
  const selected = async (selector: string): Promise<string[]> =>
    names(await list(server, `${SLICES}?labelSelector=${encodeURIComponent(selector)}`));
  t.same(await selected('multicluster.kubernetes.io/service-name'), ['web-1']);
  t.same(await selected('!multicluster.kubernetes.io/service-name'), ['web-2']);
  t.same(await selected('tier=a,kubernetes.io/service-name==web'), ['web-2']);
  t.same(await selected('tier!=a'), ['web-1']);
  t.same(await selected('tier in (b, a)'), ['web-2']);
  t.same(await selected('tier notin (b,a)'), ['web-1']);
  t.equal((await read(server, `${SLICES}?labelSelector=a%20b`)).code, 400);
  t.equal((await read(server, `${IMPORTS}?continue=x`)).code, 400);
  t.equal((await read(server, `${IMPORTS}?watch=1&resourceVersion=x`)).code, 400);
  t.equal((await read(server, `${IMPORTS}/%zz`)).code, 404);
  const property = '/apis/about.k8s.io/v1alpha1/clusterproperties/cluster.clusterset.k8s.io';
  t.match((await read(server, property)).text, /"apiVersion":"about.k8s.io\/v1alpha1".*"value":"eu-west"/);
  t.match(await failure(server, `${property}x`), { code: 404, reason: 'NotFound' });
  t.same(
    server.requests.of('list', 'ServiceImport').map(({ code }) => code),
    [200, 200, 200, 400],
  );
});

t.test('pages are of one version, and go with compaction', async (t) => {
  const server = await start(t);
  for (const name of ['a', 'b', 'c', 'd', 'e']) server.put(serviceImport('shop', name));
  const first = await list(server, `${IMPORTS}?limit=2`);
  t.same([names(first), first.metadata.remainingItemCount], [['a', 'b'], 3]);
  server.remove('ServiceImport', 'shop', 'c');
  server.put(serviceImport('shop', 'bb'));
  const next = `${IMPORTS}?limit=2&continue=${first.metadata.continue!}`;
  const second = await list(server, next);
  t.same([names(second), second.metadata.resourceVersion], [['c', 'd'], first.metadata.resourceVersion]);
  const last = await list(server, `${IMPORTS}?limit=2&continue=${second.metadata.continue!}`);
  t.same([names(last), last.metadata.continue], [['e'], undefined]);
  t.equal((await list(server, `${IMPORTS}?limit=2&resourceVersion=0`)).items.length, 5, 'resourceVersion=0: no pages');
  const exact = (version: string): Promise<List> =>
    list(server, `${IMPORTS}?resourceVersion=${version}&resourceVersionMatch=Exact`);
  t.same(names(await exact('3')), ['a', 'b'], 'as it was, though nobody listed it then');
  t.same(names(await exact('7')), ['a', 'b', 'd', 'e']);
  server.compact();
  const expired = await failure(server, next);
  t.match(expired, { code: 410, reason: 'Expired' });
  const rest = await list(server, `${IMPORTS}?continue=${expired.metadata.continue!}`);
  t.same(names(rest), ['bb', 'd', 'e'], 'what follows is of now');
  t.match(await failure(server, `${IMPORTS}?resourceVersion=2&resourceVersionMatch=Exact`), { code: 410 });
});

t.test('watches: from now, from a version, by selector, to their end', async (t) => {
  const server = await start(t, { bookmarkMillis: 50 });
  const version = server.put(web);
  server.put(db);
  const since = await Lines.open(t, server, `${IMPORTS}?watch=true&resourceVersion=${version}&timeoutSeconds=1`);
  t.equal(await since.next(), 'ADDED mysql');
  const marked = await Lines.open(
    t,
    server,
    `${IMPORTS}?watch=true&resourceVersion=${version + 1}&allowWatchBookmarks=true`,
  );
  t.equal(await marked.next(), 'BOOKMARK');
  t.equal(await since.next(), 'end');

  const selected = await Lines.open(t, server, `${SLICES}?watch=1&labelSelector=tier%3Da`);
  server.put(nativeSlice('shop', 's', 'web'));
  server.put(nativeSlice('shop', 's', 'web', { labels: { tier: 'a' } }));
  server.put(nativeSlice('shop', 's', 'web', { labels: { tier: 'a', more: '' } }));
  server.put(nativeSlice('shop', 's', 'web'));
  server.put(nativeSlice('shop', 's', 'web', { labels: { tier: 'a' } }));
  const left = server.remove('EndpointSlice', 'shop', 's');
  t.same(
    [await selected.next(), await selected.next(), await selected.next(), await selected.next()],
    ['ADDED s', 'MODIFIED s', 'DELETED s', 'ADDED s'],
  );
  t.match(await selected.raw(), `"resourceVersion":"${left!}"`, 'a deletion has its own version');

  server.compact();
  const old = await Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${version}`);
  t.same([await old.next(), await old.next()], ['ERROR 410', 'end']);
  t.equal(server.watches({ resource: 'EndpointSlice' }).length, 1, 'open watches outlive a compaction');
  t.equal(server.peak.get('watch'), 3);
  selected.close();
  await until(() => server.watches({ resource: 'EndpointSlice' }).length === 0);
});

t.test('watch-list, and the servers that do without', async (t) => {
  const server = await start(t);
  server.put(web);
  server.put(db);
  const initial = await Lines.open(t, server, `${IMPORTS}?${WATCH_LIST}`);
  t.same(
    [await initial.next(), await initial.next(), await initial.next()],
    ['ADDED mysql', 'ADDED web', 'BOOKMARK of the initial events'],
  );
  server.put(web);
  t.equal(await initial.next(), 'MODIFIED web');
  t.match(await failure(server, `${IMPORTS}?watch=1&sendInitialEvents=true`), { code: 422 });

  server.api.watchList = 'ignored';
  const ignored = await Lines.open(t, server, `${IMPORTS}?${WATCH_LIST}`);
  t.same([await ignored.next(), await ignored.next()], ['ADDED mysql', 'ADDED web']);
  t.ok(await ignored.isSilent(), 'no bookmark of the initial events');
  server.api.watchList = 'old-etcd';
  const etcd = await Lines.open(t, server, `${IMPORTS}?${WATCH_LIST}`);
  t.same([await etcd.next(), await etcd.next()], ['ERROR 500', 'end']);

  const old = await start(t, kubernetes122);
  const refused = await failure(old, `${IMPORTS}?${WATCH_LIST}`);
  t.match(refused, { code: 422, reason: 'Invalid', message: /resourceVersionMatch is forbidden for watch/ });
  t.equal((await read(old, '/apis/about.k8s.io/v1beta1')).code, 404);
  t.equal((await read(old, SLICES.replace('/v1/', '/v1beta1/'))).code, 200);
});

t.test('an etcd that was restored', async (t) => {
  const server = await start(t, { tooLargeMillis: 20 });
  server.put(web);
  const snapshot = server.snapshot();
  const version = server.put(db);
  const watch = await Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${version}`);
  server.restore(snapshot);
  t.equal(await watch.next(), 'broken');
  t.same(names(await list(server, IMPORTS)), ['web']);
  t.match(await failure(server, `${IMPORTS}?resourceVersion=${version}&resourceVersionMatch=NotOlderThan`), {
    code: 504,
    message: /Too large resource version/,
  });
  const late = await Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${version}`);
  t.equal(server.put(serviceImport('shop', 'new')), version);
  t.ok(await late.isSilent(), 'a watch from a version that was is mute');
});

t.test('TLS, tokens and client certificates', async (t) => {
  const ca = makeCa();
  const { cert, key } = issue(ca);
  const server = await start(t, { tls: { cert, key, ca: ca.cert }, token: ['one', 'two'] });
  server.put(web);
  const code = (options: object): Promise<number | string> =>
    new Promise((resolve) => {
      get(server.url + IMPORTS, { ca: ca.cert, agent: false, ...options }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  t.equal(await code({}), 401);
  t.equal(await code({ headers: { authorization: 'Bearer two' } }), 200);
  server.accept(['three']);
  t.equal(await code({ headers: { authorization: 'Bearer two' } }), 401);
  t.equal(await code({ ...issue(ca, { names: ['reader'], client: true }) }), 200);
  t.equal(await code({ ...issue(makeCa('another'), { names: ['reader'], client: true }) }), 401);
  t.match(await code({ ca: makeCa('another').cert }), /SELF_SIGNED|UNABLE_TO_VERIFY/);
  const expired = await start(t, { tls: issue(ca, { days: -1 }) });
  t.equal(
    await new Promise((resolve) =>
      get(expired.url, { ca: ca.cert }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code)),
    ),
    'CERT_HAS_EXPIRED',
  );
  server.fault({ type: 'reset' });
  t.equal(await code({}), 'ECONNRESET');
});
