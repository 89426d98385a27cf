// How a reflector watches: two watches of slices, bookmarks and the version it goes on from, silence. Against a server
// that breaks the rules on command. Listing: reflector-lists.test.ts. After a failure: reflector-recovers.test.ts.

import t from 'tap';
import { mirroredSlice, nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { accessTo, until } from './support-member.ts';
import { contents, holds, isSynced, startSynced, untilGone, untilHolds, untilRequests } from './support-rules.ts';

t.jobs = 3;

const NATIVE = 'endpointslices (native)';

t.test('rule 3: two watches of slices, by label, and each slice in one of them', async (t) => {
  const { server, member } = await startSynced(t);
  const selectors = server
    .watches({ resource: 'EndpointSlice' })
    .map(({ request }) => request.query.get('labelSelector'));
  t.same(selectors.sort(), [
    'kubernetes.io/service-name,!multicluster.kubernetes.io/service-name',
    'multicluster.kubernetes.io/service-name',
  ]);
  t.match(member.details().resources, { 'endpointslices (mirrored)': { objects: 1 }, [NATIVE]: { objects: 1 } });
});

t.test('rule 3: a slice that goes from one label to the other is kept', async (t) => {
  const rig = await startSynced(t);
  const { server } = rig;
  for (let n = 0; n < 5; n++) {
    server.put(mirroredSlice('shop', 'web-n1', 'web', 'eu', { endpoints: ['10.9.0.1'] }));
    await until(
      () => contents(rig.store).some((line) => line.includes('10.9.0.1')),
      () => contents(rig.store),
    );
    server.put(nativeSlice('shop', 'web-n1', 'web', { endpoints: ['10.1.0.1'] }));
    await until(
      () => contents(rig.store).some((line) => line.includes('10.1.0.1')),
      () => contents(rig.store),
    );
  }
  t.match(rig.member.details().resources, { 'endpointslices (mirrored)': { objects: 1 }, [NATIVE]: { objects: 1 } });
});

t.test(
  'rule 3: native slices are kept while their service is exported, and listed by selector when it is',
  async (t) => {
    const rig = await startSynced(t);
    const { server, member } = rig;
    const kept = (): number | undefined => member.details().resources[NATIVE]?.objects;
    for (let n = 0; n < 50; n++) server.put(nativeSlice('db', `mysql-${n}`, 'mysql'));
    for (let n = 0; n < 50; n++) server.put(nativeSlice('db', `other-${n}`, 'other'));
    server.put(serviceImport('db', 'marker'));
    await untilHolds(rig, 'ServiceImport db/marker');
    t.equal(kept(), 1, 'of 101 slices nobody asked for');
    server.put(serviceExport('db', 'mysql'));
    await untilHolds(rig, 'EndpointSlice db/mysql-n1', 'EndpointSlice db/mysql-49');
    t.equal(kept(), 52);
    const asked = server.requests.of('list', 'EndpointSlice');
    t.same(
      asked.map(({ path, query }) => [path, query.get('labelSelector')]),
      [
        [
          '/apis/discovery.k8s.io/v1/namespaces/db/endpointslices',
          'kubernetes.io/service-name=mysql,!multicluster.kubernetes.io/service-name',
        ],
      ],
    );
    server.put(nativeSlice('db', 'mysql-later', 'mysql'));
    await untilHolds(rig, 'EndpointSlice db/mysql-later');
    server.remove('ServiceExport', 'db', 'mysql');
    await untilGone(rig, 'EndpointSlice db/mysql-later');
    t.notOk(holds(rig, 'EndpointSlice db/mysql-n1'));
    t.equal(kept(), 1);
  },
);

t.test('rule 3: many exports at once are one list', async (t) => {
  const rig = await startSynced(t, {}, { exportsToList: 4 });
  const { server } = rig;
  for (let n = 0; n < 20; n++) server.put(nativeSlice('many', `svc-${n}-x`, `svc-${n}`));
  for (let n = 0; n < 20; n++) server.put(serviceExport('many', `svc-${n}`));
  await untilHolds(rig, ...Array.from({ length: 20 }, (_, n) => `EndpointSlice many/svc-${n}-x`));
  t.ok(server.requests.of('list', 'EndpointSlice').length < 20);
  t.ok(server.requests.of('list', 'EndpointSlice').some(({ parts }) => parts?.namespace === ''));
});

t.test(
  'rule 3: slices of a new export whose list fails are asked for again, with a new token where it ended',
  async (t) => {
    // Bookmarks, lest the watches be silent and a list of theirs bring the slices.
    const rig = await startSynced(t, { token: 'one', bookmarkMillis: 300 }, {}, { authorization: 'Bearer one' });
    const { server } = rig;
    server.fault({ type: 'status', code: 503 }, { kinds: ['list'], times: 1 });
    server.put(serviceExport('db', 'mysql'));
    await untilHolds(rig, 'EndpointSlice db/mysql-n1');
    server.accept(['two']);
    rig.access = accessTo(server.url, { authorization: 'Bearer two' });
    server.put(nativeSlice('db', 'redis-1', 'redis'));
    server.put(serviceExport('db', 'redis'));
    await untilHolds(rig, 'EndpointSlice db/redis-1');
    t.equal(server.watches().length, 4, 'the watches never noticed');
  },
);

t.test('rule 3: the version goes on with events and bookmarks, and the next watch starts there', async (t) => {
  const rig = await startSynced(t);
  const { server } = rig;
  const version = server.put(serviceImport('shop', 'one'));
  await untilHolds(rig, 'ServiceImport shop/one');
  server.endWatches('reset', { resource: 'ServiceImport' });
  const [byEvent] = await untilRequests(server, 1, 'watch', 'ServiceImport');
  t.equal(byEvent?.query.get('resourceVersion'), String(version));
  await isSynced(rig);
  for (let n = 0; n < 20; n++) server.put(serviceExport('shop', `other-${n}`));
  server.bookmark({ resource: 'ServiceImport' });
  const { version: now } = server.model;
  server.put(serviceExport('shop', 'last'));
  await untilHolds(rig, 'ServiceExport shop/last');
  server.endWatches('end', { resource: 'ServiceImport' });
  const [, byBookmark] = await untilRequests(server, 2, 'watch', 'ServiceImport');
  t.equal(byBookmark?.query.get('resourceVersion'), String(now));
  t.equal(server.requests.of('watch-list', 'ServiceImport').length, 1);
});

t.test('rule 3: timeoutSeconds is random within 240 and 600', async (t) => {
  const rig = await startSynced(t, { watchMillis: 30 }, { shortestWatchMillis: 0 });
  await untilRequests(rig.server, 100, 'watch');
  const asked = rig.server.requests.of('watch').map(({ query }) => Number(query.get('timeoutSeconds')));
  t.ok(Math.min(...asked) >= 240 && Math.max(...asked) <= 600);
  t.ok(Math.min(...asked) < 300 && Math.max(...asked) > 540, 'all over it');
  t.ok(new Set(asked).size > 50);
  for (const { query } of rig.server.requests.of('watch')) t.equal(query.get('allowWatchBookmarks'), 'true');
});

t.test('rule 4: a silent watch is found, and resumed without a list', async (t) => {
  const rig = await startSynced(t, { bookmarkMillis: 200 });
  const { server } = rig;
  const before = contents(rig.store);
  const last = server.model.version;
  server.fault({ type: 'silent' }, { resource: 'ServiceImport' });
  await until(() => server.watches({ resource: 'ServiceImport' }).length === 1);
  server.put(serviceImport('shop', 'unseen'));
  await server.heal();
  const [resumed] = await untilRequests(server, 1, 'watch', 'ServiceImport');
  t.equal(resumed?.query.get('resourceVersion'), String(last));
  await untilHolds(rig, 'ServiceImport shop/unseen');
  t.equal(server.requests.of('watch-list', 'ServiceImport').length, 1);
  t.same(
    contents(rig.store).filter((line) => !line.includes('unseen')),
    before,
  );
  t.equal(server.requests.of('watch', 'ServiceExport').length, 0, 'the others are not silent');
});

t.test('rule 4: the idle time grows with the gaps between bookmarks, and not with an outage', async (t) => {
  const rig = await startSynced(t, {}, { idleMillis: 600, initialQuietMillis: 600 });
  const { server } = rig;
  const only = { resource: 'ServiceImport' } as const;
  // Events keep the watch alive while its bookmarks are 1 s apart: it may be silent for 1.5 s from then on.
  server.bookmark(only);
  for (let n = 0; n < 10; n++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    server.put(serviceImport('shop', 'tick', { ips: [`10.0.1.${n}`] }));
  }
  server.bookmark(only);
  const began = performance.now();
  server.fault({ type: 'silent' }, only);
  const opened = (): number => server.requests.of('watch', 'ServiceImport').length;
  const before = opened();
  await until(() => opened() > before);
  t.ok(performance.now() - began > 1_200, `${performance.now() - began} ms`);

  const other = await startSynced(t, { bookmarkMillis: 100 }, { idleMillis: 600 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  await other.server.refuse();
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await other.server.listen();
  await isSynced(other);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const again = performance.now();
  const count = other.server.requests.of('watch', 'ServiceImport').length;
  other.server.fault({ type: 'silent' }, only);
  await until(() => other.server.requests.of('watch', 'ServiceImport').length > count);
  t.ok(performance.now() - again < 2_500, `${performance.now() - again} ms: the gap of the outage is none`);
});
