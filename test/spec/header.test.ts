// The header and the counts: rules 1 to 20. RFC 1035 4.1.1, RFC 9619, RFC 8906.
import t from 'tap';
import { bit, message, opt, option, query, question, record, uint16, wireName } from '../support/packet.ts';
import { writeLab } from '../support/lab.ts';
import { serveFleet } from '../support/server.ts';
import { OPT, WEB, WEB_A, rule, stillServing, wireLab, type Case } from '../support/spec.ts';

const fleet = await serveFleet(t, writeLab(t, wireLab));
const ANSWER = `NOERROR aa\n${WEB_A}`;
const FORMERR = 'FORMERR no question';
/** FORMERR, with or without the question. */
const FORMERR_ANY = ['FORMERR no question', 'FORMERR'];
const header = (flags: number, counts: [number, number, number, number] = [0, 0, 0, 0]): Buffer =>
  uint16(0x1234, flags, ...counts);

rule(fleet, '01 a query, RD=0 (RFC 1035 4.1.1)', [['A', query(WEB), ANSWER]]);

rule(fleet, '02 RD=1 is copied, RA=0 (RFC 1034 4.3.1, RFC 8906 8.1)', [
  ['A', query(WEB, 'A', { flags: bit.RD }), `NOERROR aa rd\n${WEB_A}`],
]);

rule(fleet, '03 AA, TC, RA, Z and CD in a query are ignored; CD may be copied (RFC 8906 8.1, RFC 4035 3.1.6)', [
  ...[bit.AA, bit.TC, bit.RA, bit.Z].map((flags): Case => [
    `flags ${flags.toString(16)}`,
    query(WEB, 'A', { flags }),
    ANSWER,
  ]),
  ['CD', query(WEB, 'A', { flags: bit.CD }), [`NOERROR aa cd\n${WEB_A}`, ANSWER]],
  [
    'all',
    query(WEB, 'A', { flags: bit.AA | bit.TC | bit.RA | bit.Z | bit.CD | bit.RD }),
    [`NOERROR aa rd cd\n${WEB_A}`, `NOERROR aa rd\n${WEB_A}`],
  ],
]);

rule(fleet, '04 AD in a query, AD=0 in the reply (RFC 6840 5.7)', [['AD', query(WEB, 'A', { flags: bit.AD }), ANSWER]]);

rule(
  fleet,
  '05 RCODE bits in a query are ignored (RFC 1035 4.1.1)',
  [1, 3, 15].map((flags): Case => [`RCODE ${flags}`, query(WEB, 'A', { flags }), [ANSWER, 'FORMERR']]),
);

rule(fleet, '06 a reply is never answered (QR=1, RFC 5452 practice)', [
  ...Array.from({ length: 16 }, (_, opcode): Case => {
    const flags = bit.QR | (opcode << 11);
    return [`opcode ${opcode}`, query(WEB, 'A', { flags }), 'silence'];
  }),
  ['header only', header(bit.QR), 'silence'],
  ['every flag', header(0xffff, [65_535, 65_535, 65_535, 65_535]), 'silence'],
  ['with an OPT of version 255', query(WEB, 'A', { flags: bit.QR, additional: [opt({ version: 255 })] }), 'silence'],
  [
    'a whole answer',
    query(WEB, 'A', { flags: bit.QR | bit.AA, answer: [record(WEB, 'A', 1, 5, Buffer.from([1, 2, 3, 4]))] }),
    'silence',
  ],
]);

const otherOpcodes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
rule(fleet, '07 other opcodes: NOTIMP, the opcode copied, no flag, no section (RFC 1035 4.1.1, RFC 8906 8.3)', [
  ...otherOpcodes.map((opcode): Case => {
    const flags = (opcode << 11) | bit.RD | bit.CD;
    return [`${opcode} with a question`, query(WEB, 'A', { flags }), `NOTIMP opcode ${opcode} no question`];
  }),
  ...otherOpcodes.map((opcode): Case => [
    `${opcode} without`,
    header(opcode << 11),
    `NOTIMP opcode ${opcode} no question`,
  ]),
]);

rule(fleet, '08 opcode 15, header only, every flag: no flag echoed (RFC 8906 8.1.3)', [
  ['flags 7fff', header(0x7fff), 'NOTIMP opcode 15 no question'],
]);

rule(
  fleet,
  '09 DSO (opcode 6) over TCP: NOTIMP (RFC 8490 5.1.1)',
  [
    [
      'keepalive TLV',
      message(Buffer.alloc(0), { flags: 6 << 11, tail: Buffer.from('00010008000000ff000000ff', 'hex') }),
      'NOTIMP opcode 6 no question',
    ],
  ],
  'tcp',
);

const soa = record('clusterset.local', 'SOA', 1, 5, Buffer.concat([wireName('a'), wireName('b'), Buffer.alloc(20)]));
rule(fleet, '10 NOTIFY has no effect (RFC 1996 3.10)', [
  [
    'for the zone',
    query('clusterset.local', 'SOA', { flags: (4 << 11) | bit.AA, answer: [soa] }),
    'NOTIMP opcode 4 no question',
  ],
]);

rule(fleet, '11 UPDATE has no effect, its sections are not read (RFC 2136 3)', [
  [
    'an addition',
    query('clusterset.local', 'SOA', {
      flags: 5 << 11,
      authority: [record(WEB, 'A', 1, 5, Buffer.from([6, 6, 6, 6]))],
    }),
    'NOTIMP opcode 5 no question',
  ],
  [
    'prerequisites that lie about their count',
    query('clusterset.local', 'SOA', { flags: 5 << 11, counts: [1, 65_535, 65_535, 65_535] }),
    'NOTIMP opcode 5 no question',
  ],
  ['and the name is as before', query(WEB), ANSWER],
]);

rule(fleet, '12 QDCOUNT=0, header only: FORMERR (RFC 1035 4.1.1, RFC 9619)', [
  ['RD=0', header(0), FORMERR],
  ['RD=1', header(bit.RD), ['FORMERR rd no question', FORMERR]],
]);

const cookie = option(10, Buffer.from('0123456789abcdef', 'hex'));
rule(fleet, '13 QDCOUNT=0 with a client COOKIE: FORMERR, as cookies are not supported (RFC 7873 5.4)', [
  ['cookie', message(Buffer.alloc(0), { additional: [opt({ rdata: cookie })] }), [FORMERR, `${FORMERR}\n${OPT}`]],
]);

const twice = Buffer.concat([question(WEB), question(WEB)]);
rule(fleet, '14 more than one question: FORMERR, QDCOUNT 0 or 1 in the reply (RFC 9619)', [
  ['QDCOUNT=2', message(twice, { counts: [2, 0, 0, 0] }), FORMERR_ANY],
  ['QDCOUNT=2, one follows', message(question(WEB), { counts: [2, 0, 0, 0] }), FORMERR_ANY],
  ['QDCOUNT=65535', message(question(WEB), { counts: [65_535, 0, 0, 0] }), FORMERR_ANY],
  ['QDCOUNT=256', message(question(WEB), { counts: [256, 0, 0, 0] }), FORMERR_ANY],
  ['QDCOUNT=257', message(question(WEB), { counts: [257, 0, 0, 0] }), FORMERR_ANY],
]);

rule(fleet, '15 QDCOUNT=1 and no octets follow: FORMERR (RFC 1035 4.1.2)', [
  ['header', header(0, [1, 0, 0, 0]), FORMERR],
]);

const address = record(WEB, 'A', 1, 5, Buffer.from([6, 6, 6, 6]));
rule(fleet, '16 more records announced than present: FORMERR (RFC 1035 4.1.1)', [
  ...(
    [
      [1, 1, 0, 0],
      [1, 0, 1, 0],
      [1, 0, 0, 1],
      [1, 65_535, 65_535, 65_535],
      [1, 0, 0, 256],
    ] as const
  ).map((counts): Case => [`counts ${counts.join(' ')}`, query(WEB, 'A', { counts }), FORMERR_ANY]),
  ['two additional, one OPT', query(WEB, 'A', { counts: [1, 0, 0, 2], additional: [opt()] }), FORMERR_ANY],
]);

rule(fleet, '17 records in answer or authority of a query are never reflected (RFC 1035 4.1)', [
  ['answer', query(WEB, 'A', { answer: [address] }), [ANSWER, ...FORMERR_ANY]],
  ['authority', query(WEB, 'A', { authority: [address] }), [ANSWER, ...FORMERR_ANY]],
  ['two of each', query(WEB, 'A', { answer: [address, address], authority: [address, address] }), FORMERR_ANY],
]);

rule(fleet, '18 a stray record in additional is ignored, or FORMERR (RFC 6891 6.1.1)', [
  ['A', query(WEB, 'A', { additional: [address] }), [ANSWER, ...FORMERR_ANY]],
  ['A, then OPT', query(WEB, 'A', { additional: [address, opt()] }), [`${ANSWER}\n${OPT}`, ...FORMERR_ANY]],
  ['OPT, then A', query(WEB, 'A', { additional: [opt(), address] }), [`${ANSWER}\n${OPT}`, ...FORMERR_ANY]],
]);

rule(fleet, '19 octets behind the message are never copied (RFC 1035 4.1)', [
  ...[1, 11, 500, 4_000, 60_000].map((octets): Case => [
    `${octets} octets`,
    query(WEB, 'A', { tail: Buffer.alloc(octets, 0xee) }),
    [ANSWER, ...FORMERR_ANY],
  ]),
  ['behind an OPT', query(WEB, 'A', { additional: [opt()], tail: Buffer.alloc(40, 0xee) }), [`${ANSWER}\n${OPT}`]],
]);

rule(
  fleet,
  '20 datagrams of 0 to 11 octets: silence; over TCP the connection ends (RFC 1035 4.1.1)',
  Array.from({ length: 12 }, (_, octets): Case => [
    `${octets} octets`,
    header(0).subarray(0, octets),
    { udp: 'silence', tcp: 'closed' },
  ]),
);

void t.test('the servers live', async (t) => {
  stillServing(t, fleet);
});
