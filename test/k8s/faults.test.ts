// What an API server, or what stands before it, can do wrong: none of it changes what is held, each is told in one clear
// line, and once it is over what changed meanwhile arrives without a restart. Rules of the reflector: reflector-*.test.ts.

import t, { type Test } from 'tap';
import type { ReflectorLimits } from '../../src/k8s/api/backoff.ts';
import type { FaultServer } from '../support/api/fault-server.ts';
import type { AnswerFault, Fault, Where } from '../support/api/faults.ts';
import { serviceImport } from '../support/api/objects.ts';
import { accessTo, startMember, until } from './support-member.ts';
import { contents, isSynced, startApi, startSynced, untilGone, untilHolds, untilReason } from './support-rules.ts';

t.jobs = 4;

interface Broken {
  readonly fault: Fault | ((server: FaultServer) => unknown);
  /** What the status says of it while it watches, and while it has not read anything yet; undefined: it reads all the same. */
  readonly watching: RegExp | undefined;
  readonly starting: RegExp | undefined;
  readonly where?: Where;
  readonly limits?: Partial<ReflectorLimits>;
  /** The server knows no watch-list. */
  readonly isPaged?: boolean;
}

const MEANWHILE = 'ServiceImport shop/meanwhile';
const html = '<!DOCTYPE html>\n<html><body><h1>Sign in</h1></body></html>\n';

function answers(code: number, parts: Partial<Extract<AnswerFault, { type: 'status' }>> = {}): AnswerFault {
  return { type: 'status', code, ...parts };
}

function raw(body: string, contentType = 'application/json', code = 200): AnswerFault {
  return { type: 'raw', code, headers: { 'content-type': contentType }, body };
}

/** Told in the same words whether it watches or starts. */
function both(fault: Broken['fault'], reason: RegExp, more: Partial<Broken> = {}): Broken {
  return { fault, watching: reason, starting: reason, ...more };
}

function watching(fault: Broken['fault'], reason: RegExp, more: Partial<Broken> = {}): Broken {
  return { fault, watching: reason, starting: undefined, ...more };
}

function starting(fault: Broken['fault'], reason: RegExp, more: Partial<Broken> = {}): Broken {
  return { fault, watching: undefined, starting: reason, ...more };
}

const watches: Where = { kinds: ['watch'] };
const documents: Where = { kinds: ['discovery'], when: ({ path }) => path !== '/apis' };
/** A list in pages: of a server that knows no watch-list. */
const pages: Partial<Broken> = { where: { kinds: ['list'] }, isPaged: true };
const large = 'x'.repeat(9 * 1_024 * 1_024);
const cut = /connection (reset|closed by the other side) \(|aborted|terminated/;
const silent = /a watch that was silent for 2 s/;
const version = String.raw`multicluster\.x-k8s\.io\/v1beta1`;

const all: Readonly<Record<string, Broken>> = {
  'connection refused': both((server) => server.refuse(), /connection refused \(ECONNREFUSED\)/),
  'a black hole before the headers': both({ type: 'black-hole' }, /no reply in time/),
  'connections that nobody reads': both((server) => {
    server.freeze();
    server.cut();
  }, /no reply in time/),
  'a black hole behind the headers of a watch': watching({ type: 'headers-only' }, silent, { where: watches }),
  'a black hole behind the headers': {
    fault: { type: 'headers-only' },
    watching: silent,
    starting: /the body did not come in time/,
    limits: { listMillis: 700 },
  },
  'a black hole behind the headers of a list': starting(
    { type: 'headers-only' },
    /a list that was not whole after 0\.7 s/,
    {
      ...pages,
      limits: { listMillis: 700 },
    },
  ),
  reset: both({ type: 'reset' }, /connection (reset|closed by the other side) \(/),
  'hanging up': both({ type: 'hang-up' }, /connection closed by the other side \(UND_ERR_SOCKET\)/),
  'a reset in mid-line': both({ type: 'cut', afterOctets: 60, by: 'reset' }, cut),
  'an end in mid-line': both({ type: 'cut', afterOctets: 60, by: 'fin' }, cut),
  'a line that is cut by a proper end': both(raw('{"type":"ADDED","obj'), /cut in the middle of a line|no JSON/),
  401: both(answers(401), /401 Unauthorized/),
  403: both(answers(403, { message: 'forbidden: User "x" cannot list' }), /403 forbidden: User "x" cannot list/),
  404: both(answers(404), /404 the server could not find the requested resource at \/apis: no Kubernetes API server/),
  '404 text/plain': both(answers(404, { isText: true }), /404 404 page not found at \/apis/),
  '404 of a version that is listed': starting(
    answers(404),
    new RegExp(`/apis lists ${version}, which is answered 404`),
    {
      where: documents,
    },
  ),
  410: both(answers(410), /410 too old resource version/),
  429: both(answers(429), /429 too many requests/),
  500: both(answers(500), /500 Internal error occurred: etcdserver/),
  503: both(answers(503), /503 the server is currently unable to handle the request/),
  '503 with Retry-After': both(answers(503, { retryAfter: '1' }), /503 the server is currently unable/),
  '503 with a mad Retry-After': both(answers(503, { retryAfter: '-1', retryAfterSeconds: -999_999_999 }), /503 the/),
  '503 of a load balancer': both(raw(html, 'text/html', 503), /503 \(an HTML page\)/),
  'HTML instead of JSON': both(
    raw(html, 'text/html; charset=utf-8'),
    /200 with text\/html; charset=utf-8 instead of JSON/,
  ),
  'HTML that is called JSON': {
    fault: raw(html),
    watching: /a line of a watch that is no JSON/,
    starting: /200 with a body that is no JSON/,
  },
  'JSON that is no list of groups': {
    fault: raw('{"kind":"Status"}\n'),
    watching: /a line that is no watch event/,
    starting: /\/apis is not a list of API groups/,
  },
  'JSON that is no list of resources': starting(
    raw('{}\n'),
    new RegExp(`/apis/${version} is not a list of API resources`),
    {
      where: documents,
    },
  ),
  'a Status that is called 200': starting(raw('{"kind":"Status","code":500,"message":"no"}'), /500 no/, pages),
  'a list without a version': starting(
    { type: 'list-metadata', metadata: { resourceVersion: undefined } },
    /a list without a resourceVersion/,
    pages,
  ),
  'a 200 with nothing': {
    fault: { type: 'empty' },
    watching: /a watch that ended at once/,
    starting: /200 with a body that is no JSON/,
  },
  'lists of nothing': starting({ type: 'empty' }, /a list that ended before it was whole/, pages),
  'an octet a second': {
    fault: { type: 'trickle', octetsPerSecond: 1 },
    watching: silent,
    starting: /the body did not come in time/,
    limits: { listMillis: 1_000 },
  },
  'a watch that never sends again': watching({ type: 'silent' }, silent),
  'no JSON in a line': watching(raw('{"type":"ADDED",}\n'), /a line of a watch that is no JSON/, { where: watches }),
  'a line of 9 MiB': watching(raw(`{"type":"ADDED","object":"${large}"}\n`), /a line of more than 8388608 octets/, {
    where: { ...watches, resource: 'ServiceImport' },
  }),
  'an item of 9 MiB': starting(
    raw(`{"kind":"ServiceImportList","metadata":{"resourceVersion":"9"},"items":["${large}"]}`),
    /item 0 has more than 8388608 octets/,
    { ...pages, where: { kinds: ['list'], resource: 'ServiceImport' } },
  ),
  redirect: both({ type: 'raw', code: 302, headers: { location: 'http://127.0.0.1:1/' }, body: '' }, /302 Found/),
  gzip: both({ type: 'gzip' }, /200 with content-encoding gzip, which was not asked for/),
};

for (const [name, broken] of Object.entries(all)) {
  if (broken.watching !== undefined)
    t.test(`${name}: what is held stays, and then goes on`, (t) => healsWatching(t, broken));
  t.test(`${name}, from the start`, (t) => healsStarting(t, broken));
}

async function breakIt(server: FaultServer, { fault, where = {} }: Broken): Promise<void> {
  if (typeof fault === 'function') await fault(server);
  else server.fault(fault, where);
}

async function healsWatching(t: Test, broken: Broken): Promise<void> {
  const rig = await startSynced(t, {}, broken.limits);
  const { server, store, member } = rig;
  const before = contents(store);
  await breakIt(server, broken);
  if (typeof broken.fault === 'function' || broken.fault.type !== 'silent') server.endWatches('reset');
  server.put(serviceImport('shop', 'meanwhile'));
  server.remove('ServiceImport', 'db', 'mysql');
  const reason = await untilReason(rig, broken.watching!);
  t.notMatch(reason, /\n/);
  t.same(contents(store), before);
  await until(
    () => member.status().outSinceMillis !== undefined,
    () => member.status(),
  );
  await server.heal();
  await untilHolds(rig, MEANWHILE);
  await untilGone(rig, 'ServiceImport db/mysql');
  await until(
    () => member.status().state === 'synced' && member.status().reason === undefined,
    () => member.status(),
  );
  t.same(
    contents(store).filter((line) => !line.includes('meanwhile')),
    before.filter((line) => !line.includes('"name":"mysql"')),
  );
}

async function healsStarting(t: Test, broken: Broken): Promise<void> {
  const server = await startApi(t, broken.isPaged === true ? { watchList: 'refused' } : {});
  await breakIt(server, broken);
  const rig = startMember(t, accessTo(server.url), broken.limits);
  if (broken.starting !== undefined) {
    await untilReason(rig, broken.starting);
    t.same(contents(rig.store), []);
    await server.heal();
  }
  await untilHolds(rig, 'ServiceImport shop/web', 'EndpointSlice shop/web-eu', 'EndpointSlice shop/web-n1');
  await server.heal();
  server.put(serviceImport('shop', 'meanwhile'));
  await untilHolds(rig, MEANWHILE);
  await isSynced({ ...rig, server });
}
