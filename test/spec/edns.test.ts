// EDNS(0): rules 50 to 71. RFC 6891, RFC 3225, RFC 7873, RFC 7871, RFC 7828, RFC 7830, RFC 8914.
// NSID, cookies, keepalive and padding are not supported here: such options are ignored.
import t from 'tap';
import { bit, ednsQuery, opt, option, query, record, uint16 } from '../support/packet.ts';
import { localZone } from '../support/in-process.ts';
import { writeLab } from '../support/lab.ts';
import { serveFleet } from '../support/server.ts';
import { NODATA, NXDOMAIN, OPT, WEB, WEB_A, rule, stillServing, wireLab, type Case } from '../support/spec.ts';

const fleet = await serveFleet(t, writeLab(t, wireLab));
const ANSWER = `NOERROR aa\n${WEB_A}\n${OPT}`;
const withOption = (code: number, payload?: Buffer): Buffer => ednsQuery(WEB, 'A', { rdata: option(code, payload) });

rule(fleet, '50 one OPT: owner root, version 0, flags 0, size 1232 (RFC 6891 6.1, RFC 9715)', [
  ['answer', ednsQuery(WEB), ANSWER],
  ['NODATA', ednsQuery(WEB, 'MX'), `${NODATA}\n${OPT}`],
  ['NXDOMAIN', ednsQuery('x.clusterset.local'), `${NXDOMAIN}\n${OPT}`],
  ['size 4096', ednsQuery(WEB, 'A', { size: 4096 }), ANSWER],
  ['none where none was', query(WEB), `NOERROR aa\n${WEB_A}`],
]);

rule(fleet, '51 DO is copied (RFC 3225 3)', [
  ['DO=1', ednsQuery(WEB, 'A', { flags: 0x8000 }), `NOERROR aa\n${WEB_A}\n${OPT} do`],
  ['DO=0', ednsQuery(WEB, 'A', { flags: 0 }), ANSWER],
  ['DO=1, NXDOMAIN', ednsQuery('x.clusterset.local', 'A', { flags: 0x8000 }), `${NXDOMAIN}\n${OPT} do`],
]);

const BADVERS = ['BADVERS\nopt: 1232', 'BADVERS rd\nopt: 1232', 'BADVERS\nopt: 1232 do'];
rule(fleet, '52 another version: BADVERS, version 0, no section, no option (RFC 6891 6.1.3)', [
  ['1', ednsQuery(WEB, 'A', { version: 1 }), 'BADVERS\nopt: 1232'],
  ['255', ednsQuery(WEB, 'A', { version: 255 }), 'BADVERS\nopt: 1232'],
  ['1 with an option', ednsQuery(WEB, 'A', { version: 1, rdata: option(3) }), 'BADVERS\nopt: 1232'],
  ['1 with DO', ednsQuery(WEB, 'A', { version: 1, flags: 0x8000 }), BADVERS],
  ['1 outside the zone', ednsQuery('example.com', 'A', { version: 1 }), 'BADVERS\nopt: 1232'],
  ['1 in class CH', ednsQuery('version.bind', 'TXT', { version: 1 }, { class: 3 }), 'BADVERS\nopt: 1232'],
  ['1 with RD', ednsQuery(WEB, 'A', { version: 1 }, { flags: bit.RD }), 'BADVERS rd\nopt: 1232'],
]);

const hundred = Buffer.concat(Array.from({ length: 100 }, (_, i) => option(1000 + i, Buffer.alloc(i % 9, i))));
rule(fleet, '53 unknown options are ignored and not echoed (RFC 6891 6.1.2)', [
  ...[0, 1, 2, 63, 64].map((octets): Case => [
    `${octets} octets`,
    withOption(65_001, Buffer.alloc(octets, 0xee)),
    ANSWER,
  ]),
  ['100 of them', ednsQuery(WEB, 'A', { rdata: hundred }), ANSWER],
  ['one of 4 kB', withOption(65_001, Buffer.alloc(4096, 0xee)), ANSWER],
  ['codes 0 and 65535', ednsQuery(WEB, 'A', { rdata: Buffer.concat([option(0), option(65_535)]) }), ANSWER],
]);

rule(
  fleet,
  '54 undefined flags are ignored, 0 in the reply (RFC 6891 6.1.4)',
  [0x4000, 0x0001, 0x7fff].map((flags): Case => [flags.toString(16), ednsQuery(WEB, 'A', { flags }), ANSWER]),
);

rule(
  fleet,
  '55 sizes below 512 are 512 (RFC 6891 6.2.3)',
  [0, 1, 511, 512].map((size): Case => [`${size}`, ednsQuery(WEB, 'A', { size }), ANSWER]),
);

rule(fleet, '56 size 65535: at most 1,232 octets (RFC 9715)', [
  ['65535', ednsQuery(WEB, 'A', { size: 65_535 }), ANSWER],
]);

const FORMERR = ['FORMERR', 'FORMERR no question'];
rule(fleet, '57 two OPT: FORMERR (RFC 6891 6.1.1)', [
  ['equal', query(WEB, 'A', { additional: [opt(), opt()] }), FORMERR],
  ['of two versions', query(WEB, 'A', { additional: [opt({ version: 1 }), opt()] }), FORMERR],
]);

rule(fleet, '58 OPT in answer or authority: FORMERR or ignored (RFC 6891 6.1.1)', [
  ['answer', query(WEB, 'A', { answer: [opt()] }), [...FORMERR, `NOERROR aa\n${WEB_A}`]],
  ['authority', query(WEB, 'A', { authority: [opt()] }), [...FORMERR, `NOERROR aa\n${WEB_A}`]],
]);

rule(fleet, '59 OPT with an owner: FORMERR (RFC 6891 6.1.2)', [
  ['a.', ednsQuery(WEB, 'A', { owner: 'a.' }), FORMERR],
  [
    'a pointer to the question',
    query(WEB, 'A', { additional: [record(Buffer.from('c00c', 'hex'), 'OPT', 1232, 0)] }),
    FORMERR,
  ],
]);

rule(fleet, '60 lengths that lie: FORMERR (RFC 6891 6.1.2)', [
  ['RDLEN past the end', ednsQuery(WEB, 'A', { rdlength: 1 }), FORMERR],
  ['RDLEN 65535', ednsQuery(WEB, 'A', { rdlength: 65_535 }), FORMERR],
  ['an option past RDLEN', ednsQuery(WEB, 'A', { rdata: option(65_001, Buffer.alloc(4), 5) }), FORMERR],
  ['an option of 65535', ednsQuery(WEB, 'A', { rdata: option(65_001, Buffer.alloc(4), 65_535) }), FORMERR],
  ...[1, 2, 3].map((octets): Case => [
    `RDLEN ${octets}`,
    ednsQuery(WEB, 'A', { rdata: Buffer.alloc(octets) }),
    FORMERR,
  ]),
  ['OPT cut', query(WEB, 'A', { counts: [1, 0, 0, 1], tail: opt().subarray(0, 8) }), FORMERR],
]);

rule(fleet, '61 extended RCODE bits in a query are ignored (RFC 6891 6.1.3)', [
  ['255', ednsQuery(WEB, 'A', { extendedRcode: 255 }), ANSWER],
]);

rule(fleet, '62 NSID is not configured: no option (RFC 5001 2)', [
  ['empty', withOption(3), ANSWER],
  ['with payload', withOption(3, Buffer.from('you')), ANSWER],
]);

rule(
  fleet,
  '63-66 cookies are not supported: ignored, or FORMERR where the length is impossible (RFC 7873 5.2)',
  [8, 0, 4, 7, 9, 15, 16, 24, 40, 41].map((octets): Case => {
    const isPossible = octets === 8 || (octets >= 16 && octets <= 40);
    return [`${octets} octets`, withOption(10, Buffer.alloc(octets, 1)), isPossible ? ANSWER : [ANSWER, ...FORMERR]];
  }),
);
rule(fleet, '66 two cookies (RFC 7873 5.2)', [
  [
    'two',
    ednsQuery(WEB, 'A', { rdata: Buffer.concat([option(10, Buffer.alloc(8)), option(10, Buffer.alloc(8))]) }),
    [ANSWER, ...FORMERR],
  ],
]);

const ecs = (...octets: number[]): Buffer => withOption(8, Buffer.from(octets));
rule(fleet, '67 client subnet, whole and broken, is ignored (RFC 7871 7.1)', [
  ['192.0.2.0/24', ecs(0, 1, 24, 0, 192, 0, 2), ANSWER],
  ['empty', ecs(), [ANSWER, ...FORMERR]],
  ['family 9', ecs(0, 9, 24, 0, 1), [ANSWER, ...FORMERR]],
  ['prefix 200', ecs(0, 1, 200, 0, 1), [ANSWER, ...FORMERR]],
]);

rule(fleet, '68-69 tcp-keepalive: never in a reply over UDP, not offered over TCP (RFC 7828 3.3)', [
  ['empty', withOption(11), ANSWER],
  ['with a time', withOption(11, uint16(100)), [ANSWER, ...FORMERR]],
]);

rule(fleet, '70 padding: none over clear text (RFC 7830 6)', [['padding', withOption(12, Buffer.alloc(100)), ANSWER]]);

rule(fleet, '71 EDE only where the query had an OPT (RFC 8914 2)', [
  ['REFUSED with', ednsQuery('example.com'), `REFUSED\n${OPT} ede 20`],
  ['REFUSED without', query('example.com'), 'REFUSED'],
]);

void t.test('71 EDE 14 before a sync, EDE 3 while stale (RFC 8914 4.4, 4.15)', async (t) => {
  const { zone, writer, ask } = localZone(wireLab);
  for (const over of ['UDP', 'TCP'] as const) {
    zone.setUnknown(true);
    const missing = 'nope.shop.svc.clusterset.local';
    t.equal(ask(ednsQuery(missing), over), `SERVFAIL\n${OPT} ede 14`);
    t.equal(ask(query(missing), over), 'SERVFAIL');
    zone.setUnknown(false);
    t.equal(ask(ednsQuery(missing), over), `${NXDOMAIN}\n${OPT}`);
    writer.setStale(new Set(['eu-west']));
    writer.commit();
    t.equal(ask(ednsQuery(WEB), over), `${ANSWER} ede 3`);
    t.equal(ask(ednsQuery(WEB, 'TXT'), over), `${NODATA}\n${OPT} ede 3`);
    t.equal(ask(query(WEB), over), `NOERROR aa\n${WEB_A}`);
    const east = 'mysql-0.us-east.mysql.db.svc.clusterset.local';
    t.equal(
      ask(ednsQuery(east), over),
      `NOERROR aa\n${east}. 5 IN A 10.20.1.30\n${OPT}`,
      'another cluster is in touch',
    );
    writer.setStale(new Set());
    writer.commit();
    t.equal(ask(ednsQuery(WEB), over), ANSWER);
  }
});

void t.test('the servers live', async (t) => {
  stillServing(t, fleet);
});
