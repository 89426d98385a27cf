// `query` against a server that answers with ready octets over UDP and TCP. The oracle of the layout is dig itself.
import packet from 'dns-packet';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { query } from '../../src/commands/query.ts';

/** What to answer: octets, or nothing. The id is already in place in `asked`. */
type Answerer = (asked: Buffer, transport: 'UDP' | 'TCP') => Buffer | Buffer[] | undefined;

interface Peer {
  port: number;
  asked: { transport: string; octets: Buffer }[];
}

async function startPeer(t: Test, answer: Answerer, host = '127.0.0.1'): Promise<Peer> {
  const peer: Peer = { port: 0, asked: [] };
  const hear = (transport: 'UDP' | 'TCP', octets: Buffer): Buffer[] => {
    peer.asked.push({ transport, octets });
    return [answer(octets, transport) ?? []].flat();
  };
  const tcp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (octets) => {
      const replies = hear('TCP', Buffer.from(octets).subarray(2));
      if (replies.length === 0) socket.end();
      for (const reply of replies) {
        // In two pieces, with the length cut in half.
        const framed = Buffer.concat([Buffer.from([reply.length >> 8, reply.length & 255]), reply]);
        socket.write(framed.subarray(0, 1));
        setTimeout(() => socket.write(framed.subarray(1)), 20);
      }
    });
  });
  await new Promise<void>((resolve) => tcp.listen(0, host, resolve));
  peer.port = (tcp.address() as AddressInfo).port;
  const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (octets, from) => {
    for (const reply of hear('UDP', octets)) udp.send(reply, from.port, from.address);
  });
  await new Promise<void>((resolve) => udp.bind(peer.port, host, resolve));
  t.teardown(() => {
    tcp.close();
    udp.close();
  });
  return peer;
}

interface Shape {
  flags?: number;
  rcode?: number;
  answers?: unknown[];
  authorities?: unknown[];
  additionals?: unknown[];
  extra?: number;
}

function questionEnd(octets: Buffer): number {
  let at = 12;
  while (octets[at]! > 0) at += octets[at]! + 1;
  return at + 5;
}

/** A reply with the question as it was asked. */
function reply(
  asked: Buffer,
  { flags = 0x400, rcode = 0, answers, authorities, additionals, extra = 0 }: Shape,
): Buffer {
  const end = questionEnd(asked);
  const shape = { type: 'response', id: 0, flags: flags | rcode, questions: [], answers, authorities, additionals };
  const octets = packet.encode(JSON.parse(JSON.stringify(shape), revive) as packet.Packet);
  octets.writeUInt16BE(asked.readUInt16BE(0), 0);
  octets[2]! |= asked[2]! & 0x01;
  octets.writeUInt16BE(1, 4);
  return Buffer.concat([octets.subarray(0, 12), asked.subarray(12, end), octets.subarray(12), Buffer.alloc(extra)]);
}

function revive(_: string, value: unknown): unknown {
  const tagged = value as { type?: unknown; data?: unknown } | null;
  return tagged?.type === 'Buffer' ? Buffer.from(tagged.data as number[]) : value;
}

const rr = (name: string, type: string, data: unknown, ttl = 5): unknown => ({ name, type, ttl, data });
const opt = (options: unknown[] = [], more: object = {}): unknown => ({
  name: '.',
  type: 'OPT',
  udpPayloadSize: 1232,
  extendedRcode: 0,
  flags: 0,
  options,
  ...more,
});
const ede = (code: number, text: string): unknown => ({ code: 15, data: Buffer.from([0, code, ...Buffer.from(text)]) });
const soa = rr('z.example', 'SOA', {
  mname: 'ns.dns.z.example',
  rname: 'host\\.master.z.example',
  serial: 4294967295,
  refresh: 1,
  retry: 2,
  expire: 3,
  minimum: 5,
});

// [what, words beside @server -p port, the reply]: each is printed by dig and by us, and must be the same.
const LAYOUTS: readonly (readonly [what: string, words: string[], shape: Shape])[] = [
  ['A', ['web.shop.svc.z.example'], { answers: [rr('web.shop.svc.z.example', 'A', '10.0.0.1')], additionals: [opt()] }],
  [
    'AAAA in its shortest form',
    ['a.b', 'AAAA'],
    {
      answers: ['fd00::1', '::', '1::', 'fd00:0:0:1::', '1:0:0:2:0:0:0:3', '::ffff:1.2.3.4'].map((ip) =>
        rr('a.b', 'AAAA', ip),
      ),
    },
  ],
  [
    'SRV with additional addresses',
    ['_http._tcp.web.shop.svc.z.example', 'SRV'],
    {
      answers: [
        rr(
          '_http._tcp.web.shop.svc.z.example',
          'SRV',
          { priority: 0, weight: 100, port: 80, target: 'x.z.example' },
          28800,
        ),
      ],
      additionals: [rr('x.z.example', 'A', '10.0.0.1', 1234567890), opt([], { flags: 0x8000 })],
    },
  ],
  ['NXDOMAIN', ['x.example'], { rcode: 3, authorities: [soa], additionals: [opt()] }],
  ['NODATA without EDNS', ['x.example', '+noedns'], { authorities: [soa] }],
  ['REFUSED', ['.', 'NS', '+norec'], { flags: 0, rcode: 5 }],
  [
    'SERVFAIL with reasons',
    ['x.example'],
    { rcode: 2, additionals: [opt([ede(14, 'cluster-b has "not" synced é'), ede(3, ''), ede(99, 'A')])] },
  ],
  [
    'other options',
    ['x.example'],
    {
      additionals: [
        opt([
          { code: 3, data: Buffer.from('a\x01b') },
          { code: 11, data: Buffer.from([1, 44]) },
          { code: 12, data: Buffer.alloc(5) },
          { code: 65518, data: Buffer.from('cluster-a') },
          { code: 65519, data: Buffer.alloc(0) },
        ]),
      ],
    },
  ],
  ['BADVERS', ['x.example'], { additionals: [opt([], { extendedRcode: 1 })] }],
  [
    'text',
    ['x.example', 'TXT'],
    {
      answers: [
        rr('x.example', 'TXT', [Buffer.from('1.0.0'), Buffer.from('a"b\\c\x01;\xff é', 'latin1'), Buffer.alloc(0)]),
      ],
    },
  ],
  [
    'every other type that dns-packet takes apart for us',
    ['x.example', 'ANY', '+notcp'],
    {
      answers: [
        rr('x.example', 'NS', 'a.b'),
        rr('x.example', 'MX', { preference: 3, exchange: 'd.e' }),
        rr('x.example', 'PTR', '.'),
        rr('x.example', 'CNAME', 'y.example'),
        rr('x.example', 'HINFO', { cpu: 'a b', os: 'c\\"' }),
        rr('x.example', 'CAA', { flags: 0, tag: 'issue', value: 'a b"' }),
        rr('x.example', 'UNKNOWN_65280', Buffer.from([1, 2, 255])),
        rr('x.example', 'UNKNOWN_65280', Buffer.alloc(0)),
      ],
    },
  ],
  [
    'names with octets that mean something',
    ['x.example'],
    {
      answers: [rr('é a$@;()"\\.b', 'CNAME', 'a"b\\c\u0001\u007f.d'), rr('x'.repeat(60) + '.y', 'A', '1.1.1.1')],
    },
  ],
  ['an escaped question', ['a\\.b\\000\\255\\\\c\\@.example', 'TYPE65280'], {}],
  ['HTTPS', ['x.example', 'HTTPS'], {}],
  ['octets behind the message', ['x.example'], { answers: [rr('x.example', 'A', '1.1.1.1')], extra: 9 }],
];

const DIG = '/usr/bin/dig';

/** What may differ: the banner, the id, the time, and BIND's opinion of .local. */
function comparable(text: string): string[] {
  return text
    .replaceAll(/id: \d+/g, 'id: N')
    .replaceAll(/Query time: \d+/g, 'Query time: N')
    .replaceAll(/(WHEN:) .*/g, '$1')
    .split('\n')
    .filter((line) => !/^; (<<>>|\(\d+ server)|^;; global options/.test(line));
}

async function ask(peer: Peer, words: string[], flags = {}): Promise<{ code: number; text: string }> {
  let text = '';
  const code = await query([`@127.0.0.1#${peer.port}`, ...words], flags, (more) => (text += more));
  return { code, text };
}

t.test('the layout is dig’s', { skip: !existsSync(DIG) && process.env['CI'] !== 'true' && 'no dig' }, async (t) => {
  for (const [what, words, shape] of LAYOUTS) {
    const peer = await startPeer(t, (asked) => reply(asked, shape));
    for (const extra of [[], ['+tcp'], ['+short']]) {
      const ours = await ask(peer, [...words, ...extra]);
      const fixed = [
        '@127.0.0.1',
        '-p',
        String(peer.port),
        '+nocookie',
        '+noad',
        '+nobadcookie',
        '+noednsneg',
        '+tries=1',
      ];
      const { stdout } = await promisify(execFile)(DIG, [...fixed, ...words, ...extra]);
      t.strictSame(comparable(ours.text), comparable(stdout), `${what} ${extra.join()}`);
      t.equal(ours.code, 0);
    }
    const [ours, digs] = [peer.asked[0]!, peer.asked[1]!];
    const question = ({ octets }: { octets: Buffer }): string =>
      octets.subarray(12, questionEnd(octets)).toString('hex');
    t.equal(question(ours), question(digs), `${what}: the same octets were asked`);
  }
});

t.test('what is asked', async (t) => {
  const peer = await startPeer(t, (asked) => reply(asked, {}));
  for (const [words, flags, question, bufsize, transport] of [
    [['a.b'], 0x100, 'a.b A', 1232, 'UDP'],
    [['A.b.', 'srv', '+norec'], 0, 'A.b SRV', 1232, 'UDP'],
    [['a.b', 'TYPE28', '+bufsize=4096'], 0x100, 'a.b AAAA', 4096, 'UDP'],
    [['+noedns', '+tcp', 'a.b'], 0x100, 'a.b A', undefined, 'TCP'],
    [['.', 'SOA'], 0x100, '. SOA', 1232, 'UDP'],
  ] as const) {
    await ask(peer, [...words]);
    const { octets, transport: came } = peer.asked.at(-1)!;
    const { flags: bits, questions, additionals } = packet.decode(octets);
    const edns = additionals?.[0] as { udpPayloadSize?: number } | undefined;
    t.strictSame(
      [bits, `${questions![0]!.name} ${questions![0]!.type}`, edns?.udpPayloadSize, came],
      [flags, question, bufsize, transport],
      words.join(' '),
    );
  }
});

t.test('a truncated reply is asked for again over TCP', async (t) => {
  const whole = { answers: Array.from({ length: 3000 }, (_, i) => rr('a.b', 'A', `10.0.${i >> 8}.${i & 255}`)) };
  const peer = await startPeer(t, (asked, transport) => reply(asked, transport === 'UDP' ? { flags: 0x600 } : whole));
  const { code, text } = await ask(peer, ['a.b']);
  t.equal(code, 0);
  t.match(text, /^;; Truncated, retrying in TCP mode\.$/m);
  t.match(text, /ANSWER: 3000, [^]*\(TCP\)\n/);
  t.match((await ask(peer, ['a.b', '+ignore'])).text, /flags: qr aa tc rd; .* ANSWER: 0[^]*\(UDP\)/);
});

t.test('trouble', async (t) => {
  const mute = await startPeer(t, () => undefined);
  const began = performance.now();
  const none = await ask(mute, ['a.b', '+time=1', '+tries=2']);
  t.ok(performance.now() - began >= 1900);
  t.equal(none.code, 1);
  t.equal(none.text.match(/;; communications error to 127\.0\.0\.1#\d+: timed out/g)?.length, 2);
  t.match(none.text, /;; no servers could be reached\n$/);
  t.match((await ask(mute, ['a.b', '+tcp', '+tries=1'])).text, /end of file/);
  const json = await ask(mute, ['a.b', '+tries=1', '+time=1'], { output: 'json' });
  t.match(JSON.parse(json.text), { errors: [/timed out/, 'no servers could be reached'] });

  const forger = await startPeer(t, (asked) => {
    const other = reply(asked, { rcode: 5 });
    other[0]! ^= 1;
    return [other, asked, Buffer.alloc(3), reply(asked, { rcode: 3 })];
  });
  t.match((await ask(forger, ['a.b'])).text, /status: NXDOMAIN/, 'another id, a query and a stub are passed over');

  const broken = await startPeer(t, (asked) => reply(asked, { answers: [rr('a.b', 'A', '1.1.1.1')] }).subarray(0, -3));
  const bad = await ask(broken, ['a.b']);
  t.equal(bad.code, 1);
  t.match(bad.text, /;; Got bad packet: .*\n\d+ bytes\n[0-9a-f]+/);

  let text = '';
  t.equal(await query(['@127.0.0.1#1', 'a.b', '+tcp'], {}, (more) => (text += more)), 1);
  t.equal(text.match(/connection refused/g)?.length, 3);
  text = '';
  t.equal(await query(['@no.such.host.invalid', 'a.b'], {}, (more) => (text += more)), 1);
  t.match(text, /couldn't get address for 'no\.such\.host\.invalid'/);
});

t.test('IPv6 and JSON', async (t) => {
  const peer = await startPeer(
    t,
    (asked) => reply(asked, { answers: [rr('a.b', 'A', '1.1.1.1')], additionals: [opt([ede(3, 'old')])] }),
    '::1',
  );
  for (const server of [`@::1#${peer.port}`, `@[::1]#${peer.port}`]) {
    let text = '';
    t.equal(await query([server, 'a.b'], { output: 'json' }, (more) => (text += more)), 0);
    t.match(JSON.parse(text), {
      server: { address: '::1', port: peer.port },
      transport: 'UDP',
      status: 'NOERROR',
      flags: ['qr', 'aa', 'rd'],
      edns: { version: 0, udpPayloadSize: 1232, errors: [{ code: 3, name: 'Stale Answer', text: 'old' }] },
      question: [{ name: 'a.b.', class: 'IN', type: 'A' }],
      answer: [{ name: 'a.b.', ttl: 5, class: 'IN', type: 'A', data: '1.1.1.1' }],
      authority: [],
    });
  }
});

t.test('words that cannot be meant', async (t) => {
  for (const [words, message] of [
    [[], /^a name to ask for is needed/],
    [['@127.0.0.1'], /^a name/],
    [['a', 'A', 'IN'], /^"IN" is one word too many/],
    [['a', 'NOPE'], /^"NOPE" is no record type/],
    [['a', 'TYPE65536'], /no record type/],
    [['a', 'TYPE0'], /no record type/],
    [['a', 'UNKNOWN_99999'], /no record type/],
    [['a', '__proto__'], /no record type/],
    [['a..b'], /^"a\.\.b" is no DNS name: an empty label/],
    [['.a'], /an empty label/],
    [[''], /an empty label/],
    [['a\\256'], /no octet/],
    [['x'.repeat(64)], /a label over 63 octets/],
    [[`${'x'.repeat(63)}.`.repeat(4)], /over 255 octets/],
    [['a', '+nope'], /^\+nope: not a word of query/],
    [['a', '+bufsize'], /^\+bufsize: "" is not a number from 0 to 65535/],
    [['a', '+bufsize=65536'], /^\+bufsize: "65536"/],
    [['@', 'a'], /^@: @SERVER is an address/],
    [['@1:2', 'a'], /^@1:2: @SERVER/],
    [['@::1#0', 'a'], /^@::1#0: "0" is not a number from 1 to 65535/],
  ] as const) {
    await t.rejects(
      query([...words], {}, () => undefined),
      { name: 'UsageError', message },
      words.join(' '),
    );
  }
  await t.rejects(
    query(['a'], { port: '65536' }, () => undefined),
    { message: /^--port: "65536"/ },
  );
  await t.rejects(
    query(['a'], { output: 'yaml' }, () => undefined),
    { message: /^--output: "yaml"/ },
  );
});
