// How long the reflector waits, by value: windows and their jitter, Retry-After however it is given, and the turns of
// lists. What makes it wait: reflector-watch.test.ts and faults.test.ts.

import t from 'tap';
import { Backoff } from '../../src/k8s/api/backoff.ts';
import { ListGate } from '../../src/k8s/api/list-gate.ts';
import { connectionTrouble, eventTrouble, statusTrouble, TroubleError } from '../../src/k8s/api/trouble.ts';
import type { TroubleKind } from '../../src/k8s/api/trouble.ts';
import { limits } from '../../src/limits.ts';

const never = new AbortController().signal;

/** Waits of so many troubles in a row, with this luck, one moment apart. */
function waits(kind: TroubleKind, count: number, luck: number): number[] {
  const backoff = new Backoff(limits.reflector, () => luck);
  return Array.from({ length: count }, (_, i) => Math.round(backoff.next(new TroubleError(kind, ''), i)));
}

t.test('rule 5: full jitter in windows that double: to 4 s for connections, to 30 s for answers', async (t) => {
  for (const kind of ['connection', 'body', 'gone'] as const) {
    t.same(waits(kind, 5, 1), [800, 1_600, 3_200, 4_000, 4_000], kind);
  }
  for (const kind of ['answer', 'unauthorized', 'invalid'] as const) {
    t.same(waits(kind, 8, 1), [800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000], kind);
  }
  t.same(waits('answer', 3, 0.5), [400, 800, 1_600], 'anywhere in the window');
  t.same(waits('answer', 3, 0), [20, 20, 20], 'and never at once');
  t.same(waits('answer', 2_000, 1).at(-1), 30_000);
});

t.test('rule 5: what is forbidden, absent or held back is asked for slowly, jittered by a quarter', async (t) => {
  for (const kind of ['forbidden', 'absent'] as const) {
    // A server that is still starting says so too (kube-apiserver 1.36 answers 403): the first polls are not slow.
    const windows = [800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000];
    for (const [luck, share] of [
      [0, 0.75],
      [1, 1.25],
    ] as const) {
      t.same(
        waits(kind, windows.length, luck),
        windows.map((millis) => millis * share),
      );
    }
  }
  t.same([waits('held', 1, 0), waits('held', 1, 1)], [[3_750], [6_250]]);
});

t.test('rule 5: two minutes of health make it begin anew, less does not', async (t) => {
  const backoff = new Backoff(limits.reflector, () => 1);
  const next = (nowMillis: number): number => backoff.next(new TroubleError('connection', ''), nowMillis);
  t.same([next(0), next(1)], [800, 1_600]);
  backoff.healthy(1_000);
  t.equal(next(120_999), 3_200, 'a moment short of it');
  backoff.healthy(200_000);
  backoff.healthy(319_000);
  t.equal(next(320_000), 800, 'counted from its beginning');
  t.equal(next(900_000), 1_600, 'time without health is none');
});

t.test('rule 5: Retry-After in seconds, as a date and in the details, kept between 1 s and 60 s', async (t) => {
  const now = Date.parse('2026-11-21T11:00:00Z');
  const wait = (header: string | undefined, details?: unknown): number =>
    new Backoff(limits.reflector, () => 0).next(statusTrouble(429, { details }, header, now), 0);
  const least = 20; // the jitter on top, without luck
  t.equal(wait('7'), 7_000 + least);
  t.equal(wait('Sat, 21 Nov 2026 11:00:09 GMT'), 9_000 + least);
  t.equal(wait(undefined, { retryAfterSeconds: 5 }), 5_000 + least);
  t.equal(wait('3', { retryAfterSeconds: 5 }), 3_000 + least, 'the header goes first');
  t.equal(wait('soon', { retryAfterSeconds: 5 }), 5_000 + least, 'one that cannot be read is none');
  for (const mad of ['999999999', '1'.repeat(400), 'Sat, 21 Nov 2126 11:00:00 GMT'])
    t.equal(wait(mad), 60_000 + least, mad);
  for (const mad of ['-1', '0', 'Sat, 21 Nov 2020 11:00:00 GMT', '-999999999']) t.equal(wait(mad), 1_000 + least, mad);
  for (const mad of [999_999_999, Infinity]) t.equal(wait(undefined, { retryAfterSeconds: mad }), 60_000 + least);
  for (const mad of [-1, 0]) t.equal(wait(undefined, { retryAfterSeconds: mad }), 1_000 + least);
  for (const none of ['', 'soon', undefined])
    t.equal(wait(none, { retryAfterSeconds: null }), least, 'the window alone');
  t.equal(wait(undefined, { retryAfterSeconds: NaN }), least);
  const lucky = new Backoff(limits.reflector, () => 1);
  t.equal(lucky.next(statusTrouble(503, undefined, '2'), 0), 2_500, 'at most a quarter more');
});

t.test('one clear line, whatever the server said', async (t) => {
  t.equal(statusTrouble(503, undefined, undefined).message, '503 Service Unavailable');
  t.equal(statusTrouble(299, {}, undefined).message, '299');
  t.equal(statusTrouble(403, { message: 'no\n\tyou may\u2028not' }, undefined).message, '403 no you may not');
  t.equal(statusTrouble(500, { message: 'x'.repeat(9_999) }, undefined).message.length, '500 '.length + 201);
  t.equal(statusTrouble(500, { message: 7, details: 'x' }, undefined).message, '500 Internal Server Error');
  t.match(eventTrouble({ code: 410, message: 'too old' }), { kind: 'gone', message: 'ERROR event 410 too old' });
  for (const odd of [null, 7, {}, { code: '410' }, { code: null }])
    t.match(eventTrouble(odd), { kind: 'answer', code: 0 });
  for (const code of [400, 401, 403, 404, 422]) t.equal(eventTrouble({ code }).kind, 'answer', 'it was let in before');
  const refused = Object.assign(new Error('connect 127.0.0.1:1'), { code: 'ECONNREFUSED' });
  t.equal(connectionTrouble(refused).message, 'connection refused (ECONNREFUSED)');
  t.equal(connectionTrouble(new Error('a', { cause: refused })).message, 'a: connection refused (ECONNREFUSED)');
  t.equal(connectionTrouble(new AggregateError([refused])).message, 'connection refused (ECONNREFUSED)');
});

t.test('rule 10: so many lists at once, first come, first served; a slow one gives its turn up', async (t) => {
  // The gate's own clock keeps no process alive.
  const awake = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(awake));
  const gate = new ListGate(2, 200);
  const order: number[] = [];
  const enter = (n: number): Promise<() => void> =>
    gate.enter(never).then((leave) => {
      order.push(n);
      return leave;
    });
  const [first, , third] = [enter(1), enter(2), enter(3), enter(4)];
  await new Promise((resolve) => setImmediate(resolve));
  t.same(order, [1, 2]);
  (await first)();
  (await first)();
  await new Promise((resolve) => setImmediate(resolve));
  t.same(order, [1, 2, 3], 'one for one, however often it says so');
  const began = performance.now();
  await enter(5);
  t.same(order, [1, 2, 3, 4, 5], 'though none of the slow ones ended');
  t.ok(performance.now() - began > 100);
  (await third)();
});

t.test('rule 10: who waits for a turn and is closed leaves the queue', async (t) => {
  const gate = new ListGate(1, 60_000);
  const leave = await gate.enter(never);
  const closing = new AbortController();
  const closed = gate.enter(closing.signal);
  const next = gate.enter(never);
  closing.abort();
  await t.rejects(closed, { name: 'AbortError' });
  await t.rejects(gate.enter(closing.signal), { name: 'AbortError' });
  leave();
  (await next)();
  (await gate.enter(never))();
});
