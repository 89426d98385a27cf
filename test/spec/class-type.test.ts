// Class and type: rules 36 to 48. RFC 1035 3.2, RFC 4892, RFC 5936, RFC 8482, RFC 8945. No transfers, no TSIG keys yet.
import dnsPacket from 'dns-packet';
import t from 'tap';
import type { MergedService } from '../../src/zones/objects.ts';
import { localZone } from '../support/in-process.ts';
import { ednsQuery, opt, query, record, uint16, wireName } from '../support/packet.ts';
import { writeLab } from '../support/lab.ts';
import { serveFleet } from '../support/server.ts';
import { NODATA, NXDOMAIN, OPT, WEB, WEB_A, rule, stillServing, wireLab, type Case } from '../support/spec.ts';

const fleet = await serveFleet(t, writeLab(t, wireLab));
const ZONE = 'clusterset.local';
const CH = 3;

rule(
  fleet,
  '36 CH TXT version.bind and its like: REFUSED, the class echoed (RFC 4892)',
  ['version.bind', 'version.server', 'id.server', 'hostname.bind'].flatMap((name): Case[] => [
    [name, query(name, 'TXT', { class: CH }), 'REFUSED'],
    [`${name} with EDNS`, ednsQuery(name, 'TXT', {}, { class: CH }), [`REFUSED\n${OPT}`, `REFUSED\n${OPT} ede 20`]],
  ]),
);

rule(
  fleet,
  '37 any other class: REFUSED, never data of IN (RFC 1035 3.2.4)',
  [0, 2, CH, 4, 254, 256, 257, 65_535].flatMap((rrclass): Case[] => [
    [`class ${rrclass}`, query(WEB, 'A', { class: rrclass }), 'REFUSED'],
    [`class ${rrclass} ANY`, query(WEB, 'ANY', { class: rrclass }), 'REFUSED'],
  ]),
);

rule(fleet, '38 class ANY: REFUSED (RFC 1035 3.2.5)', [['A', query(WEB, 'A', { class: 255 }), 'REFUSED']]);

rule(fleet, '39 type ANY: one RRset; NXDOMAIN and NODATA as for any type (RFC 8482 4.1)', [
  ['ClusterSetIP', query(WEB, 'ANY'), `NOERROR aa\n${WEB_A}`],
  [
    'an endpoint',
    query(`mysql-0.eu-west.mysql.db.svc.${ZONE}`, 'ANY'),
    `NOERROR aa\nmysql-0.eu-west.mysql.db.svc.${ZONE}. 5 IN A 10.10.1.30`,
  ],
  ['dns-version', query(`dns-version.${ZONE}`, 'ANY'), `NOERROR aa\ndns-version.${ZONE}. 28800 IN TXT "1.0.0"`],
  ['missing', query(`nope.${ZONE}`, 'ANY'), NXDOMAIN],
  ['empty non-terminal', query(`svc.${ZONE}`, 'ANY'), NODATA],
]);

rule(
  fleet,
  '40 AXFR over UDP: REFUSED (RFC 5936 4.2)',
  [['the zone', query(ZONE, 'AXFR'), ['REFUSED', 'FORMERR', 'NOTIMP no question']]],
  'udp',
);

const soa = record(ZONE, 'SOA', 1, 5, Buffer.concat([wireName('a'), wireName('b'), Buffer.alloc(20)]));
rule(fleet, '41 AXFR and IXFR without right: REFUSED, no record (RFC 5936 2.2.1)', [
  ['AXFR', query(ZONE, 'AXFR'), 'REFUSED'],
  ['AXFR with EDNS', ednsQuery(ZONE, 'AXFR'), `REFUSED\n${OPT}`],
  ['AXFR of a name in the zone', query(WEB, 'AXFR'), 'REFUSED'],
  ['AXFR of another zone', query('example.com', 'AXFR'), 'REFUSED'],
  ['IXFR', query(ZONE, 'IXFR', { authority: [soa] }), 'REFUSED'],
  ['IXFR without its SOA', query(ZONE, 'IXFR'), 'REFUSED'],
]);

rule(
  fleet,
  '42 meta types: a reply without data (RFC 6895 3.1)',
  ['TYPE0', 'OPT', 'TSIG', 'TKEY', 'MAILA', 'MAILB', 'TYPE128', 'TYPE254', 'TYPE65535'].flatMap((type): Case[] => [
    [`${type} at a name`, query(WEB, type), NODATA],
    [`${type} at a missing name`, query(`nope.${ZONE}`, type), NXDOMAIN],
    [`${type} at the root`, query('.', type), 'REFUSED'],
  ]),
);

void t.test('45 the SOA serial rises with every change, whatever the clock says (RFC 1982 3.2)', async (t) => {
  const { zone, respond } = localZone(wireLab);
  const serial = (): number => {
    const [soa] = dnsPacket.decode(respond(query(ZONE, 'SOA'))).answers ?? [];
    return (soa as { data: { serial: number } }).data.serial;
  };
  const isLater = (a: number, b: number): boolean => ((a - b) | 0) > 0;
  const now = 1_800_000_000;
  const merged: MergedService = {
    namespace: 'shop',
    name: 'web',
    type: 'ClusterSetIP',
    clusters: ['eu-west'],
    addresses: ['10.9.9.9'],
    ports: [],
    addressConflict: '',
    endpoints: [],
  };
  let before = serial();
  t.notOk(zone.seal(now + 60), 'nothing changed');
  t.equal(serial(), before, 'no change, no serial');
  zone.apply('shop', 'web', undefined);
  t.notOk(zone.seal(now), 'one version a second at most');
  t.ok(zone.seal(now + 1), 'the change');
  t.ok(isLater(serial(), before), `${serial()} after ${before}`);
  before = serial();
  for (const [name, seconds] of [
    ['mysql', now + 2],
    ['web', now - 86_400],
  ] as const) {
    const [namespace, service] = name === 'web' ? (['shop', merged] as const) : (['db', undefined] as const);
    zone.apply(namespace, name, service);
    t.ok(zone.seal(seconds), `a change, the clock at ${seconds - now} s`);
    t.ok(isLater(serial(), before), `${serial()} after ${before}`);
    before = serial();
    const negative = respond(query(`nope.${ZONE}`));
    const [soa] = dnsPacket.decode(negative).authorities ?? [];
    t.equal((soa as { data: { serial: number } }).data.serial, before, 'negative answers have the same');
  }
});

const tsigRdata = Buffer.concat([
  wireName('hmac-sha256.'),
  uint16(0, 0x6543, 0x2100, 300, 32),
  Buffer.alloc(32, 7),
  uint16(0x1234, 0, 0),
]);
const tsig = (type = 'TSIG'): Buffer => record('key.example.', type, 255, 0, tsigRdata);
// No key is known: error and MAC (BADKEY, RFC 8945 5.2.1) come with transfers.
rule(fleet, '46 TSIG with an unknown key: NOTAUTH (RFC 8945 5.2.1)', [
  ['alone', query(WEB, 'A', { additional: [tsig()] }), 'NOTAUTH'],
  ['behind an OPT', query(WEB, 'A', { additional: [opt(), tsig()] }), `NOTAUTH\n${OPT}`],
  ['on AXFR', query(ZONE, 'AXFR', { additional: [tsig()] }), 'NOTAUTH'],
  [
    'with unknown algorithm',
    query(WEB, 'A', {
      additional: [record('k.', 'TSIG', 255, 0, Buffer.concat([wireName('x.y.'), tsigRdata.subarray(13)]))],
    }),
    ['NOTAUTH', 'FORMERR'],
  ],
]);

rule(fleet, '48 TSIG that is not last, or twice, or outside additional: FORMERR (RFC 8945 5.1)', [
  ['before an OPT', query(WEB, 'A', { additional: [tsig(), opt()] }), 'FORMERR'],
  ['twice', query(WEB, 'A', { additional: [tsig(), tsig()] }), 'FORMERR'],
  ['in answer', query(WEB, 'A', { answer: [tsig()] }), 'FORMERR'],
  ['in authority', query(WEB, 'A', { authority: [tsig()] }), 'FORMERR'],
  ['cut', query(WEB, 'A', { additional: [tsig().subarray(0, 40)] }), 'FORMERR'],
]);

void t.test('the servers live', async (t) => {
  stillServing(t, fleet);
});
