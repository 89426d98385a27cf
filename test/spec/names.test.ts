// Names and negative answers: rules 21 to 35. RFC 1034 4.3.2, RFC 2308, RFC 4343, RFC 8020, RFC 9267.
import t from 'tap';
import { bit, ednsQuery, message, opt, query, question, wireName } from '../support/packet.ts';
import { writeLab } from '../support/lab.ts';
import { serveFleet } from '../support/server.ts';
import { NODATA, NXDOMAIN, OPT, SOA, WEB, rule, stillServing, wireLab, type Case } from '../support/spec.ts';

const lab = {
  ...wireLab,
  'us-east': `${wireLab['us-east']!}
    import constructor/valueof ClusterSetIP 10.110.9.9
    import svc/com ClusterSetIP 10.110.9.10`,
};
const fleet = await serveFleet(t, writeLab(t, lab));
const ZONE = 'clusterset.local';
const FORMERR = 'FORMERR no question';

rule(fleet, '21 outside the zone: REFUSED, AA=0, no records; EDE 20 (RFC 8499 6, RFC 8914 4.21)', [
  ...['.', 'local.', 'example.com.', `x${ZONE}.`, 'clusterset.', 'set.local.', `${ZONE}.example.`].flatMap(
    (name): Case[] => [
      [name, query(name), 'REFUSED'],
      [`${name} with EDNS`, ednsQuery(name), `REFUSED\n${OPT} ede 20`],
    ],
  ),
  ['. NS, RD=1', query('.', 'NS', { flags: bit.RD }), 'REFUSED rd'],
  ['. ANY', query('.', 'ANY'), 'REFUSED'],
  ['a label that ends like the zone', query('x\\010clusterset\\005local'), 'REFUSED'],
  ['one label that spells the zone', query('clusterset\\.local'), 'REFUSED'],
]);

rule(fleet, '22 a missing name: NXDOMAIN, AA=1, one SOA, its TTL the negative TTL (RFC 2308 3)', [
  ...[
    `nope.${ZONE}`,
    `nope.svc.${ZONE}`,
    `nope.shop.svc.${ZONE}`,
    `web.nope.svc.${ZONE}`,
    `a.b.c.d.e.${ZONE}`,
    `eu-west.web.shop.svc.${ZONE}`,
    `pod.${ZONE}`,
    `10-1-2-3.shop.pod.${ZONE}`,
    `www.example.com.svc.${ZONE}`,
    `_x._tcp.web.shop.svc.${ZONE}`,
  ].map((name): Case => [name, query(name), NXDOMAIN]),
  ['with EDNS', ednsQuery(`nope.${ZONE}`), `${NXDOMAIN}\n${OPT}`],
]);

const otherTypes = [
  'CNAME',
  'MX',
  'PTR',
  'TYPE666',
  'TYPE65280',
  'NSEC',
  'DNSKEY',
  'DS',
  'HTTPS',
  'SVCB',
  'CAA',
  'RRSIG',
];
rule(fleet, '23 an existing name, another type: NODATA (RFC 2308 2.2, RFC 3597)', [
  ...otherTypes.map((type): Case => [type, query(WEB, type), NODATA]),
  ['TXT with EDNS', ednsQuery(WEB, 'TXT'), `${NODATA}\n${OPT}`],
  ['AAAA of an IPv4 host', query(`mysql-0.eu-west.mysql.db.svc.${ZONE}`, 'AAAA'), NODATA],
]);

rule(fleet, '24 empty non-terminals: NODATA, never NXDOMAIN (RFC 8020 2, RFC 9156, RFC 4592 2.2.2)', [
  ...[
    `svc.${ZONE}`,
    `shop.svc.${ZONE}`,
    `_tcp.${WEB}`,
    `eu-west.mysql.db.svc.${ZONE}`,
    `_tcp.mysql.db.svc.${ZONE}`,
    `dns.${ZONE}`,
  ].flatMap((name) =>
    ['A', 'NS', 'SRV', 'TXT', 'ANY', 'SOA'].map((type): Case => [`${name} ${type}`, query(name, type), NODATA]),
  ),
]);

rule(fleet, '25 below an existing leaf: NXDOMAIN (RFC 1034 4.3.2, RFC 8020 2)', [
  ...[`x.${WEB}`, `x.mysql-0.eu-west.mysql.db.svc.${ZONE}`, `x._http._tcp.${WEB}`, `x.dns-version.${ZONE}`].map(
    (name): Case => [name, query(name), NXDOMAIN],
  ),
]);

const NS_HOST = `ns.dns.${ZONE}.`;
rule(fleet, '26 the apex: SOA and NS are answered, A is NODATA (RFC 1034 4.2.1)', [
  ['SOA', query(ZONE, 'SOA'), `NOERROR aa\n${SOA.slice('auth: '.length)}`],
  ['NS', query(ZONE, 'NS'), `NOERROR aa\n${ZONE}. 5 IN NS ${NS_HOST}\nadd: ${NS_HOST} 5 IN A 127.0.0.1`],
  ['A', query(ZONE, 'A'), NODATA],
  ['the name server', query(NS_HOST), `NOERROR aa\n${NS_HOST} 5 IN A 127.0.0.1`],
]);

rule(fleet, '27 letter case: matched without, echoed with (RFC 4343 3)', [
  ['A', query('wEB.ShOp.SVC.cluSTERset.LOCAL'), 'NOERROR aa\nwEB.ShOp.SVC.cluSTERset.LOCAL. 5 IN A 10.110.7.20'],
  [
    'SRV',
    query('_HTTP._TCP.WEB.shop.svc.CLUSTERSET.local', 'SRV'),
    'NOERROR aa\n_HTTP._TCP.WEB.shop.svc.CLUSTERSET.local. 5 IN SRV 0 100 80 web.shop.svc.clusterset.local.\n' +
      'add: WEB.shop.svc.CLUSTERSET.local. 5 IN A 10.110.7.20\nadd: WEB.shop.svc.CLUSTERSET.local. 5 IN AAAA fd00:110::20',
  ],
  ['NXDOMAIN', query('NOPE.CLUSTERSET.LOCAL'), NXDOMAIN.replaceAll(/clusterset\.local\./g, 'CLUSTERSET.LOCAL.')],
  // 0x20 set makes `-` of 0x0d, `0` of 0x10 and `_` of DEL (cleared): only letters have a case.
  ...['mysql\\0130.eu-west', 'mysql-\\016.eu-west', 'mysql-0.eu\\013west'].map((labels): Case => [
    `${labels} is no mysql-0.eu-west`,
    query(`${labels}.mysql.db.svc.${ZONE}`),
    NXDOMAIN,
  ]),
  ['DEL is no underscore', query(`\\127http._tcp.${WEB}`, 'SRV'), NXDOMAIN],
  ...['@', '[', '`', '{'].map((octet): Case => [
    `${octet} is no letter`,
    query(`we${octet}.shop.svc.${ZONE}`),
    NXDOMAIN,
  ]),
]);

const below = (octets: number, first: number): Buffer => {
  const labels: Buffer[] = [];
  let left = octets - wireName(ZONE).length;
  for (let label = first; left > 0;) {
    const size = Math.min(label, left - 1);
    labels.push(Buffer.from([size]), Buffer.alloc(size, 0x61));
    left -= size + 1;
    if (left === 1) throw new RangeError('one octet is no label');
  }
  return Buffer.concat([...labels, wireName(ZONE)]);
};
rule(fleet, '28 a label of 63, a name of 255 octets, 120 labels: NXDOMAIN (RFC 1035 2.3.4)', [
  ['label of 63', query(`${'a'.repeat(63)}.${ZONE}`), NXDOMAIN],
  ['name of 255 octets', query(below(255, 62)), NXDOMAIN],
  ['name of 254 octets', query(below(254, 63)), NXDOMAIN],
  ['120 labels', query(`${'a.'.repeat(118)}${ZONE}`), NXDOMAIN],
  [
    '255 octets outside the zone',
    query(Buffer.concat([Buffer.from('\x01a'.repeat(127), 'latin1'), Buffer.from([0])])),
    'REFUSED',
  ],
  [
    '255 octets outside, EDNS',
    ednsQuery(Buffer.concat([Buffer.from('\x01a'.repeat(127), 'latin1'), Buffer.from([0])])),
    `REFUSED\n${OPT} ede 20`,
  ],
]);

rule(fleet, '29 a name of 256 octets, label types 01 and 10: FORMERR (RFC 1035 2.3.4, RFC 6891 5)', [
  ['256 octets', query(below(256, 63)), [FORMERR, 'silence']],
  ['400 octets', query(below(400, 63)), [FORMERR, 'silence']],
  // As many octets follow as a reader would skip that takes the type for a length, in six bits or in eight.
  ...[0x40, 0x41, 0x7f, 0x80, 0xbf].flatMap((type) =>
    [type & 63, type].map((octets): Case => [
      `label ${type.toString(16)} and ${octets} octets`,
      query(Buffer.concat([Buffer.from([type]), Buffer.alloc(octets, 0x61), wireName(ZONE)])),
      [FORMERR, 'silence'],
    ]),
  ),
]);

const odd = [
  '\\000',
  '\\255',
  '\\032',
  '\\"',
  '\\\\',
  '\\.',
  '\\128\\255',
  'we\\226\\132\\170',
  's\\197\\191',
  '\\196\\176',
  '\\239\\187\\191',
];
rule(fleet, '30 any octet in a label is itself: a dot in one label is no separator (RFC 2181 11, RFC 4343)', [
  ...odd.map((label): Case => [label, query(`${label}.shop.svc.${ZONE}`), NXDOMAIN]),
  ['web\\.shop in one label', query(`web\\.shop.svc.${ZONE}`), NXDOMAIN],
  ['a NUL behind the name', query(`web\\000.shop.svc.${ZONE}`), NXDOMAIN],
  [
    'bit 7 set on every letter',
    query(Buffer.from(wireName(WEB).map((octet) => (octet >= 0x61 ? octet | 0x80 : octet)))),
    'REFUSED',
  ],
  ['bit 7 set on one letter', query(`w\\229b.shop.svc.${ZONE}`), NXDOMAIN],
]);

rule(fleet, '31 names of JavaScript and of the zone itself are plain data (ECMA-262 Object.prototype)', [
  ...['__proto__', 'constructor', 'hasownproperty', 'tostring', 'valueof'].flatMap((label): Case[] => [
    [label, query(`${label}.${ZONE}`), NXDOMAIN],
    [`${label}.shop`, query(`${label}.shop.svc.${ZONE}`), NXDOMAIN],
  ]),
  [
    'constructor/valueof is exported',
    query(`valueof.constructor.svc.${ZONE}`),
    `NOERROR aa\nvalueof.constructor.svc.${ZONE}. 5 IN A 10.110.9.9`,
  ],
  ['the namespace svc', query(`com.svc.svc.${ZONE}`), `NOERROR aa\ncom.svc.svc.${ZONE}. 5 IN A 10.110.9.10`],
  ['the namespace svc is empty', query(`svc.svc.${ZONE}`), NODATA],
  ['and is not the service', query(`com.svc.${ZONE}`), NXDOMAIN],
]);

rule(fleet, '32 an asterisk is an ordinary label (RFC 4592 2.1.1)', [
  ...[`*.${ZONE}`, `*.shop.svc.${ZONE}`, `*.${WEB}`].map((name): Case => [name, query(name), NXDOMAIN]),
]);

const raw = (hex: string): Buffer => message(Buffer.from(hex.replaceAll(' ', ''), 'hex'), { counts: [1, 0, 0, 0] });
rule(fleet, '33 pointers in the question: FORMERR or silence, at once (RFC 9267 2)', [
  ['to itself', raw('c00c 0001 0001'), [FORMERR, 'silence']],
  ['to the next', raw('c00e c00c 0001 0001'), [FORMERR, 'silence']],
  ['forward', raw('c020 0001 0001'), [FORMERR, 'silence']],
  ['past the end', raw('ffff 0001 0001'), [FORMERR, 'silence']],
  ['into the header', raw('c000 0001 0001'), [FORMERR, 'silence']],
  ['label, then a pointer to it', raw('0161 c00c 0001 0001'), [FORMERR, 'silence']],
  ['cut in the pointer', raw('c0'), [FORMERR, 'silence']],
]);

rule(fleet, '34 a question cut anywhere: FORMERR or silence (RFC 9267 3)', [
  ...Array.from({ length: question(WEB).length }, (_, octets): Case => [
    `${octets} octets`,
    message(question(WEB).subarray(0, octets), { counts: [1, 0, 0, 0] }),
    [FORMERR, 'silence'],
  ]),
  ['no terminator', raw('0377656204'), [FORMERR, 'silence']],
]);

// The harness holds every reply to it: FORMERR, NOTIMP, REFUSED and BADVERS are at most the query, an OPT and its options.
rule(fleet, '35 an error is no larger than its query and an OPT (amplification)', [
  ['a header', message(Buffer.alloc(0)), FORMERR],
  ['REFUSED', query('a.'), 'REFUSED'],
  ['BADVERS', query('a.', 'A', { additional: [opt({ version: 1 })] }), `BADVERS\n${OPT}`],
]);

void t.test('the servers live', async (t) => {
  stillServing(t, fleet);
});
