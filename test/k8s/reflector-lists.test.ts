// How a reflector lists: watch-list and pages, the shadow, trust in a whole list, audits, turns, served versions. Against
// a server that breaks the rules on command; what is shown is what the store holds. Watching: reflector-watch.test.ts.

import t from 'tap';
import { ListGate } from '../../src/k8s/api/list-gate.ts';
import { FaultServer } from '../support/api/fault-server.ts';
import { endpoints, forkedImport, mirroredSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { accessTo, startMember, until } from './support-member.ts';
import {
  contents,
  holds,
  isSynced,
  names,
  startApi,
  startSynced,
  untilGone,
  untilHolds,
  untilReason,
  untilRequests,
} from './support-rules.ts';

t.jobs = 3;

const SEED = [
  'EndpointSlice shop/web-eu',
  'EndpointSlice shop/web-n1',
  'ServiceExport shop/web',
  'ServiceImport db/mysql',
  'ServiceImport shop/web',
];

t.test('rule 1: one watch-list a resource, of every selector, to the bookmark that ends it', async (t) => {
  const { server, store } = await startSynced(t);
  t.same(names(store), SEED);
  t.equal(server.requests.of('list').length, 0);
  t.equal(server.requests.of('watch').length, 0, 'the same stream is the watch');
  const opened = server.requests.of('watch-list');
  t.equal(opened.length, 4);
  for (const { query } of opened) {
    t.same(
      [query.get('sendInitialEvents'), query.get('resourceVersionMatch'), query.get('allowWatchBookmarks')],
      ['true', 'NotOlderThan', 'true'],
    );
    t.notOk(query.get('resourceVersion'));
  }
});

t.test('rule 1: nothing is shown before the bookmark came', async (t) => {
  const server = await startApi(t);
  server.fault(
    { type: 'rewrite', line: (line, type) => (type === 'BOOKMARK' ? [] : [line]) },
    { kinds: ['watch-list'] },
  );
  const rig = startMember(t, accessTo(server.url), { initialQuietMillis: 60_000, listMillis: 60_000 });
  await until(
    () => server.watches().length === 3,
    () => rig.member.details(),
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.same(contents(rig.store), []);
  t.notOk(rig.member.status().hasSynced);
});

for (const watchList of ['refused', 'old-etcd', 'ignored'] as const) {
  t.test(
    `rule 1: a server whose watch-list is ${watchList} is listed in pages of 500, and that is remembered`,
    async (t) => {
      const server = await startApi(t, { watchList });
      for (let n = 0; n < 1_200; n++) server.put(serviceImport('many', `svc-${n}`));
      const rig = { server, ...startMember(t, accessTo(server.url)) };
      await isSynced(rig);
      t.equal(names(rig.store).length, SEED.length + 1_200);
      const pages = server.requests.of('list', 'ServiceImport');
      t.same(
        pages.map(({ query }) => [query.get('limit'), query.has('continue'), query.get('resourceVersion')]),
        [
          ['500', false, null],
          ['500', true, null],
          ['500', true, null],
        ],
      );
      const asked = server.requests.of('watch-list').length;
      t.ok(asked <= 4);
      server.injectError(410);
      await untilRequests(server, 2, 'list', 'ServiceExport');
      t.equal(server.requests.of('watch-list').length, asked, 'never asked again');
      for (const { query } of server.requests.all)
        t.not(query.get('resourceVersion'), '0', 'a limit does not hold for 0');
    },
  );
}

t.test('rule 1: initial events that end without a resourceVersion, or at once, are no list', async (t) => {
  const line = (text: string, type: string): string[] =>
    type === 'BOOKMARK' ? [text.replace(/"resourceVersion":"\d+",/, '')] : [text];
  const bare = await startApi(t);
  bare.fault({ type: 'rewrite', line }, { kinds: ['watch-list'] });
  await isSynced({ server: bare, member: startMember(t, accessTo(bare.url)).member });
  t.equal(bare.requests.of('list').length, 4);
  const short = await startApi(t);
  short.fault({ type: 'empty' }, { kinds: ['watch-list'] });
  await isSynced({ server: short, member: startMember(t, accessTo(short.url)).member });
  t.equal(short.requests.of('list').length, 4);
});

t.test('rule 1: 410 on continue starts again from the first page', async (t) => {
  const server = await startApi(t, { watchList: 'refused' });
  for (let n = 0; n < 600; n++) server.put(serviceImport('many', `svc-${n}`));
  server.fault({ type: 'status', code: 410 }, { kinds: ['list'], isContinued: true, times: 1 });
  const { store, member } = startMember(t, accessTo(server.url));
  await isSynced({ server, member });
  t.same(
    server.requests.of('list', 'ServiceImport').map(({ query }) => query.has('continue')),
    [false, true, false, true],
  );
  t.equal(names(store).length, SEED.length + 600);
});

t.test('rule 1: pages that do not go on are no list', async (t) => {
  const server = await startApi(t, { watchList: 'refused' });
  server.fault(
    { type: 'list-metadata', metadata: { continue: 'eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiIn0' } },
    { kinds: ['list'] },
  );
  const rig = startMember(t, accessTo(server.url));
  await untilReason(rig, /a list whose pages do not go on/);
  t.same(contents(rig.store), []);
});

t.test(
  'rule 2: a list that breaks, or is under way, changes nothing that is shown; a whole one is swapped in',
  async (t) => {
    const rig = await startSynced(t, { watchList: 'refused' }, { listMillis: 60_000 });
    const { server, store } = rig;
    for (let n = 0; n < 600; n++) server.put(serviceImport('many', `svc-${n}`));
    await untilHolds(rig, 'ServiceImport many/svc-599');
    const before = contents(store);
    // Behind the back of the watch: only a list can bring it.
    server.fault({ type: 'rewrite', line: () => [] }, { kinds: ['watch'] });
    server.remove('ServiceImport', 'db', 'mysql');
    server.put(serviceImport('shop', 'web', { ips: ['10.0.0.9'] }));
    server.put(serviceImport('shop', 'late'));
    const break2 = server.fault({ type: 'cut', afterOctets: 20_000 }, { kinds: ['list'], isContinued: true });
    server.compact();
    server.endWatches('end', { resource: 'ServiceImport' });
    const cut = (): number =>
      server.requests.of('list', 'ServiceImport').filter((each) => each.query.has('continue')).length;
    await until(
      () => cut() >= 4,
      () => server.requests.of('list').map((each) => each.url),
    );
    t.same(contents(store), before, 'lists that broke on their second page');
    server.fault({ type: 'hold' }, { kinds: ['list'], isContinued: true });
    break2();
    const seen = cut();
    await until(() => cut() > seen);
    t.same(contents(store), before, 'one that is under way');
    await server.heal();
    await untilHolds(rig, 'ServiceImport shop/late');
    t.notOk(holds(rig, 'ServiceImport db/mysql'), 'what it lacks went in the same moment');
    t.match(contents(store).join('\n'), /10\.0\.0\.9/);
  },
);

t.test('rule 2: a partial watch-list is never published', async (t) => {
  const rig = await startSynced(t);
  const before = contents(rig.store);
  const { server } = rig;
  for (const how of ['fin', 'reset'] as const) {
    server.fault({ type: 'cut', afterOctets: 100, by: how }, { kinds: ['watch-list', 'list'] });
    server.injectError(410);
    await until(
      () => rig.member.status().state === 'out of touch',
      () => rig.member.status(),
    );
    t.same(contents(rig.store), before, how);
    await server.heal();
    await isSynced(rig);
  }
  t.same(contents(rig.store), before);
});

t.test('rule 6: a list is trusted whatever its number, as of an etcd that was restored', async (t) => {
  const rig = await startSynced(t, {}, { idleMillis: 400 });
  const { server } = rig;
  const old = server.snapshot();
  for (let n = 0; n < 30; n++) server.put(serviceImport('shop', `after-${n}`));
  server.remove('ServiceImport', 'db', 'mysql');
  await untilHolds(rig, 'ServiceImport shop/after-29');
  await untilGone(rig, 'ServiceImport db/mysql');
  server.restore(old);
  await untilReason(rig, /a watch that was silent/);
  await untilHolds(rig, 'ServiceImport db/mysql');
  await untilGone(rig, 'ServiceImport shop/after-0');
  t.equal(server.requests.of('watch', 'ServiceImport').length, 3, 'by the third watch, which all were mute');
  t.same(names(rig.store), SEED);
  server.put(serviceImport('shop', 'new'));
  await untilHolds(rig, 'ServiceImport shop/new');
});

t.test('rule 6: an audit compares, and says how much the watch had missed', async (t) => {
  const rig = await startSynced(t, { watchMillis: 500 }, { auditMillis: 1_500, shortestWatchMillis: 100 });
  const { server } = rig;
  const listed = (): number => server.requests.of('watch-list', 'ServiceImport').length;
  await until(() => listed() >= 3);
  t.same(rig.notes, [], 'audits that find nothing say nothing');
  server.fault(
    { type: 'rewrite', line: (line, type) => (type === 'BOOKMARK' ? [line] : []) },
    { kinds: ['watch', 'watch-list'], resource: 'ServiceImport', times: 2 },
  );
  server.put(serviceImport('shop', 'web', { ips: ['10.0.0.9'] }));
  server.put(serviceImport('shop', 'missed'));
  server.bookmark();
  await untilHolds(rig, 'ServiceImport shop/missed');
  await until(
    () => rig.notes.length > 0,
    () => rig.notes,
  );
  t.match(rig.notes.join(), /missed changes.*"resource":"serviceimports","missed":2/);
});

t.test('rule 6: what changes while the server is out of reach is not what a watch missed', async (t) => {
  const rig = await startSynced(t, {}, { auditMillis: 1 });
  const { server } = rig;
  await server.refuse();
  await untilReason(rig, /ECONNREFUSED/);
  server.remove('ServiceImport', 'db', 'mysql');
  await server.listen();
  await untilGone(rig, 'ServiceImport db/mysql');
  await isSynced(rig);
  t.same(rig.notes, []);
});

t.test('rule 6: a list that would take most names away waits for one that says so too', async (t) => {
  const rig = await startSynced(t, {}, { confirmMillis: 1_500 });
  const { server, store } = rig;
  for (let n = 0; n < 40; n++) server.put(serviceImport('many', `svc-${n}`));
  await untilHolds(rig, 'ServiceImport many/svc-39');
  const before = contents(store);
  server.fault(
    { type: 'rewrite', line: () => [] },
    { when: ({ resource, kind }) => resource === 'ServiceImport' && kind === 'watch-list', times: 40 },
  );
  for (let n = 0; n < 40; n++) server.remove('ServiceImport', 'many', `svc-${n}`);
  server.injectError(410, { resource: 'ServiceImport' });
  await untilReason(rig, /a list that would take most of the names away/);
  t.same(contents(store), before);
  await untilGone(rig, 'ServiceImport many/svc-0');
  t.same(names(store), SEED);
});

t.test('rule 10: many clusters list in turns, and those that are slow do not hold up the others', async (t) => {
  const lists = new ListGate(2, 300);
  const slow = await FaultServer.start();
  t.teardown(() => slow.close());
  slow.fault({ type: 'hold' }, { kinds: ['watch-list', 'list'] });
  const fast = await Promise.all(Array.from({ length: 6 }, () => startApi(t)));
  const atOnce = (): number => fast.reduce((sum, server) => sum + (server.peak.get('watch-list') ?? 0), 0);
  const stuck = startMember(t, accessTo(slow.url), { headersMillis: 60_000 }, lists);
  await until(() => slow.requests.of('watch-list').length >= 2);
  t.equal(slow.requests.of('watch-list').length, 2, 'no more at once');
  const rigs = fast.map((server) => ({ server, ...startMember(t, accessTo(server.url), {}, lists) }));
  for (const rig of rigs) await isSynced(rig);
  t.ok(atOnce() > 0);
  t.notOk(stuck.member.status().hasSynced);
});

t.test('rule 11: v1beta1, or v1alpha1 where it is alone', async (t) => {
  const both = await startSynced(t);
  t.match(both.server.requests.of('watch-list', 'ServiceImport')[0]?.groupVersion, 'multicluster.x-k8s.io/v1beta1');
  const old = await startSynced(t, { versions: { ServiceImport: ['v1alpha1'], ServiceExport: ['v1alpha1'] } });
  t.match(old.server.requests.of('watch-list', 'ServiceImport')[0]?.groupVersion, 'multicluster.x-k8s.io/v1alpha1');
  t.same(contents(old.store).length, SEED.length);
});

for (const [fork, resource] of [
  ['net.gke.io/v1', 'GkeServiceImport'],
  ['networking.fleet.azure.com/v1alpha1', 'FleetServiceImport'],
] as const) {
  t.test(`rule 11: ${fork}, with its fields at the root`, async (t) => {
    const [, version = ''] = fork.split('/');
    const server = await FaultServer.start({
      versions: { ServiceImport: [], ServiceExport: [], [resource]: [version] },
    });
    t.teardown(() => server.close());
    server.put(forkedImport(fork, 'shop', 'web', { ips: ['10.0.0.7'] }));
    server.put(mirroredSlice('shop', 'web-eu', 'web', 'eu', { endpoints: endpoints(2) }));
    const rig = startMember(t, accessTo(server.url));
    await untilHolds(rig, 'ServiceImport shop/web');
    t.match(contents(rig.store).join('\n'), /"ips":\["10\.0\.0\.7"\]/);
    t.ok(rig.member.status().hasSynced, 'exports that are not served stop nobody');
    server.setVersions('ServiceImport', ['v1beta1']);
    server.put(serviceImport('shop', 'web', { ips: ['10.0.0.8'] }));
    server.put(serviceImport('shop', 'other'));
    server.setVersions(resource, []);
    await untilHolds(rig, 'ServiceImport shop/other');
    t.match(contents(rig.store).join('\n'), /"ips":\["10\.0\.0\.8"\]/, 'another group is listed anew');
    t.equal(server.requests.of('watch', 'ServiceImport').length, 0, 'and not watched from where the other one was');
  });
}

t.test('rule 11: a version that ends while it is watched moves to the other, and nothing is lost', async (t) => {
  const rig = await startSynced(t, {}, { slowPollMillis: 60_000 });
  const { server } = rig;
  const before = contents(rig.store);
  server.fault({ type: 'hold' }, { kinds: ['watch'] });
  server.setVersions('ServiceImport', ['v1alpha1']);
  await untilRequests(server, 1, 'watch', 'ServiceImport');
  server.put(serviceImport('shop', 'meanwhile'));
  await server.heal();
  await untilHolds(rig, 'ServiceImport shop/meanwhile');
  t.match(server.requests.of('watch', 'ServiceImport').at(-1)?.groupVersion, 'multicluster.x-k8s.io/v1alpha1');
  t.equal(server.requests.of('watch-list', 'ServiceImport').length, 1, 'the watch goes on from where it was');
  t.same(
    contents(rig.store).filter((line) => !line.includes('meanwhile')),
    before,
  );
  t.match(rig.member.status(), { state: 'synced', reason: undefined });
});

t.test('rule 11: a CRD that comes later, and one that goes', async (t) => {
  const server = await FaultServer.start({ versions: { ServiceImport: [], ServiceExport: [] } });
  t.teardown(() => server.close());
  const rig = startMember(t, accessTo(server.url));
  await until(
    () => rig.member.status().state === 'synced',
    () => rig.member.status(),
  );
  t.match(rig.member.details().resources['serviceimports'], {
    phase: 'absent',
    reason: /not served by this API server/,
  });
  server.setVersions('ServiceImport', ['v1beta1'], 300);
  server.setVersions('ServiceExport', ['v1beta1']);
  server.put(serviceImport('shop', 'web'));
  server.put(serviceExport('shop', 'web'));
  await untilHolds(rig, 'ServiceImport shop/web', 'ServiceExport shop/web');
  server.setVersions('ServiceImport', []);
  await untilGone(rig, 'ServiceImport shop/web');
  await until(
    () => rig.member.details().resources['serviceimports']?.phase === 'absent',
    () => rig.member.details(),
  );
  server.setVersions('ServiceImport', ['v1alpha1']);
  server.put(serviceImport('shop', 'again'));
  await untilHolds(rig, 'ServiceImport shop/again');
});
