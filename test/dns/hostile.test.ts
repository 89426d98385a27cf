// Octets that no client sends: random datagrams of every length, mutated queries, broken TCP connections.
// After each: the server lives, its memory is flat, a good query is answered, and no reply held an octet that neither
// its query nor the zone has. By default a tenth of it and one seed; all of it with HOSTILE=full.
import { connect } from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { localZone } from '../support/in-process.ts';
import { writeLab } from '../support/lab.ts';
import { bit, ednsQuery, message, opt, option, query, question, record } from '../support/packet.ts';
import { faultsOf, walk } from '../support/reply.ts';
import { exchangeTcp, exchangeUdp, framed, openUdp, serveFleet, startServer, type Server } from '../support/server.ts';
import { WEB, wireLab } from '../support/spec.ts';

const isFull = process.env['HOSTILE'] === 'full';
const share = isFull ? 1 : 10;
const seeds = isFull ? [1, 2, 3] : [1];
const MIB = 1 << 20;
/** What a process may grow by once it is warm: pages of the heap that the collector has not given back yet. */
const FLAT_OCTETS = 24 * MIB;

const lab = writeLab(t, wireLab);
const { servers, transports } = await serveFleet(t, lab);
const [mmsg, dgram] = servers as [Server, Server];
const names = [
  WEB,
  `_http._tcp.${WEB}`,
  `_tcp.${WEB}`,
  'mysql.db.svc.clusterset.local',
  '_mysql._tcp.mysql.db.svc.clusterset.local',
  'mysql-0.eu-west.mysql.db.svc.clusterset.local',
  'eu-west.mysql.db.svc.clusterset.local',
  'svc.clusterset.local',
  'dns-version.clusterset.local',
  'ns.dns.clusterset.local',
  'clusterset.local',
];
const zoneTypes = ['A', 'AAAA', 'SRV', 'TXT', 'SOA', 'NS'];

/** xorshift32: the same octets for the same seed. */
function random(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Every RDATA that the zone has, by asking for all of it. The serial is left out: it changes. */
async function zoneRdata(): Promise<Set<string>> {
  const known = new Set<string>();
  for (const name of [...names, 'x.clusterset.local']) {
    for (const type of zoneTypes) {
      const { replies } = await exchangeTcp(mmsg.port, Buffer.concat([framed(query(name, type)), framed(goodQuery)]));
      for (const found of walk(replies[0]!).records) known.add(rdataKey(found.type, found.rdata));
    }
  }
  return known;
}

function rdataKey(type: number, rdata: Buffer): string {
  // An SOA's names are pointers into its question, so what is compared is its timers.
  return type === 6 ? `6 ${rdata.subarray(-16).toString('latin1')}` : `${type} ${rdata.toString('latin1')}`;
}

const goodQuery = Buffer.concat([Buffer.from([0xa5, 0xc3]), query('sentinel.invalid').subarray(2)]);
const known = await zoneRdata();

/** What is wrong with a reply: a rule broken, or a record that the zone has not. */
function wrong(packet: Buffer, reply: Buffer, most: number): string[] {
  const faults = faultsOf(packet, reply, most);
  for (const { type, rdata } of walk(reply).records) {
    if (type === 41) {
      if (rdata.length > 0 && !/^000f000200(03|0e|14)$/.test(rdata.toString('hex'))) faults.push('an unknown option');
    } else if (!known.has(rdataKey(type, rdata))) faults.push(`a record of type ${type} that the zone has not`);
  }
  return faults;
}

async function isWell(t: Test): Promise<void> {
  for (const transport of transports) {
    const reply = await transport.ask(query(WEB));
    t.ok(typeof reply !== 'string' && reply.readUInt16BE(6) === 1, `a good query right after, over ${transport.name}`);
  }
  for (const { engine, ended, log } of servers) {
    t.equal(ended(), undefined, `the server (${engine}) lives`);
    t.same(
      log.filter((line) => /"level":"(error|warn)"/.test(line) && !line.includes('receive buffer')),
      [],
    );
  }
}

/**
 * Runs `work` in four parts, numbered from 0; the memory after the last is what it was after the second. Where it is
 * not, the collector may be late (node:dgram takes 64 KiB for a datagram): a leak goes on growing, so two parts more
 * are run, twice.
 */
async function isFlat(t: Test, server: Server, work: (part: number) => Promise<void>): Promise<void> {
  await work(0);
  await work(1);
  const grown: number[] = [];
  do {
    const before = server.rssOctets();
    await work(2);
    await work(3);
    grown.push(server.rssOctets() - before);
  } while (grown.at(-1)! > FLAT_OCTETS && grown.length < 3);
  const sizes = grown.map((octets) => (octets / MIB).toFixed(1)).join(', ');
  t.ok(grown.at(-1)! <= FLAT_OCTETS, `memory (${server.engine}) grew by ${sizes} MiB`);
}

void t.test('datagrams of 0 to 65,507 random octets', async (t) => {
  for (const [server, seed] of [
    [mmsg, 11],
    [dgram, 12],
  ] as const) {
    const socket = await openUdp(server.port);
    const next = random(seed);
    const noise = Buffer.from(Array.from({ length: 65_507 + 4096 }, () => next(256)));
    const faults: string[] = [];
    await isFlat(t, server, async (part) => {
      let held = 0;
      let packets: Buffer[] = [];
      // Lengths interleave, so that every part has short and long ones. Short ones matter most: all of them are sent.
      for (let length = part; length <= 65_507; length += 4) {
        if (length > 1500 && length % share !== seed % share) continue;
        const from = next(4096);
        const packet = Buffer.from(noise.subarray(from, from + length));
        if (length >= 2) packet.writeUInt16BE(packets.length, 0);
        packets.push(packet);
        held += length + 512;
        if (held < 100_000 && length + 4 <= 65_507) continue;
        for (const reply of await exchangeUdp(socket, packets)) {
          const asked = packets[reply.readUInt16BE(0)];
          faults.push(...(asked === undefined ? ['another id'] : wrong(asked, reply, 1232)));
        }
        packets = [];
        held = 0;
      }
    });
    socket.close();
    t.same(faults.slice(0, 5), [], `replies (${server.engine})`);
  }
  await isWell(t);
});

const cookie = option(10, Buffer.alloc(8, 1));
/** Good and nearly good queries that mutation begins from. */
const corpus: Buffer[] = [
  ...names.flatMap((name) => zoneTypes.map((type) => query(name, type))),
  ...names.map((name) => ednsQuery(name, 'SRV', { flags: 0x8000 }, { flags: bit.RD })),
  ...names.map((name) =>
    ednsQuery(name, 'A', { rdata: Buffer.concat([cookie, option(8, Buffer.from([0, 1, 24, 0, 1, 2, 3]))]) }),
  ),
  ednsQuery('nope.shop.svc.clusterset.local', 'A', { version: 1 }),
  query(WEB, 'ANY'),
  query('.', 'NS'),
  query(WEB, 'A', { additional: [opt(), record('key.', 'TSIG', 255, 0, Buffer.alloc(40, 3))] }),
  query('clusterset.local', 'IXFR', { authority: [record('clusterset.local', 'SOA', 1, 5, Buffer.alloc(24, 1))] }),
  message(Buffer.concat([question(WEB), question(WEB)]), { counts: [2, 0, 0, 0] }),
];
const values = [0, 1, 0x0c, 0x29, 0x3f, 0x40, 0x41, 0x5f, 0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xfa, 0xff];

/** One to four changes behind the id: bits, octets, cuts, repeats, swaps; the id is `id`. */
function mutate(next: (below: number) => number, id: number): Buffer {
  let packet = Buffer.from(corpus[next(corpus.length)]!);
  for (let changes = 1 + next(4); changes > 0; changes--) {
    if (packet.length <= 3) break;
    const at = 2 + next(packet.length - 2);
    const length = 1 + next(24);
    switch (next(8)) {
      case 0:
        packet[at]! ^= 1 << next(8);
        break;
      case 1:
      case 2:
        packet[at] = values[next(values.length)]!;
        break;
      case 3:
        packet[at] = next(256);
        break;
      case 4:
        packet = packet.subarray(0, at);
        break;
      case 5:
        packet = Buffer.concat([packet.subarray(0, at), packet.subarray(at + length)]);
        break;
      case 6:
        packet = Buffer.concat([packet.subarray(0, at), packet.subarray(at, at + length), packet.subarray(at)]);
        break;
      default: {
        const other = corpus[next(corpus.length)]!;
        packet = Buffer.concat([packet.subarray(0, at), other.subarray(next(other.length))]);
      }
    }
  }
  packet = Buffer.from(packet);
  if (packet.length >= 2) packet.writeUInt16BE(id, 0);
  return packet;
}

const MUTATIONS = 1_000_000 / share;
const BATCH = 64;

for (const seed of seeds) {
  void t.test(`${MUTATIONS} mutated queries, seed ${seed}`, async (t) => {
    const faults: string[] = [];
    const seen = new Map<number, number>();
    const judge = (asked: Buffer, reply: Buffer, most: number): void => {
      const rcode = reply[3]! & 15;
      seen.set(rcode, (seen.get(rcode) ?? 0) + 1);
      for (const fault of wrong(asked, reply, most)) faults.push(`${fault}: ${asked.toString('hex')}`);
    };
    // A quarter to each engine, a quarter over TCP, a quarter to a responder whose buffer is full of canaries.
    for (const [server, at] of [
      [mmsg, 0],
      [dgram, 1],
    ] as const) {
      const next = random(seed * 16 + at);
      const socket = await openUdp(server.port);
      await isFlat(t, server, async () => {
        for (let sent = 0; sent < MUTATIONS / 16; sent += BATCH) {
          const packets = Array.from({ length: BATCH }, (_, id) => mutate(next, id));
          for (const reply of await exchangeUdp(socket, packets)) {
            judge(packets[reply.readUInt16BE(0)]!, reply, 1232);
          }
        }
      });
      socket.close();
    }
    const next = random(seed * 16 + 2);
    await isFlat(t, mmsg, async () => {
      for (let sent = 0; sent < MUTATIONS / 16; sent += BATCH) {
        const packets = Array.from({ length: BATCH }, (_, id) => mutate(next, id)).filter(({ length }) => length >= 12);
        const { replies } = await exchangeTcp(mmsg.port, Buffer.concat([...packets, goodQuery].map(framed)));
        const byId = new Map(packets.map((packet) => [packet.readUInt16BE(0), packet]));
        for (const reply of replies.slice(0, -1)) judge(byId.get(reply.readUInt16BE(0))!, reply, 65_535);
      }
    });
    const { zone, respond } = localZone(wireLab);
    zone.setUnknown(false);
    const local = random(seed * 16 + 3);
    for (let i = 0; i < MUTATIONS / 4; i++) {
      const packet = mutate(local, i & 0xffff);
      const reply = respond(packet);
      if (reply.length > 0) judge(packet, reply, 1232);
    }
    t.same(faults.slice(0, 5), [], 'every reply');
    t.same(
      [0, 1, 3, 4, 5].filter((rcode) => (seen.get(rcode) ?? 0) < MUTATIONS / 1000),
      [],
      'every kind of reply came up',
    );
    await isWell(t);
  });
}

const CONNECTIONS = 10_000 / share;
const AT_ONCE = 50;
const good = framed(query(WEB));
const hello = Buffer.from('16030100c8010000c40303', 'hex');
/** What a connection sends, and how it ends: FIN, RST, or it is left until the server or the test ends it. */
const broken: readonly (readonly [
  name: string,
  octets: (next: (below: number) => number) => Buffer,
  end: 'fin' | 'rst' | 'left',
])[] = [
  ['nothing', () => Buffer.alloc(0), 'rst'],
  ['half a prefix', () => Buffer.from([0]), 'fin'],
  ['a prefix alone', () => Buffer.from([0, 40]), 'rst'],
  ['length 0', () => Buffer.from([0, 0]), 'left'],
  ['length 11', () => Buffer.alloc(13, 0).fill(11, 1, 2), 'left'],
  ['a query cut', (next) => good.subarray(0, 3 + next(good.length - 4)), 'rst'],
  ['a query cut, then FIN', (next) => good.subarray(0, 3 + next(good.length - 4)), 'fin'],
  ['a query, then RST', () => good, 'rst'],
  ['a hundred queries, then RST', () => Buffer.concat(Array.from({ length: 100 }, () => good)), 'rst'],
  ['replies', () => framed(query(WEB, 'A', { flags: bit.QR })), 'fin'],
  ['HTTP', () => Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), 'rst'],
  ['TLS', () => hello, 'rst'],
  ['65,535 random octets', (next) => framed(Buffer.from(Array.from({ length: 65_535 }, () => next(256)))), 'fin'],
  ['a length that lies', () => Buffer.concat([Buffer.from([0xff, 0xff]), good]), 'rst'],
  ['random octets', (next) => Buffer.from(Array.from({ length: 1 + next(300) }, () => next(256))), 'rst'],
];

function breakConnection(port: number, octets: Buffer, end: 'fin' | 'rst' | 'left'): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.on('close', () => resolve());
    socket.on('data', () => undefined);
    socket.on('end', () => socket.destroy());
    socket.on('connect', () => {
      socket.write(octets, () => {
        if (end === 'fin') socket.end();
        else if (end === 'rst') socket.resetAndDestroy();
      });
    });
    setTimeout(() => socket.resetAndDestroy(), 2_000).unref();
  });
}

void t.test(`${CONNECTIONS} broken TCP connections`, async (t) => {
  const next = random(99);
  let number = 0;
  await isFlat(t, mmsg, async () => {
    for (let made = 0; made < CONNECTIONS / 4; made += AT_ONCE) {
      await Promise.all(
        Array.from({ length: AT_ONCE }, () => {
          const [, octets, end] = broken[number++ % broken.length]!;
          return breakConnection(mmsg.port, octets(next), end);
        }),
      );
      const { replies } = await exchangeTcp(mmsg.port, Buffer.concat([good, framed(goodQuery)]));
      if (replies[0]?.readUInt16BE(6) !== 1) t.fail('a good query meanwhile');
    }
  });
  await isWell(t);
});

void t.test('a server that has seen only noise stops as it should', async (t) => {
  const server = await startServer(t, lab);
  const socket = await openUdp(server.port);
  const next = random(7);
  await exchangeUdp(
    socket,
    Array.from({ length: 200 }, (_, length) => Buffer.from(Array.from({ length }, () => next(256)))),
  );
  socket.close();
  await sleep(10);
  t.equal(await server.stop(), 0);
});
