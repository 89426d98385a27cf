// The admin port over real sockets: what it answers, and what it lets a client take.
import net from 'node:net';
import t, { type Test } from 'tap';
import { limits } from '../../src/limits.ts';
import { createLog } from '../../src/log.ts';
import { type Admin, createAdmin, type Readiness } from '../../src/ops/admin.ts';

const log = createLog({ level: 'error', format: 'text', destination: { write: () => undefined } });
let readyCalls = 0;
let readiness: Readiness = { ready: false, clusters: [{ id: 'a', state: 'syncing', objects: 3 }] };

async function startAdmin(t: Test, requestMillis?: number): Promise<number> {
  const admin: Admin = createAdmin({
    address: { host: '127.0.0.1', port: 0 },
    ready: () => {
      readyCalls++;
      return readiness;
    },
    log,
    ...(requestMillis === undefined ? {} : { requestMillis }),
  });
  t.teardown(() => admin.close());
  return admin.start();
}

/** Sends octets as they are and gives what came until the other side closed, and after how long. */
function talk(
  port: number,
  text: string | Buffer,
  open?: (socket: net.Socket) => void,
): Promise<{ said: string; millis: number }> {
  return new Promise((resolve) => {
    const began = performance.now();
    let said = '';
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.write(text);
      open?.(socket);
    });
    socket.setEncoding('latin1');
    socket.on('data', (data: string) => (said += data));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve({ said, millis: performance.now() - began }));
  });
}

const get = (path: string, host = '127.0.0.1'): string => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

// [what, the request's octets, the status of the only reply, what its body is or contains]
const REQUESTS: readonly (readonly [what: string, request: string, status: number, body: string | RegExp])[] = [
  ['health', get('/health'), 200, 'ok\n'],
  ['a query string', get('/health?x=1'), 200, 'ok\n'],
  ['not ready', get('/ready'), 503, /"ready": false,[^]*"id": "a",\n +"state": "syncing",\n +"objects": 3/],
  ['elsewhere', get('/'), 404, 'not found\n'],
  ['below', get('/health/x'), 404, 'not found\n'],
  ['another URL', get('http://evil.example/health'), 404, 'not found\n'],
  ['HEAD has no body', 'HEAD /health HTTP/1.1\r\nHost: [::1]:9153\r\n\r\n', 200, ''],
  ['POST', 'POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc', 405, 'GET and HEAD only\n'],
  ['DELETE', 'DELETE /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', 405, 'GET and HEAD only\n'],
  ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', 405, 'GET and HEAD only\n'],
  ['GET with a body', 'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc', 200, 'ok\n'],
  ['an upgrade', 'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n', 200, 'ok\n'],
  ['a pod address as Host', get('/health', '10.244.1.7:9153'), 200, 'ok\n'],
  ['localhost as Host', get('/health', 'LocalHost:9153'), 200, 'ok\n'],
  ['an IPv6 Host', get('/health', '[fd00::7]:9153'), 200, 'ok\n'],
  ['a rebound name', get('/ready', 'evil.example:9153'), 421, /must be an IP address/],
  ['a name that looks like one', get('/ready', '127.0.0.1.evil.example'), 421, /must be/],
  ['an IPv6 address without brackets', get('/ready', '::1'), 421, /must be/],
  ['an empty Host', get('/ready', ''), 421, /must be/],
  ['a numeric name', get('/ready', '2130706433'), 421, /must be/],
  ['two Hosts', 'GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n', 400, /one Host/],
  ['no Host', 'GET /ready HTTP/1.1\r\n\r\n', 400, /one Host/],
  ['no Host in HTTP/1.0', 'GET /health HTTP/1.0\r\n\r\n', 200, 'ok\n'],
  ['no HTTP', '\x00\x01\x02\r\n\r\n', 400, ''],
  ['headers of 8 KiB', `GET /health HTTP/1.1\r\nX: ${'x'.repeat(8192)}\r\n\r\n`, 431, ''],
  ['a path of 1 MiB', get('/' + 'x'.repeat(1 << 20)), 431, ''],
];

t.test('requests', async (t) => {
  const port = await startAdmin(t);
  for (const [what, request, status, body] of REQUESTS) {
    const { said } = await talk(port, request);
    const [head = '', ...rest] = said.split('\r\n\r\n');
    t.match(head, new RegExp(`^HTTP/1.1 ${status} [^]*\r\nConnection: close`), what);
    t.match(rest.join('|'), typeof body === 'string' ? new RegExp(`^${body}$`) : body, what);
  }
  readiness = { ready: true, clusters: [] };
  const { said } = await talk(port, get('/ready'));
  t.match(said, /^HTTP\/1.1 200 OK\r\nContent-Type: application\/json\r\n[^]*"ready": true/);
  readyCalls = 0;
  const { said: only } = await talk(port, get('/ready').repeat(1000));
  t.equal(only.split('HTTP/1.1').length - 1, 1, '1,000 requests at once: one reply');
  t.equal(readyCalls, 1, 'and one look');
  t.equal((await fetch(`http://127.0.0.1:${port}/health`, { method: 'HEAD' })).status, 200);
});

t.test('a slow request ends in time, and a quick one is answered meanwhile', async (t) => {
  const millis = 400;
  const port = await startAdmin(t, millis);
  const drip = (text: string) => (socket: net.Socket) => {
    const timer = setInterval(() => socket.write(text), 50);
    socket.once('close', () => clearInterval(timer));
  };
  const slow = [
    ['no octet', talk(port, '')],
    ['a request line without its end', talk(port, 'GET /hea')],
    ['a header an instant', talk(port, 'GET /health HTTP/1.1\r\n', drip('X: y\r\n'))],
    ['a body without end', talk(port, 'POST /x HTTP/1.1\r\nHost: ::\r\nContent-Length: 99999\r\n\r\n', drip('x'))],
  ] as const;
  t.match((await talk(port, get('/health'))).said, /^HTTP\/1.1 200 /);
  for (const [what, ending] of slow) t.ok((await ending).millis < 2.5 * millis, what);
});

t.test('1,000 connections', async (t) => {
  const port = await startAdmin(t, 1000);
  const endings: Promise<{ said: string }>[] = [];
  // One after the other, so that none waits in the kernel's queue until the first ones have ended.
  while (endings.length < 1000) {
    await new Promise<void>((opened) => endings.push(talk(port, 'GET ', () => opened())));
  }
  const served = (await Promise.all(endings)).filter(({ said }) => said.startsWith('HTTP/1.1 408 '));
  t.equal(served.length, limits.admin.connections, 'the rest got no word');
  t.match((await talk(port, get('/health'))).said, /^HTTP\/1.1 200 /, 'and then it answers again');
});

t.test('closing and binding', async (t) => {
  const port = await startAdmin(t);
  const other = (host: string, port: number): Admin =>
    createAdmin({ address: { host, port }, ready: () => readiness, log });
  await t.rejects(other('127.0.0.1', port).start(), { message: `--admin 127.0.0.1:${port}: the port is in use` });
  await t.rejects(other('192.0.2.1', 9153).start(), {
    message: '--admin 192.0.2.1:9153: this machine has no such address',
  });
  const admin = other('127.0.0.1', 0);
  const ending = talk(await admin.start(), 'GET /hea');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const began = performance.now();
  await admin.close();
  t.ok(performance.now() - began < 1000, 'an open connection does not hold it');
  await ending;
  await admin.close();
});
