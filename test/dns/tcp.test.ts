/**
 * DNS over TCP by real sockets on loopback: rules 82-94 of RFC 7766 and 9210 as test/spec numbers them. The responder is a toy, so that only framing, order
 * and limits are judged: a message's third 16-bit word says how long its reply is to be.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { newTcpCounters, type TcpLimits } from '../../src/dns/tcp-connection.ts';
import { TcpListener } from '../../src/dns/tcp.ts';
import { limits as shipped } from '../../src/limits.ts';

const ECHO = 0;
const SILENCE = 1;

/** Replies with the query (`ECHO`), nothing (`SILENCE`), or that many octets; QR set. */
function toyResponder() {
  const buffer = new Uint8Array(4 + 65_535);
  const view = new DataView(buffer.buffer);
  let entered = 0;
  return {
    buffer,
    faults: 0,
    stretches: 0,
    enter() {
      this.stretches++;
      if (++entered !== 1) this.faults++;
    },
    leave() {
      if (--entered !== 0) this.faults++;
    },
    respond(at: number, length: number, transport: number) {
      if (entered !== 1 || at % 4 !== 0 || transport !== 1 || length < 12) this.faults++;
      const wanted = view.getUint16(at + 4);
      view.setUint8(at + 2, view.getUint8(at + 2) | 0x80);
      if (wanted === SILENCE) return 0;
      if (wanted === ECHO) return length;
      buffer.fill(view.getUint8(at + 1), at + 12, at + wanted);
      return wanted;
    },
  };
}

function message(id: number, wanted = ECHO, length = 40): Buffer {
  const framed = Buffer.alloc(2 + length, id & 0xff);
  framed.writeUInt16BE(length, 0);
  framed.writeUInt16BE(id, 2);
  framed.writeUInt16BE(0, 4);
  framed.writeUInt16BE(wanted, 6);
  return framed;
}

function messages(count: number, wanted = ECHO, length = 40): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, id) => message(id, wanted, length)));
}

/** A client that keeps what it is sent, as a list of replies. */
class Client {
  readonly socket: Socket;
  readonly replies: Buffer[] = [];
  reads = 0;
  ended = false;
  closed = false;
  #rest = Buffer.alloc(0);

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    this.socket.on('error', () => {});
    this.socket.on('end', () => (this.ended = true));
    this.socket.on('close', () => (this.closed = true));
    this.socket.on('data', (chunk: Buffer) => {
      this.reads++;
      let rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const end = 2 + rest.readUInt16BE(0);
        this.replies.push(rest.subarray(2, end));
        rest = rest.subarray(end);
      }
      this.#rest = Buffer.from(rest);
    });
  }

  get ids(): number[] {
    return this.replies.map((reply) => reply.readUInt16BE(0));
  }

  get over(): boolean {
    return this.ended || this.closed;
  }

  write(octets: Buffer): void {
    this.socket.write(octets);
  }

  /** Asks once and waits for that answer; false if it does not come. */
  async asks(id: number, wanted = ECHO, ms = 2_000): Promise<boolean> {
    const before = this.replies.length;
    this.write(message(id, wanted));
    await until(() => this.replies.length > before || this.over, ms);
    return this.replies.at(-1)?.readUInt16BE(0) === id && this.replies.length === before + 1;
  }
}

async function until(holds: () => boolean, ms = 5_000): Promise<boolean> {
  for (const end = performance.now() + ms; performance.now() < end && !holds();) await sleep(2);
  return holds();
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

async function serve(test: Test, limits: Partial<TcpLimits> = {}) {
  const responder = toyResponder();
  const counters = newTcpCounters();
  const listener = new TcpListener(
    responder,
    { ...shipped.tcp, sweepMillis: 20, closeMillis: 500, ...limits },
    counters,
  );
  const { port, address } = await listener.listen({ host: '127.0.0.1', port: 0 });
  const clients: Client[] = [];
  const open = async (): Promise<Client> => {
    const client = new Client(port);
    clients.push(client);
    await once(client.socket, 'connect');
    return client;
  };
  test.equal(address, '127.0.0.1');
  test.teardown(async () => {
    for (const client of clients) client.socket.destroy();
    await listener.close();
  });
  /** Nothing is left behind. The last line of each test. */
  const finish = async (): Promise<void> => {
    for (const client of clients) client.socket.destroy();
    test.ok(await until(() => counters.open === 0), 'no connection is left');
    test.equal(responder.faults, 0, 'the responder was called as agreed');
  };
  return { listener, responder, counters, port, open, finish };
}

t.test('framing: in turn, pipelined, cut anywhere, trickled', async (t) => {
  const { counters, open, finish } = await serve(t);
  const client = await open();
  for (const id of range(30)) t.ok(await client.asks(id), `query ${id} in turn`);
  t.equal(client.replies[7]?.toString('hex'), `000780000000${'07'.repeat(34)}`);

  const batch = await open();
  const before = counters.writes;
  batch.write(messages(100));
  t.ok(await until(() => batch.replies.length === 100));
  t.equal(counters.writes - before, 1, 'replies to one read share one write');
  t.equal(batch.reads, 1, 'and one segment');

  const flood = await open();
  const bystander = await open();
  const queries = messages(10_000);
  flood.write(queries);
  t.ok(await bystander.asks(1, ECHO, 500), 'a bystander is served');
  t.ok(await until(() => flood.replies.length === 10_000));
  t.same(flood.ids, range(10_000), 'all ids, in order');
  t.ok(counters.writes - before > 10_000 / shipped.tcp.messagesPerWrite, 'in goes of bounded size');

  const stream = Buffer.concat([message(1, ECHO, 12), message(2, 300), message(3, ECHO, 260)]);
  const cutters = await Promise.all(range(stream.length + 1).map(open));
  cutters.forEach((cutter, at) => cutter.write(stream.subarray(0, at)));
  await sleep(30);
  cutters.forEach((cutter, at) => cutter.write(stream.subarray(at)));
  t.ok(await until(() => cutters.every((cutter) => cutter.replies.length === 3)));
  const whole = Buffer.concat(cutters[0]?.replies ?? []);
  t.ok(
    cutters.every((cutter) => Buffer.concat(cutter.replies).equals(whole)),
    'cut at any octet, the same answers',
  );

  const octets = await open();
  for (const at of range(stream.length)) {
    octets.write(stream.subarray(at, at + 1));
    await nextTurn();
  }
  t.ok(await until(() => octets.replies.length === 3));
  t.ok(Buffer.concat(octets.replies).equals(whole), 'octet by octet');

  const trickle = await open();
  const longest = message(9, ECHO, 65_535);
  for (let at = 0; at < longest.length; at += 61) {
    trickle.write(longest.subarray(at, at + 61));
    await nextTurn();
  }
  t.ok(await until(() => trickle.replies.length === 1));
  longest[4] = 0x80;
  t.ok(trickle.replies[0]?.equals(longest.subarray(2)), '65,535 octets, trickled');
  t.ok(await trickle.asks(10), 'and the connection goes on');
  await finish();
});

t.test('half-close: all replies, then FIN', async (t) => {
  const { counters, open, finish } = await serve(t);
  const many = await open();
  many.socket.end(messages(1_000));
  const large = await open();
  large.socket.end(messages(100, 65_535)); // 6.5 MB: many times past unsentOctets
  const cut = await open();
  cut.socket.end(Buffer.concat([message(5), message(6).subarray(0, 20)]));
  const none = await open();
  none.socket.end();
  t.ok(await until(() => [many, large, cut, none].every((client) => client.ended)));

  const probe = await open();
  probe.socket.pause();
  const before = counters.messages;
  probe.write(messages(2_000, 65_535));
  let taken = -1;
  while (taken !== (taken = counters.messages)) await sleep(50);
  probe.socket.destroy();
  // About as much as the kernel takes: with some of it, the end of the replies is still ours to send when FIN has come.
  const late = await Promise.all(range(8).map(open));
  const asked = (k: number): number => taken - before - k;
  late.forEach((client, k) => client.socket.pause().end(messages(asked(k), 65_535)));
  await sleep(100);
  late.forEach((client) => client.socket.resume());
  t.ok(await until(() => late.every((client) => client.ended)));
  t.same(
    late.map((client) => client.replies.length),
    late.map((_, k) => asked(k)),
    'FIN waits for what the client is slow to read',
  );
  t.same(many.ids, range(1_000));
  t.same(large.ids, range(100));
  t.ok(large.replies.every((reply) => reply.length === 65_535));
  t.same(cut.ids, [5], 'what FIN cuts off is dropped');
  t.same(none.ids, []);
  t.ok(await until(() => counters.open === 0));
  await finish();
});

t.test('no DNS: closed; no reply: goes on; resets: no harm', async (t) => {
  const { counters, open, finish } = await serve(t, { messageMillis: 200 });
  for (const [what, octets] of [
    ['length 0', Buffer.from([0, 0])],
    ['length 11', Buffer.concat([Buffer.from([0, 11]), Buffer.alloc(11)])],
    ['length 11, prefix cut', Buffer.from([0])],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
    ['TLS hello', Buffer.from('16030100c8010000c40303', 'hex')],
  ] as const) {
    const client = await open();
    client.write(message(1));
    client.write(octets);
    if (what === 'length 11, prefix cut') {
      await sleep(20);
      client.write(Buffer.from([11]));
    }
    t.ok(await until(() => client.over), what);
    t.same(client.ids, [1], `${what}: the message before it is answered`);
  }
  t.equal(counters.malformed, 3);
  t.equal(counters.closedPartial, 2);

  const silent = await open();
  silent.write(Buffer.concat([message(1, SILENCE), message(2), message(3, SILENCE)]));
  t.ok(await silent.asks(4).then(() => until(() => silent.replies.length === 2)));
  t.same(silent.ids, [2, 4]);

  for (const id of range(100)) {
    const client = await open();
    client.write(message(id, 65_535));
    if (id % 2 === 0) await nextTurn();
    client.socket.resetAndDestroy();
  }
  t.ok(await until(() => counters.open === 1), 'none of 100 reset connections is left');
  t.ok(await silent.asks(5), 'and the others are served');
  await finish();
});

t.test('time: idle, and a message never finished', async (t) => {
  const { counters, open, finish } = await serve(t, { idleMillis: 200, messageMillis: 300 });
  const [idle, busy, stalled, trickled] = [await open(), await open(), await open(), await open()];
  const start = performance.now();
  const over = new Map<Client, number>();
  for (const c of [idle, busy, stalled, trickled]) {
    c.socket.once('end', () => over.set(c, performance.now() - start));
    c.socket.once('close', () => over.set(c, performance.now() - start));
  }
  stalled.write(Buffer.concat([message(1), message(2).subarray(0, 1)]));
  const long = message(3, ECHO, 1_000);
  for (const at of range(20)) {
    trickled.write(long.subarray(at, at + 1));
    t.ok(await busy.asks(at));
    await sleep(30);
  }
  t.notOk(over.has(busy), 'who asks stays');
  t.same(stalled.ids, [1]);
  for (const [c, ms, what] of [
    [idle, 200, 'idle'],
    [stalled, 300, 'stalled in the prefix'],
    [trickled, 300, 'trickled'],
  ] as const) {
    const at = over.get(c) ?? Infinity;
    t.ok(at >= ms && at < ms + 200, `${what}: closed after ${at} ms`);
  }
  t.equal(counters.closedIdle, 1);
  t.equal(counters.closedPartial, 2);
  await finish();
});

t.test('clients that do not read', async (t) => {
  const { responder, counters, open, finish } = await serve(t, {
    unsentMillis: 600,
    idleMillis: 300,
    heldOctets: 4 << 20,
  });
  const bystander = await open();
  const stuck = await open();
  stuck.socket.pause();
  const rssBefore = process.memoryUsage().rss;
  for (const _ of range(10)) stuck.write(messages(2_000, 65_535)); // would be 1.3 GB of replies
  let rssMost = 0;
  const slow = await open(); // reads, but late and little by little
  slow.socket.pause();
  slow.write(messages(300, 65_535));
  const drip = setInterval(() => {
    slow.socket.resume();
    setImmediate(() => slow.socket.pause());
  }, 5);
  t.teardown(() => clearInterval(drip));
  let slowest = 0;
  const stretchesBefore = responder.stretches;
  while (!(await until(() => stuck.closed || counters.closedUnsent > 0, 20))) {
    const asked = performance.now();
    t.ok(await bystander.asks(7));
    slowest = Math.max(slowest, performance.now() - asked);
    rssMost = Math.max(rssMost, process.memoryUsage().rss - rssBefore);
    if (slow.replies.length > 0)
      slow.replies.splice(0, slow.replies.length, ...slow.replies.map((r) => r.subarray(0, 2)));
  }
  t.ok(slowest < 300, `the bystander waited ${slowest} ms at most`);
  t.ok(rssMost < 96 << 20, `memory grew by ${rssMost >> 20} MiB`); // kernel buffers are not in it, two ends' are
  t.equal(counters.closedUnsent, 1);
  t.ok(responder.stretches - stretchesBefore < 5_000, `no spinning while it is stuck: ${responder.stretches}`);
  t.ok(await until(() => slow.replies.length === 300, 10_000), `the slow reader has all (${slow.replies.length})`);

  // Always 200 replies behind, about half of them unsent, but reading: for each one read, one more is asked.
  const behind = await serve(t, { unsentOctets: 32 << 20, unsentMillis: 500 });
  const steady = await behind.open();
  steady.socket.pause();
  steady.write(messages(200, 65_535));
  for (const end = performance.now() + 1_500; performance.now() < end && !steady.over;) {
    steady.socket.resume();
    await nextTurn();
    steady.socket.pause();
    for (const _ of steady.replies.splice(0)) steady.write(message(1, 65_535));
    await sleep(1);
  }
  t.notOk(steady.over, 'who reads on is not closed, though there are always replies unsent');

  const heap = await Promise.all(range(40).map(open));
  for (const client of heap) {
    client.socket.pause();
    client.write(messages(200, 65_535));
  }
  t.ok(await until(() => counters.closedHeld >= 40 - 16), `${counters.closedHeld} closed for what all hold`);
  t.ok(await (await open()).asks(8), 'a new client is served meanwhile');
  t.ok(await until(() => counters.open <= 2), 'all of them go');
  const after = await open();
  after.write(messages(64, 65_535));
  t.ok(await until(() => after.replies.length === 64), 'and what they held is given back');
  await finish();
});

t.test('one connection too many: the longest idle gives way', async (t) => {
  const { counters, open, finish } = await serve(t, { connections: 10 });
  const clients: Client[] = [];
  for (const _ of range(10)) {
    const client = await open();
    t.ok(await client.asks(1));
    clients.push(client);
  }
  t.ok(await clients[0]?.asks(2), 'the first is used again');
  clients[1]?.write(message(3).subarray(0, 5)); // a message begun is not use
  t.ok(await (await open()).asks(4), 'the new one is served');
  t.ok(await until(() => clients[1]?.over === true), 'the second gave way');
  t.same(
    clients.map((client) => client.over),
    range(10).map((i) => i === 1),
  );
  t.ok(await clients[0]?.asks(5));
  t.equal(counters.closedGaveWay, 1);
  for (const _ of range(300)) await open();
  t.ok(await until(() => counters.open === 10));
  t.ok(await (await open()).asks(6));
  await finish();
});

t.test('close: replies under way are sent, in bounded time', async (t) => {
  const { listener, port, open, finish } = await serve(t, { closeMillis: 1_000 });
  const [idle, deep, partial] = [await open(), await open(), await open()];
  deep.write(messages(3_000, 2_000)); // 6 MB, and more queries than one turn answers
  partial.write(message(1).subarray(0, 9));
  await until(() => deep.replies.length > 0);
  const closeStart = performance.now();
  const closing = listener.close();
  await sleep(50);
  partial.write(message(1).subarray(9));
  await closing;
  t.ok(performance.now() - closeStart < 800, 'as soon as the last reply is out');
  t.ok(await until(() => [idle, deep, partial].every((client) => client.over)));
  t.same(deep.ids, range(deep.replies.length), 'in order');
  t.ok(deep.replies.length >= 256 && deep.replies.every((reply) => reply.length === 2_000));
  t.same(partial.ids, [1]);
  const late = new Client(port);
  t.ok(await until(() => late.closed), 'nobody new');

  const second = await serve(t, { closeMillis: 300 });
  const stuck = await second.open();
  stuck.socket.pause();
  stuck.write(messages(1_000, 65_535));
  await until(() => second.counters.messages > 0);
  const start = performance.now();
  await second.listener.close();
  t.ok(performance.now() - start < 600, 'a client that does not read is not waited for');

  const taken = await serve(t);
  await t.rejects(taken.listener.listen({ host: '127.0.0.1', port: taken.port }), { code: 'EADDRINUSE' });
  t.ok(await (await taken.open()).asks(1), 'a failed listen does no harm');
  await finish();
});

t.test('out of descriptors, on an inherited socket', { skip: process.platform === 'win32' }, async (t) => {
  const program = `
    import { newTcpCounters } from ${JSON.stringify(new URL('../../src/dns/tcp-connection.ts', import.meta.url).href)};
    import { TcpListener } from ${JSON.stringify(new URL('../../src/dns/tcp.ts', import.meta.url).href)};
    import { limits } from ${JSON.stringify(new URL('../../src/limits.ts', import.meta.url).href)};
    const counters = newTcpCounters();
    const echo = { buffer: new Uint8Array(65539), enter() {}, leave() {}, respond: (at, length) => length };
    await new TcpListener(echo, limits.tcp, counters).listen({ fd: 3 });
    setInterval(() => console.log(JSON.stringify({ ...counters, cpu: process.cpuUsage() })), 50);
  `;
  const inherited = createServer().listen(0, '127.0.0.1');
  await once(inherited, 'listening');
  const { port } = inherited.address() as { port: number };
  const { fd } = (inherited as unknown as { _handle: { fd: number } })._handle;
  const shell = 'ulimit -n 64; exec "$0" --input-type=module -e "$1"';
  const child = spawn('sh', ['-c', shell, process.execPath, program], { stdio: ['ignore', 'pipe', 'inherit', fd] });
  t.teardown(() => child.kill('SIGKILL'));
  let last = { open: -1, cpu: { user: 0, system: 0 } };
  child.stdout?.on('data', (lines: Buffer) => {
    const line = lines.toString().trim().split('\n').at(-1);
    if (line?.endsWith('}}')) last = JSON.parse(line) as typeof last;
  });
  inherited.close();
  t.ok(await until(() => last.cpu.user > 0), 'the child serves');
  const clients = range(100).map(() => new Client(port));
  t.ok(await until(() => clients.filter((client) => client.over).length >= 40), 'who comes too late is closed');
  await sleep(200);
  const before = last.cpu.user + last.cpu.system;
  await sleep(500);
  t.ok(last.cpu.user + last.cpu.system - before < 250_000, 'it does not spin');
  const served = clients.filter((client) => !client.over);
  t.ok(served.length >= 10, `${served.length} were accepted`);
  for (const client of served) t.ok(await client.asks(1), 'and are served on');
  for (const client of clients) client.socket.destroy();
  t.ok(await until(() => last.open === 0));
  const fresh = new Client(port);
  t.ok(await fresh.asks(2), 'and new ones, as soon as there is room');
  fresh.socket.destroy();
  t.equal(child.exitCode, null);
});
