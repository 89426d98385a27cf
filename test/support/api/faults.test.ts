// Each fault of the fault server once, by fetch and node:http.

import { request } from 'node:http';
import t, { type Test } from 'tap';
import type { FaultServer } from './fault-server.ts';
import { rewrites, type Fault, type Where } from './faults.ts';
import { serviceImport } from './objects.ts';
import { IMPORTS, Lines, list, read, start, until, WATCH_LIST, type StatusBody } from './support-client.ts';

const web = serviceImport('shop', 'web');
const db = serviceImport('db', 'mysql', { type: 'Headless' });

/** A server with two imports and this fault; what a list gets of it. */
async function broken(
  t: Test,
  fault: Fault,
  where: Where = {},
): Promise<{ server: FaultServer; got: () => Promise<string> }> {
  const server = await start(t);
  server.put(web);
  server.put(serviceImport('umlaut', 'web', { clusters: ['größe'] }));
  server.fault(fault, where);
  const got = async (): Promise<string> => {
    try {
      const { code, text } = await read(server, IMPORTS);
      return `${code} ${text.length}`;
    } catch (error) {
      const { message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
      return cause?.code ?? cause?.message ?? message;
    }
  };
  return { server, got };
}

t.test('answers that are wrong', async (t) => {
  const status = await broken(
    t,
    { type: 'status', code: 503, retryAfter: 'Wed, 21 Oct 2099 07:28:00 GMT' },
    { times: 1 },
  );
  const { code, headers, text } = await read(status.server, IMPORTS);
  t.same([code, headers.get('retry-after')], [503, 'Wed, 21 Oct 2099 07:28:00 GMT']);
  t.match(JSON.parse(text), { kind: 'Status', reason: 'ServiceUnavailable' });
  t.match(await status.got(), /^200 /, 'once');
  status.server.fault({ type: 'status', code: 429, retryAfterSeconds: -1 }, { kinds: ['list'] });
  const limited = await read(status.server, IMPORTS);
  t.same(
    [limited.headers.get('retry-after'), (JSON.parse(limited.text) as StatusBody).details?.retryAfterSeconds],
    [null, -1],
  );
  t.equal((await read(status.server, '/apis')).code, 200, 'lists only');
  await status.server.heal();
  status.server.fault({ type: 'status', code: 403, isText: true, message: 'no way' }, { resource: 'ServiceImport' });
  t.equal((await read(status.server, IMPORTS)).text, 'no way');
  status.server.fault({ type: 'raw', code: 302, headers: { location: 'http://127.0.0.1:1/' }, body: '' });
  t.equal((await read(status.server, IMPORTS)).headers.get('location'), 'http://127.0.0.1:1/');
  status.server.fault({ type: 'raw', headers: { 'content-type': 'text/html' }, body: '<html>' });
  t.match(await read(status.server, IMPORTS), { code: 200, text: '<html>' });
  status.server.fault({ type: 'empty' });
  t.equal(await status.got(), '200 0');
  status.server.fault({ type: 'reset' });
  t.equal(await status.got(), 'ECONNRESET');
  status.server.fault({ type: 'hang-up' });
  t.match(await status.got(), /UND_ERR_SOCKET/);
  status.server.fault({ type: 'error-event', code: 500 }, { kinds: ['watch'] });
  await status.server.heal();
  status.server.fault({ type: 'status', code: 410 }, { isContinued: true });
  t.match(await status.got(), /^200 /);
  t.equal((await read(status.server, `${IMPORTS}?continue=x`)).code, 410, 'pages after the first only');
});

t.test('answers that never come', async (t) => {
  const { server } = await broken(t, { type: 'black-hole' });
  const silent = async (): Promise<string> => {
    try {
      return `${(await fetch(server.url + IMPORTS, { signal: AbortSignal.timeout(150) })).status}`;
    } catch {
      return 'nothing';
    }
  };
  t.equal(await silent(), 'nothing');
  server.fault({ type: 'headers-only' });
  const headersOnly = await Lines.open(t, server, IMPORTS);
  t.ok(await headersOnly.isSilent());
  await server.heal();
  t.equal(await silent(), '200');
  server.fault({ type: 'hold' });
  const held = read(server, IMPORTS);
  await until(() => server.requests.all.at(-1)!.endedAtMillis === undefined);
  await server.heal();
  t.equal((await held).code, 200, 'answered once healed');
  server.fault({ type: 'delay', millis: 50 });
  const began = performance.now();
  await read(server, IMPORTS);
  t.ok(performance.now() - began >= 45);
});

t.test('a port that refuses, and a network that loses everything', async (t) => {
  const { server, got } = await broken(t, { type: 'delay', millis: 0 });
  const watch = await Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${server.model.version}`);
  await server.refuse();
  t.equal(server.connections(), 0);
  t.equal(await watch.next(), 'broken');
  t.equal(await got(), 'ECONNREFUSED');
  await server.listen();
  t.match(await got(), /^200 /);

  const open = await Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${server.model.version}`);
  server.partition();
  server.put(db);
  t.ok(await open.isSilent(1), 'an open watch');
  const late = got();
  server.put(web);
  server.endWatches('end');
  t.equal(server.watches().length, 1);
  await server.heal();
  t.match(await late, /^200 /);
  // The read that waited above took the first line.
  t.same([await open.next(), await open.next()], ['MODIFIED web', 'end']);
});

t.test('connections that nobody reads', async (t) => {
  const server = await start(t);
  server.put(web);
  server.freeze();
  let code = 0;
  request(server.url + IMPORTS, { agent: false }, (response) => {
    code = response.statusCode ?? 0;
    response.resume();
  }).end();
  await until(() => server.connections() === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.same([server.requests.count, code], [0, 0]);
  await server.heal();
  await until(() => code === 200);
});

t.test('octets in the wrong shape', async (t) => {
  const cut = await broken(t, { type: 'cut', afterOctets: 300 }, { times: 1 });
  t.match(await cut.got(), /ECONNRESET|UND_ERR_SOCKET|terminated/, 'reset');
  const whole = await cut.got();
  cut.server.fault({ type: 'cut', afterOctets: 300, by: 'fin' }, { times: 1 });
  t.match(await cut.got(), /UND_ERR_SOCKET|other side closed|terminated/, 'closed');
  for (const fault of [
    { type: 'chunks', octets: 1 },
    { type: 'chunks', octets: 7 },
    { type: 'gzip' },
    { type: 'trickle', octetsPerSecond: 20_000 },
  ] satisfies Fault[]) {
    cut.server.fault(fault);
    t.equal(await cut.got(), whole, fault.type);
  }
  t.equal((await read(cut.server, IMPORTS)).headers.get('content-encoding'), 'gzip', 'they add up');
  await cut.server.heal();
  cut.server.fault({ type: 'trickle', octetsPerSecond: 2_000 });
  const began = performance.now();
  t.equal(await cut.got(), whole);
  t.ok(performance.now() - began > 150, 'slowly');
  await cut.server.heal();
  cut.server.fault({ type: 'chunks', octets: 1 });
  const lines = await Lines.open(t, cut.server, `${IMPORTS}?watch=1`);
  t.match(await lines.next(), 'ADDED web');
  cut.server.fault({ type: 'content-type', value: 'text/html' });
  t.equal((await read(cut.server, IMPORTS)).headers.get('content-type'), 'text/html');
  cut.server.fault({ type: 'list-metadata', metadata: { resourceVersion: undefined, continue: 'x' } });
  t.same((await list(cut.server, IMPORTS)).metadata, { continue: 'x' });
});

t.test('chunks end inside characters', async (t) => {
  const { server } = await broken(t, { type: 'chunks', octets: 1 });
  const parts: string[] = [];
  const text = await new Promise<string>((resolve) => {
    request(server.url + IMPORTS, (response) => {
      const all: Buffer[] = [];
      response.on('data', (part: Buffer) => {
        all.push(part);
        parts.push(part.toString());
      });
      response.on('end', () => resolve(Buffer.concat(all).toString()));
    }).end();
  });
  t.ok(parts.includes('\u{fffd}'));
  t.match(text, 'größe');
});

t.test('events that are wrong', async (t) => {
  const server = await start(t);
  const open = (): Promise<Lines> =>
    Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${server.model.version}`);
  const next = async (lines: Lines, count: number): Promise<string[]> => {
    const all: string[] = [];
    for (let i = 0; i < count; i++) all.push(await lines.next());
    return all;
  };
  const lines = await open();
  const lift = server.fault({ type: 'rewrite', line: rewrites.twice() });
  server.put(web);
  t.same(await next(lines, 2), ['ADDED web', 'ADDED web']);
  lift();
  server.fault({ type: 'rewrite', line: rewrites.swapped() }, { times: 2 });
  server.put(db);
  server.put(web);
  t.same(await next(lines, 2), ['MODIFIED web', 'ADDED mysql'], 'out of order');
  server.fault({ type: 'rewrite', line: rewrites.typed('RENAMED') }, { times: 1 });
  server.put(web);
  t.equal(await lines.next(), 'RENAMED web');
  server.fault({ type: 'rewrite', line: rewrites.versioned('1') }, { times: 1 });
  server.put(web);
  t.match(await lines.raw(), '"resourceVersion":"1"', 'goes back');
  server.fault({ type: 'rewrite', line: rewrites.versioned(undefined) }, { times: 1 });
  server.bookmark();
  server.put(web);
  t.notMatch(await lines.raw(), 'resourceVersion');
  server.fault({ type: 'rewrite', line: rewrites.skipped() }, { times: 1 });
  server.put(web);
  server.put(db);
  t.equal(await lines.next(), 'MODIFIED mysql', 'one was lost');

  server.injectError(410);
  t.equal(server.injectEvent('BOOKMARK', { kind: 'ServiceImport', metadata: {} }), 1);
  server.inject(`${'x'.repeat(9 << 20)}\n{"type":`);
  t.same(await next(lines, 2), ['ERROR 410', 'BOOKMARK']);
  t.equal((await lines.raw()).length, 9 << 20);
  server.endWatches('reset');
  t.equal(await lines.next(), 'broken', 'half a line, then a reset');
  const closed = await open();
  server.endWatches('fin');
  t.equal(await closed.next(), 'broken');

  const marked = await Lines.open(t, server, `${IMPORTS}?${WATCH_LIST}`);
  server.fault({ type: 'no-bookmarks' });
  t.same(await next(marked, 3), ['ADDED mysql', 'ADDED web', 'BOOKMARK of the initial events']);
  server.bookmark();
  server.fault({ type: 'silent' });
  server.put(web);
  await server.heal();
  server.put(db);
  server.endWatches('end');
  t.ok(await marked.isSilent(), 'silent for ever, and open');
  const fresh = await open();
  server.put(web);
  t.equal(await fresh.next(), 'MODIFIED web', 'a new one is not');

  server.fault({ type: 'error-event', code: 504 });
  t.same(await next(await open(), 2), ['ERROR 504', 'end']);
  server.fault({ type: 'empty' });
  t.equal(await (await open()).next(), 'end', 'ended at once, without anything');
});

t.test('objects in any form', async (t) => {
  const server = await start(t);
  server.put(web);
  server.putRaw('ServiceImport', 'a', 'null', null);
  server.putRaw('ServiceImport', 'a', 'long', { metadata: { name: 'x'.repeat(1 << 20) }, spec: [] });
  const { items } = await list(server, IMPORTS);
  t.same([items.length, items[1]], [3, null]);
  t.equal(items[0]?.metadata.name.length, 1 << 20);
  const watch = await Lines.open(t, server, `${IMPORTS}?watch=1&resourceVersion=${server.model.version}`);
  server.putRaw('ServiceImport', 'a', 'torn', '{"metadata":');
  t.equal(await watch.raw(), '{"type":"ADDED","object":{"metadata":}');
});
