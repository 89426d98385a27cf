// What a reflector does after a failure, by its code, what it keeps meanwhile, and how another server takes over. Against
// a server that breaks the rules on command. Waits by value: trouble.test.ts. Every other fault: faults.test.ts.

import t from 'tap';
import { serviceImport } from '../support/api/objects.ts';
import { accessTo, startMember, until } from './support-member.ts';
import {
  contents,
  holds,
  isSynced,
  startApi,
  startSynced,
  untilGone,
  untilHolds,
  untilReason,
  untilRequests,
} from './support-rules.ts';

t.jobs = 3;

const NATIVE = 'endpointslices (native)';

for (const how of ['status', 'event'] as const) {
  t.test(
    `rule 5: 410 as ${how === 'status' ? 'an HTTP status' : 'an ERROR event'} makes it list, and what is shown stays until then`,
    async (t) => {
      const rig = await startSynced(t);
      const { server } = rig;
      const before = contents(rig.store);
      server.fault({ type: 'hold' }, { kinds: ['watch-list'] });
      if (how === 'status') server.fault({ type: 'status', code: 410 }, { kinds: ['watch'] });
      else server.compact();
      server.endWatches('reset');
      server.remove('ServiceImport', 'db', 'mysql');
      if (how === 'event') server.compact();
      await untilRequests(server, 8, 'watch-list');
      t.same(contents(rig.store), before);
      await server.heal();
      await untilGone(rig, 'ServiceImport db/mysql');
      await isSynced(rig);
      t.equal(contents(rig.store).length, before.length - 1);
    },
  );
}

t.test('rule 5: other ERROR events back off and resume; the third in a row makes it list', async (t) => {
  const rig = await startSynced(t);
  const { server } = rig;
  const only = { resource: 'ServiceImport' } as const;
  server.fault(
    { type: 'error-event', code: 500, message: 'etcdserver: leader changed' },
    { kinds: ['watch'], ...only, times: 1 },
  );
  server.injectError(500, only);
  await untilRequests(server, 2, 'watch', 'ServiceImport');
  await isSynced(rig);
  t.equal(server.requests.of('watch-list', 'ServiceImport').length, 1, 'two of them');
  server.bookmark(only);
  server.put(serviceImport('shop', 'one'));
  await untilHolds(rig, 'ServiceImport shop/one');
  server.fault(
    { type: 'error-event', code: 500, message: 'etcdserver: leader changed' },
    { kinds: ['watch'], ...only },
  );
  server.injectError(500, only);
  await untilReason(rig, /serviceimports: ERROR event 500 etcdserver: leader changed/);
  await untilRequests(server, 2, 'watch-list', 'ServiceImport');
  t.equal(server.requests.of('watch', 'ServiceImport').length, 4, 'the event counted, and two more');
  await server.heal();
  await isSynced(rig);
});

t.test('rule 5: a server that has too much to do is not made to list', async (t) => {
  for (const code of [429, 503]) {
    const rig = await startSynced(t, {}, { backoffMillis: 20, backoffAnswerMillis: 40 });
    rig.server.fault({ type: 'status', code }, { kinds: ['watch'] });
    rig.server.endWatches('reset');
    await untilRequests(rig.server, 8, 'watch', 'ServiceImport');
    await rig.server.heal();
    await isSynced(rig);
    t.equal(rig.server.requests.of('watch-list').length, 4, String(code));
  }
});

t.test('rule 5: 401 reads the credentials once and tries again at once, then backs off', async (t) => {
  const rig = await startSynced(
    t,
    { token: 'one' },
    { backoffMillis: 20_000, backoffAnswerMillis: 20_000 },
    { authorization: 'Bearer one' },
  );
  const { server } = rig;
  server.accept(['two']);
  rig.access = accessTo(server.url, { authorization: 'Bearer two' });
  t.equal(rig.reads(), 1);
  server.endWatches('end', { resource: 'ServiceImport' });
  // Behind a watch that ended at once there is a pause of up to 20 s.
  const began = performance.now();
  await until(
    () => server.requests.of('watch', 'ServiceImport').some(({ code }) => code === 401),
    () => rig.member.status(),
    30_000,
  );
  await isSynced(rig);
  t.ok(performance.now() - began < 25_000);
  const [refused, taken] = server.requests.of('watch', 'ServiceImport');
  t.same([refused?.code, taken?.authorization], [401, 'Bearer two']);
  t.ok(taken!.atMillis - refused!.atMillis < 2_000, 'at once');
  t.equal(rig.reads(), 2);
});

t.test('rule 5: 401 that stays backs off', async (t) => {
  const rig = await startSynced(
    t,
    { token: 'one' },
    { backoffMillis: 400, backoffAnswerMillis: 400 },
    { authorization: 'Bearer one' },
  );
  const { server } = rig;
  const before = contents(rig.store);
  server.accept([]);
  server.endWatches('reset');
  await untilReason(rig, /401 Unauthorized/);
  const from = server.requests.count;
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  t.ok(server.requests.count - from < 60, `${server.requests.count - from} requests in a second`);
  t.same(contents(rig.store), before);
  server.accept(['three']);
  rig.access = accessTo(server.url, { authorization: 'Bearer three' });
  server.put(serviceImport('shop', 'meanwhile'));
  await untilHolds(rig, 'ServiceImport shop/meanwhile');
});

t.test('rule 5: 403 is asked again slowly, with the reason, and recovers when it is granted', async (t) => {
  const message = 'endpointslices.discovery.k8s.io is forbidden: User "x" cannot watch resource';
  const server = await startApi(t);
  server.fault({ type: 'status', code: 403, message }, { resource: 'EndpointSlice' });
  const rig = startMember(t, accessTo(server.url));
  await until(
    () => rig.member.status().state === 'degraded',
    () => rig.member.status(),
  );
  t.equal(rig.member.status().reason, `endpointslices (mirrored): 403 ${message}`);
  await untilHolds(rig, 'ServiceImport shop/web');
  const asked = server.requests.of('watch-list', 'EndpointSlice').length;
  await new Promise((resolve) => setTimeout(resolve, 900));
  t.ok(server.requests.of('watch-list', 'EndpointSlice').length - asked <= 8, 'a slow poll each');
  await server.heal();
  await untilHolds(rig, 'EndpointSlice shop/web-eu', 'EndpointSlice shop/web-n1');
  await until(
    () => rig.member.status().state === 'synced',
    () => rig.member.status(),
  );
  t.equal(rig.member.status().reason, undefined);
});

t.test('rule 5: 403 in the middle keeps what is held, and the watch goes on from there', async (t) => {
  const rig = await startSynced(t);
  const before = contents(rig.store);
  rig.server.fault({ type: 'status', code: 403 }, { resource: 'ServiceImport' });
  rig.server.endWatches('reset', { resource: 'ServiceImport' });
  await untilReason(rig, /serviceimports: 403 /);
  t.same(contents(rig.store), before);
  rig.server.put(serviceImport('shop', 'meanwhile'));
  await rig.server.heal();
  await untilHolds(rig, 'ServiceImport shop/meanwhile');
  t.equal(rig.server.requests.of('watch-list', 'ServiceImport').length, 1);
});

t.test('rule 5: 404 of a resource that discovery lists is no empty list', async (t) => {
  const server = await startApi(t);
  server.fault({ type: 'status', code: 404, isText: true }, { resource: 'ServiceImport' });
  const rig = startMember(t, accessTo(server.url));
  await until(
    () => rig.member.details().resources['serviceimports']?.phase === 'absent',
    () => rig.member.details(),
  );
  t.match(rig.member.details().resources['serviceimports']?.reason, /404 404 page not found/);
  await until(
    () => rig.member.details().resources[NATIVE]?.phase === 'watching',
    () => rig.member.details(),
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.notOk(rig.member.status().hasSynced);
  await server.heal();
  await untilHolds(rig, 'ServiceImport shop/web');
});

t.test('rule 5: Retry-After is kept', async (t) => {
  const rig = await startSynced(t);
  const { server } = rig;
  const fault = { type: 'status', code: 429, retryAfterSeconds: 1, retryAfter: '2' } as const;
  server.fault(fault, { kinds: ['watch'], resource: 'ServiceImport', times: 1 });
  server.endWatches('reset', { resource: 'ServiceImport' });
  const [first, second] = await untilRequests(server, 2, 'watch', 'ServiceImport');
  const waited = second!.atMillis - first!.atMillis;
  t.ok(waited >= 1_990 && waited < 6_000, `${waited} ms`);
});

t.test('rule 5: watches that end at once, with an event or without, are paced', async (t) => {
  for (const body of [
    '',
    '{"type":"BOOKMARK","object":{"kind":"ServiceImport","metadata":{"resourceVersion":"9"}}}\n',
  ]) {
    const rig = await startSynced(t);
    const { server } = rig;
    server.fault({ type: 'raw', body }, { kinds: ['watch'] });
    server.endWatches('end');
    const reason = await untilReason(rig, /a watch that ended at once/);
    t.match(reason, /a watch that ended at once/);
    const from = server.requests.count;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    t.ok(server.requests.count - from < 100, `${server.requests.count - from} requests in a second`);
    await server.heal();
    await isSynced(rig);
  }
});

t.test('rule 7: refused fields are kept as reasons, so many and no more, and the rest is served', async (t) => {
  const server = await startApi(t);
  for (let n = 0; n < 50; n++) server.put(serviceImport('shop', `bad-${n}`, { ips: ['nonsense', '10.0.0.3'] }));
  const rig = startMember(t, accessTo(server.url), { refusedObjects: 10 });
  await untilHolds(rig, 'ServiceImport shop/bad-49');
  t.equal(rig.member.details().refusedObjects, 10);
  t.match(
    rig.member.details().firstRefusal,
    /ServiceImport shop\/bad-\d+ spec\.ips\.0: "nonsense" is not an IP address/,
  );
  t.match(
    contents(rig.store).find((line) => line.includes('bad-7')),
    /"ips":\["10\.0\.0\.3"\]/,
  );
});

t.test('rule 8: only a delete that was seen, or a whole list, takes an object away', async (t) => {
  const rig = await startSynced(t);
  const { server } = rig;
  const before = contents(rig.store);
  for (const object of [{}, { metadata: {} }, { metadata: { namespace: 'shop', name: 'none' } }, null, 'x', []]) {
    server.injectEvent('DELETED', object);
  }
  server.put(serviceImport('shop', 'marker'));
  await untilHolds(rig, 'ServiceImport shop/marker');
  server.remove('ServiceImport', 'shop', 'marker');
  await untilGone(rig, 'ServiceImport shop/marker');
  t.same(contents(rig.store), before);
});

t.test(
  'rule 9: a new server syncs beside the old one and is swapped in; what came late from the old one does nothing',
  async (t) => {
    const rig = await startSynced(t);
    const next = await startApi(t);
    next.remove('ServiceImport', 'db', 'mysql');
    next.put(serviceImport('shop', 'moved'));
    next.fault({ type: 'hold' }, { kinds: ['watch-list'], resource: 'EndpointSlice' });
    const before = contents(rig.store);
    rig.access = accessTo(next.url);
    await rig.member.renew();
    await untilRequests(next, 1, 'watch-list', 'EndpointSlice');
    await until(() => next.watches({ resource: 'ServiceImport' }).length === 1);
    t.same(contents(rig.store), before, 'not a part of it');
    rig.server.put(serviceImport('shop', 'old-one'));
    await untilHolds(rig, 'ServiceImport shop/old-one');
    await next.heal();
    await untilHolds(rig, 'ServiceImport shop/moved');
    await until(
      () => rig.server.connections() === 0,
      () => rig.server.connections(),
    );
    t.notOk(holds(rig, 'ServiceImport db/mysql') || holds(rig, 'ServiceImport shop/old-one'));
  },
);
