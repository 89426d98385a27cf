// Size, compression, order and TTL: rules 72 to 81. RFC 1035 4.1.4 and 4.2, RFC 2181 5 and 9, RFC 2782, RFC 6891 6.2.3.
// Every reply here also passes the checks of support/reply.ts: pointers, repeats, one TTL a set, no octet too many.
import { networkInterfaces } from 'node:os';
import dnsPacket from 'dns-packet';
import t, { type Test } from 'tap';
import { localZone } from '../support/in-process.ts';
import { writeLab } from '../support/lab.ts';
import { ednsQuery, opt, query } from '../support/packet.ts';
import { faultsOf, sectionLines, walk } from '../support/reply.ts';
import { serveFleet, startServer, tcpTransport, udpTransport, type Transport } from '../support/server.ts';
import { OPT, WEB, WEB_A, rule, stillServing, wireLab } from '../support/spec.ts';

const TC = 0x0200;
const ipv4 = (i: number): string => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
const ipv6 = (i: number): string => `fd00::${(i + 1).toString(16)}`;

/** Headless `s/NAME` in a cluster `c` with endpoints `h0`, `h1`, …; slices hold a thousand each. */
function headless(name: string, count: number, { ports = '', dual = false } = {}): string {
  const lines = [`import s/${name} Headless`, `export s/${name}`];
  for (let from = 0; from < count; from += 1000) {
    const range = Array.from({ length: Math.min(1000, count - from) }, (_, i) => from + i);
    lines.push(`slice s/${name} IPv4 ${ports} = ${range.map((i) => `h${i}=${ipv4(i)}#u${i}`).join(' ')}`);
    if (dual) lines.push(`slice s/${name} IPv6 ${ports} = ${range.map((i) => `h${i}=${ipv6(i)}#u${i}`).join(' ')}`);
  }
  return lines.join('\n');
}

const lab = {
  ...wireLab,
  c: [
    headless('a20', 20),
    headless('a60', 60),
    headless('a300', 300),
    headless('srv6', 6, { ports: 'p/tcp:80' }),
    headless('srv12', 12, { ports: 'p/tcp:80' }),
    headless('srv20', 20, { ports: 'p/tcp:80' }),
    headless('srv300', 300, { ports: 'p/tcp:80', dual: true }),
    headless('srv3000', 3000, { ports: 'p/tcp:80' }),
    headless('a4000', 4000),
    headless('dual5000', 5000, { dual: true }),
  ].join('\n'),
};
const fleet = await serveFleet(t, writeLab(t, lab));
const udp = fleet.transports.filter(({ isUdp }) => isUdp);
const overTcp = fleet.transports.find(({ isUdp }) => !isUdp)!;
const nameOf = (service: string): string => `${service}.s.svc.clusterset.local`;
const portOf = (service: string): string => `_p._tcp.${nameOf(service)}`;

async function reply(t: Test, transport: Transport, packet: Buffer, most: number): Promise<Buffer> {
  const outcome = await transport.ask(packet);
  if (typeof outcome === 'string') throw new Error(`${transport.name}: ${outcome}`);
  const faults = faultsOf(packet, outcome, most);
  if (faults.length > 0) t.fail(`${transport.name}: a reply breaks rules`, { faults });
  return outcome;
}

const isTruncated = (octets: Buffer): boolean => (octets.readUInt16BE(2) & TC) !== 0;
const answersOf = (octets: Buffer): string[] => sectionLines(octets, 'answers');
const additionalOf = (octets: Buffer): string[] => sectionLines(octets, 'additionals');
const hasOpt = (octets: Buffer): boolean => walk(octets).records.some(({ type }) => type === 41);

/** What a client offers, and what it may get. */
const offers = [
  { name: 'no EDNS', most: 512, ask: query },
  { name: 'EDNS 512', most: 512, ask: (name: string, type: string) => ednsQuery(name, type, { size: 512 }) },
  { name: 'EDNS 1000', most: 1000, ask: (name: string, type: string) => ednsQuery(name, type, { size: 1000 }) },
  { name: 'EDNS 1232', most: 1232, ask: (name: string, type: string) => ednsQuery(name, type) },
  { name: 'EDNS 65535', most: 1232, ask: (name: string, type: string) => ednsQuery(name, type, { size: 65_535 }) },
] as const;

const A_OCTETS = 16;
const SRV_OCTETS = (name: string): number => 12 + 6 + `h00.c.${nameOf(name)}`.length + 2;

void t.test(
  '72 a set too large for UDP: TC, as many whole records as fit, the OPT, no additional (RFC 2181 9)',
  async (t) => {
    for (const transport of udp) {
      for (const { name, most, ask } of offers) {
        for (const [service, type, owner, record] of [
          ['a300', 'A', nameOf('a300'), A_OCTETS],
          ['a4000', 'A', nameOf('a4000'), A_OCTETS],
          ['srv300', 'SRV', portOf('srv300'), SRV_OCTETS('srv300') + 2],
          ['srv3000', 'SRV', nameOf('srv3000'), SRV_OCTETS('srv3000') + 2],
        ] as const) {
          const packet = ask(owner, type);
          const octets = await reply(t, transport, packet, most);
          const label = `${transport.name}, ${name}: ${service} ${type}`;
          t.ok(isTruncated(octets), `${label}: TC`);
          t.ok(octets.length > most - record, `${label}: ${octets.length} octets leave no room for one more`);
          t.ok(answersOf(octets).length > 2, `${label}: records`);
          t.same(additionalOf(octets), [], `${label}: no additional`);
          t.equal(hasOpt(octets), packet.readUInt16BE(10) === 1, `${label}: OPT`);
        }
      }
    }
  },
);

void t.test('72 a ready-made SRV set that does not fit 512 octets: TC and whole records (RFC 2181 9)', async (t) => {
  for (const transport of udp) {
    const octets = await reply(t, transport, query(portOf('srv12'), 'SRV'), 512);
    t.ok(isTruncated(octets));
    t.ok(octets.length > 512 - SRV_OCTETS('srv12'), `${octets.length} octets`);
    t.same(additionalOf(octets), []);
  }
});

void t.test('73 a set that fits: whole, TC=0 (RFC 2181 9)', async (t) => {
  for (const transport of udp) {
    for (const [service, packet, most, count] of [
      ['a20', query(nameOf('a20')), 512, 20],
      ['a60', ednsQuery(nameOf('a60')), 1232, 60],
      ['a60 at the last octet', ednsQuery(nameOf('a60'), 'A', { size: sizeOfA(60) }), sizeOfA(60), 60],
    ] as const) {
      const octets = await reply(t, transport, packet, most);
      t.notOk(isTruncated(octets), `${transport.name}: ${service}`);
      t.equal(answersOf(octets).length, count, `${transport.name}: ${service}`);
    }
    const short = await reply(t, transport, ednsQuery(nameOf('a60'), 'A', { size: sizeOfA(60) - 1 }), sizeOfA(60) - 1);
    t.ok(isTruncated(short), `${transport.name}: one octet too small`);
    t.equal(answersOf(short).length, 59);
  }
});

/** Octets of the reply with so many A records and an OPT. */
function sizeOfA(count: number): number {
  return query(nameOf('a60')).length + count * A_OCTETS + opt().length;
}

void t.test('74 over TCP whole, up to 65,535 octets (RFC 1035 4.2.2)', async (t) => {
  for (const [owner, type, count] of [
    [nameOf('a300'), 'A', 300],
    [nameOf('a4000'), 'A', 4000],
    [portOf('srv300'), 'SRV', 300],
  ] as const) {
    for (const packet of [query(owner, type), ednsQuery(owner, type)]) {
      const octets = await reply(t, overTcp, packet, 65_535);
      t.notOk(isTruncated(octets), `${owner} ${type}`);
      t.equal(new Set(answersOf(octets)).size, count, `${owner} ${type}: every record once`);
      const rdata =
        type === 'A' ? / 5 IN A 10\.0\.\d+\.\d+$/ : / 5 IN SRV 0 100 80 h\d+\.c\.srv300\.s\.svc\.clusterset\.local\.$/;
      t.same(
        answersOf(octets).filter((line) => !line.startsWith(`${owner}.`) || !rdata.test(line)),
        [],
      );
      t.equal(hasOpt(octets), packet.readUInt16BE(10) === 1);
    }
  }
});

void t.test(
  '74 what no message holds: a window, the same endpoints in A and AAAA, TC=0 (RFC 1035 4.2.2)',
  async (t) => {
    // The window moves with the clock; two answers either side of such a moment differ, so there are three tries.
    let hosts: [Set<string>, Set<string>] = [new Set(), new Set()];
    for (let tries = 0; tries < 3 && !equal(...hosts); tries++) {
      const [a, aaaa] = await Promise.all(
        ['A', 'AAAA'].map((type) => reply(t, overTcp, ednsQuery(nameOf('dual5000'), type), 65_535)),
      );
      t.notOk(isTruncated(a!) || isTruncated(aaaa!));
      t.ok(aaaa!.length > 65_535 - 28 && aaaa!.length <= 65_535, `AAAA fills the message: ${aaaa!.length} octets`);
      const number = (line: string): string =>
        /(\d+)\.(\d+)\.(\d+)$/
          .exec(line)!
          .slice(1)
          .map(Number)
          .reduce((n, part) => n * 256 + part, 0)
          .toString();
      hosts = [
        new Set(answersOf(a!).map(number)),
        new Set(answersOf(aaaa!).map((line) => (Number.parseInt(/::([0-9a-f]+)$/.exec(line)![1]!, 16) - 1).toString())),
      ];
    }
    t.ok(hosts[0].size > 2300, `${hosts[0].size} endpoints`);
    t.ok(equal(...hosts), 'A and AAAA show the same endpoints');
  },
);

function equal(a: Set<string>, b: Set<string>): boolean {
  return a.size > 0 && a.size === b.size && [...a].every((value) => b.has(value));
}

void t.test('74 the window of an SRV set that no message holds (RFC 1035 4.2.2)', async (t) => {
  const octets = await reply(t, overTcp, ednsQuery(portOf('srv3000'), 'SRV'), 65_535);
  t.notOk(isTruncated(octets));
  t.ok(octets.length > 65_535 - 64, `${octets.length} octets`);
  t.equal(new Set(answersOf(octets)).size, answersOf(octets).length, 'no record twice');
});

void t.test('75, 79 additional records never set TC and go first (RFC 2181 9, RFC 2782)', async (t) => {
  for (const transport of fleet.transports) {
    const most = transport.isUdp ? 1232 : 65_535;
    const whole = await reply(t, transport, ednsQuery(portOf('srv12'), 'SRV'), most);
    const label = transport.name;
    t.equal(answersOf(whole).length, 12, label);
    t.equal(additionalOf(whole).length, 12, `${label}: every target's address`);
    if (!transport.isUdp) continue;
    const full = (await reply(t, transport, ednsQuery(portOf('srv6'), 'SRV'), 1232)).length;
    const bare = full - 6 * A_OCTETS;
    for (let size = 512; size <= full; size += 1) {
      if (size < bare) continue;
      const octets = await reply(t, transport, ednsQuery(portOf('srv6'), 'SRV', { size }), size);
      const expected = Math.floor((size - bare) / A_OCTETS);
      if (isTruncated(octets) || answersOf(octets).length !== 6 || additionalOf(octets).length !== expected) {
        t.fail(`${label}: size ${size}`, {
          answers: answersOf(octets).length,
          additional: additionalOf(octets).length,
          expected,
        });
      }
    }
    // Too large to be ready-made, yet its answers fit.
    const referred = await reply(t, transport, ednsQuery(portOf('srv20'), 'SRV'), 1232);
    t.notOk(isTruncated(referred), `${label}: by reference`);
    t.equal(answersOf(referred).length, 20, `${label}: by reference`);
    const left = additionalOf(referred).length;
    t.ok(left > 0 && left < 20 && referred.length > 1232 - A_OCTETS, `${label}: ${left} of 20 addresses fit`);
    const plain = await reply(t, transport, query(portOf('srv6'), 'SRV'), 512);
    t.notOk(isTruncated(plain), `${label}: 512 octets`);
    t.equal(answersOf(plain).length, 6, `${label}: 512 octets`);
  }
});

void t.test(
  '76 owners of additional records behind offset 16,383 are right or left out (RFC 1035 4.1.4)',
  async (t) => {
    const octets = await reply(t, overTcp, ednsQuery(portOf('srv300'), 'SRV'), 65_535);
    const targets = new Set(answersOf(octets).map((line) => line.split(' ').at(-1)!));
    const lines = additionalOf(octets);
    t.ok(lines.length >= 400 && lines.length % 2 === 0, `${lines.length} additional records of both families`);
    const wrong = lines.filter((line) => {
      const [owner = '', , , type, address] = line.split(' ');
      const host = Number(/^h(\d+)\.c\./.exec(owner)?.[1]);
      return !targets.has(owner) || address !== (type === 'A' ? ipv4(host) : ipv6(host));
    });
    t.same(wrong, []);
  },
);

rule(fleet, '76 the owner of an answer is a pointer to the question (RFC 1035 4.1.4)', [
  [
    'mixed case comes back in the owner',
    query('WEB.shop.SVC.clusterset.local'),
    `NOERROR aa\n${WEB_A.replace('web', 'WEB').replace('svc', 'SVC')}`,
  ],
]);

void t.test('80 addresses rotate, and SRV does not (RFC 1794, RFC 2782)', async (t) => {
  for (const transport of fleet.transports) {
    const most = transport.isUdp ? 1232 : 65_535;
    const firsts = new Set<string>();
    for (let i = 0; i < 120; i++) {
      const octets = await reply(t, transport, ednsQuery(nameOf('a20')), most);
      firsts.add((dnsPacket.decode(octets).answers?.[0] as { data: string }).data);
    }
    t.equal(firsts.size, 20, `${transport.name}: each address comes first`);
    const orders = new Set<string>();
    for (let i = 0; i < 10; i++) {
      orders.add(answersOf(await reply(t, transport, ednsQuery(portOf('srv12'), 'SRV'), most)).join());
    }
    t.equal(orders.size, 1, `${transport.name}: SRV keeps its order`);
  }
});

void t.test('80 a truncated set rotates: all of it is seen (RFC 1794)', async (t) => {
  for (const transport of udp) {
    for (const [owner, type, count, asks] of [
      [nameOf('a300'), 'A', 300, 120],
      [portOf('srv300'), 'SRV', 300, 400],
      [nameOf('a4000'), 'A', 4000, 800],
    ] as const) {
      const seen = new Map<string, number>();
      for (let i = 0; i < asks; i++) {
        const octets = await reply(t, transport, ednsQuery(owner, type), 1232);
        for (const { rdata } of walk(octets).records.filter(({ section }) => section === 'answer')) {
          const key = rdata.toString('latin1');
          seen.set(key, (seen.get(key) ?? 0) + 1);
        }
      }
      t.equal(seen.size, count, `${transport.name}: ${owner} ${type}: ${asks} answers show all`);
      const counts = [...seen.values()];
      t.ok(Math.max(...counts) <= 4 * Math.min(...counts), `${transport.name}: none far more often than another`);
    }
  }
});

void t.test('80 a window over TCP moves with the clock and shows all in time (RFC 1794)', async (t) => {
  const { respond } = localZone({ c: lab.c });
  const now = t.capture(Date, 'now', () => clock);
  let clock = 1_800_000_000_000;
  for (const [owner, type, count] of [
    [nameOf('dual5000'), 'AAAA', 5000],
    [portOf('srv3000'), 'SRV', 3000],
  ] as const) {
    const seen = new Set<string>();
    const first = respond(query(owner, type), 'TCP');
    for (let i = 0; i < 60; i++, clock += 5_000) {
      const octets = respond(query(owner, type), 'TCP');
      for (const { rdata } of walk(octets).records) seen.add(rdata.toString('latin1'));
    }
    t.equal(seen.size, count, `${owner} ${type}`);
    t.notSame(respond(query(owner, type), 'TCP'), first, 'another window');
  }
  t.ok(now.args().length >= 120);
});

void t.test('cost grows no faster than the set (RUSTSEC-2026-0119)', async (t) => {
  const services = [1000, 2000, 4000].map((count) => headless(`a${count}`, count));
  const ports = [250, 500, 1000].map((count) => headless(`s${count}`, count, { ports: 'p/tcp:80' }));
  const { respond } = localZone({ c: [...services, ...ports].join('\n') });
  for (const [type, small, large] of [
    ['A', query(nameOf('a2000')), query(nameOf('a4000'))],
    ['SRV', query(portOf('s500'), 'SRV'), query(portOf('s1000'), 'SRV')],
  ] as const) {
    const least = (packet: Buffer): number => {
      let best = Infinity;
      for (let round = 0; round < 60; round++) {
        const from = performance.now();
        respond(packet, 'TCP');
        best = Math.min(best, performance.now() - from);
      }
      return best;
    };
    least(small);
    const [one, two] = [least(small), least(large)];
    t.ok(two <= 2.5 * one + 0.05, `${type}: ${one.toFixed(3)} ms, twice the size ${two.toFixed(3)} ms`);
    t.ok(two < 5, `${type}: less than 5 ms`);
  }
});

const loopbacks = ['127.0.0.1', '127.0.0.2', '127.7.7.7'];
const local = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .filter(({ address }) => !address.startsWith('fe80:'))
  .map(({ address }) => address);
void t.test('81 the reply comes from the address that was asked (RFC 2181 4)', async (t) => {
  const dir = writeLab(t, wireLab);
  const hasIpv6 = local.includes('::1');
  for (const engine of ['mmsg', 'dgram']) {
    const hosts = ['0.0.0.0', ...(hasIpv6 ? ['::'] : [])];
    for (const host of hosts) {
      const listen = host.includes(':') ? `[${host}]:0` : `${host}:0`;
      const server = await startServer(t, dir, '--udp', engine, '--listen', listen);
      // One socket a local address, so no address of the loopback network but 127.0.0.1, without packet information.
      const addresses = engine === 'mmsg' ? [...loopbacks, ...local] : local;
      for (const address of new Set(addresses)) {
        if (address.includes(':') !== host.includes(':')) continue;
        // The socket is connected: a reply from another address would not arrive.
        const transport = await udpTransport(server.port, 'UDP', address);
        const outcome = await transport.ask(query(WEB));
        t.ok(
          typeof outcome !== 'string' && answersOf(outcome).join() === WEB_A,
          `${engine}: ${listen} asked at ${address}`,
        );
        transport.close();
      }
      t.equal(await server.stop(), 0);
    }
  }
});

void t.test('TCP on the wildcard address', async (t) => {
  const server = await startServer(t, writeLab(t, wireLab), '--listen', '0.0.0.0:0');
  const outcome = await tcpTransport(server.port).ask(ednsQuery(WEB));
  t.ok(typeof outcome !== 'string' && answersOf(outcome).join() === WEB_A && outcome.length > OPT.length);
  t.equal(await server.stop(), 0);
});

void t.test('the servers live', async (t) => {
  stillServing(t, fleet);
});
