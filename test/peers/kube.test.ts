/**
 * What a real kube-apiserver does that we rely on: watch-lists and their bookmark (KEP-3157), 410 Gone, the rights we ask
 * for, restarts; and with an etcd of long ago the refusal that makes us page.
 */
import t, { type Test } from 'tap';
import { Etcd, KubeApi, reader, READER_TOKEN, type WatchEvent } from '../support/kube.ts';
import { withoutKube } from '../support/peers.ts';

const IMPORTS = '/apis/multicluster.x-k8s.io/v1beta1/serviceimports';
const SLICES = '/apis/discovery.k8s.io/v1/endpointslices';
const WATCH_LIST = '?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

const shop = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } };
const web = {
  apiVersion: 'multicluster.x-k8s.io/v1beta1',
  kind: 'ServiceImport',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { type: 'ClusterSetIP', ips: ['10.96.0.7'], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
};
const slice = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'shop', labels: { 'multicluster.kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints: [],
  ports: [],
};

interface List {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly (Record<string, unknown> & { readonly metadata: { readonly name: string } })[];
}

async function list(api: KubeApi, where: string): Promise<List> {
  return (await (await api.fetch(where)).json()) as List;
}

async function names(api: KubeApi, where: string): Promise<string[]> {
  return (await list(api, where)).items.map((item) => item.metadata.name);
}

/** The events of a watch up to the first that `isLast`. */
async function eventsUntil(api: KubeApi, where: string, isLast: (event: WatchEvent) => boolean): Promise<WatchEvent[]> {
  const events: WatchEvent[] = [];
  for await (const event of api.watch(where)) {
    events.push(event);
    if (isLast(event)) break;
  }
  return events;
}

/** What a watch from this resourceVersion says first, or the HTTP status that refuses it. */
async function firstOf(api: KubeApi, where: string): Promise<unknown> {
  try {
    for await (const { type, object } of api.watch(where)) return type === 'ERROR' ? object['code'] : type;
  } catch (error) {
    return String(error);
  }
  return 'end';
}

function isBookmark({ type, object }: WatchEvent): boolean {
  const annotations = object.metadata['annotations'] as Record<string, string> | undefined;
  return type === 'BOOKMARK' && annotations?.[INITIAL_EVENTS_END] === 'true';
}

/** A cluster with the CRDs and one of each object. */
async function member(t: Test, name: string, etcd: Etcd, flags: readonly string[] = []): Promise<KubeApi> {
  const api = await KubeApi.start(t, { etcd, name, flags });
  await api.applyCrds();
  await api.apply(shop, web, slice);
  return api;
}

t.test('etcd 3.6', { skip: withoutKube() }, async (t) => {
  const etcd = await Etcd.start(t);
  const [west, east] = await Promise.all([member(t, 'west', etcd), KubeApi.start(t, { etcd, name: 'east' })]);

  t.test('objects are read as they are kept', async (t) => {
    const imports = await list(west, IMPORTS);
    t.match(imports.items, [{ metadata: { name: 'web', namespace: 'shop' }, spec: web.spec }]);
    const slices = await list(west, `${SLICES}?labelSelector=multicluster.kubernetes.io/service-name`);
    t.match(slices.items, [{ metadata: { name: 'web-1' }, addressType: 'IPv4', endpoints: null, ports: null }]);
    t.match(await list(west, '/apis/about.k8s.io/v1alpha1/clusterproperties'), { items: [] });
    t.match(await (await west.fetch('/version')).json(), { gitVersion: /^v1\.36\./ });
  });

  t.test('another prefix is another cluster', async (t) => {
    t.equal((await east.fetch(IMPORTS)).status, 404, 'no CRDs');
    t.equal((await east.fetch('/api/v1/namespaces/shop')).status, 404, 'no namespace');
  });

  t.test('a watch-list ends with its bookmark and goes on', async (t) => {
    const events = await eventsUntil(west, IMPORTS + WATCH_LIST, isBookmark);
    t.same(
      events.map(({ type, object }) => [type, object.metadata['name'] ?? 'bookmark']),
      [
        ['ADDED', 'web'],
        ['BOOKMARK', 'bookmark'],
      ],
    );
    const from = String(events.at(-1)!.object.metadata['resourceVersion']);
    const next = firstOf(west, `${IMPORTS}?watch=true&resourceVersion=${from}`);
    await west.kubectl(['annotate', '--namespace=shop', 'serviceimport', 'web', 'seen=1']);
    t.equal(await next, 'MODIFIED');
  });

  t.test('the reader may get, list and watch, and no more', async (t) => {
    const asReader = async (where: string, method = 'GET'): Promise<number> =>
      (await west.fetch(where, { method, token: READER_TOKEN })).status;
    t.equal(await asReader(IMPORTS), 403, 'before it is bound');
    await reader(west);
    for (const where of [
      IMPORTS,
      IMPORTS.replace('im', 'ex'),
      SLICES,
      '/apis/about.k8s.io/v1alpha1/clusterproperties',
    ]) {
      t.equal(await asReader(where), 200, where);
    }
    t.equal(await asReader('/api/v1/secrets'), 403);
    t.equal(await asReader('/apis/multicluster.x-k8s.io/v1beta1/namespaces/shop/serviceimports/web', 'DELETE'), 403);
    t.equal((await west.fetch(IMPORTS, { token: 'wrong' })).status, 401);
    t.match(west.kubeconfig({ context: 'a' }), /current-context: a\n/);
  });

  t.test('a compaction is not seen through the watch cache; a restart forgets it', async (t) => {
    const before = (await list(west, IMPORTS)).metadata.resourceVersion;
    const old = `${IMPORTS}?watch=true&resourceVersion=${before}`;
    await west.apply({ ...web, metadata: { ...web.metadata, name: 'later' } });
    await etcd.compact();
    t.equal(await firstOf(west, old), 'ADDED', 'of the cache');
    await west.restart();
    await west.untilListed(IMPORTS);
    t.strictSame((await names(west, IMPORTS)).sort(), ['later', 'web']);
    t.strictSame(await names(west, SLICES), ['web-1']);
    t.equal(await firstOf(west, old), 410);
  });

  t.test('without a watch cache a compacted resourceVersion is 410', async (t) => {
    const bare = await member(t, 'bare', etcd, ['--watch-cache=false']);
    const before = (await list(bare, SLICES)).metadata.resourceVersion;
    // A compaction keeps the last revision, so that it takes two to lose one.
    await bare.apply({ ...slice, metadata: { ...slice.metadata, name: 'web-2' } });
    await bare.apply({ ...slice, metadata: { ...slice.metadata, name: 'web-3' } });
    t.equal(await firstOf(bare, `${SLICES}?watch=true&resourceVersion=${before}`), 'ADDED');
    await etcd.compact();
    t.equal(await firstOf(bare, `${SLICES}?watch=true&resourceVersion=${before}`), 410);
  });
});

t.test('etcd 3.4 refuses watch-lists after it has said 200', { skip: withoutKube('3.4') }, async (t) => {
  const api = await member(t, 'old', await Etcd.start(t, { version: '3.4' }));
  for (const where of [IMPORTS, SLICES]) {
    const events = await eventsUntil(api, where + WATCH_LIST, () => true);
    t.match(events, [{ type: 'ERROR', object: { kind: 'Status', code: 500, reason: 'InternalError' } }], where);
    t.match(events[0]?.object['message'], /RequestWatchProgress is disabled/);
    t.equal((await list(api, `${where}?limit=500`)).items.length, 1, 'pages are served');
  }
});
