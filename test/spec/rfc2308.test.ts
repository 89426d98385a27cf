// Negative answers: RFC 2308 2 and 3 (NXDOMAIN, NODATA, the SOA's TTL), RFC 8020 2 (nothing below a missing name),
// and what is not known yet, which is neither (RFC 8914 4.15). Replies are decoded by dns-packet.
import t from 'tap';
import { localZone } from '../support/in-process.ts';
import { writeLab } from '../support/lab.ts';
import { ednsQuery, query } from '../support/packet.ts';
import { serveFleet } from '../support/server.ts';
import { NODATA, NXDOMAIN, OPT, WEB, WEB_A, rule, wireLab, type Case } from '../support/spec.ts';

const Z = 'clusterset.local';
const notation = {
  ...wireLab,
  'us-east': `${wireLab['us-east']!}
    import clash/ips ClusterSetIP 10.1.1.1 p/tcp:80
    import clash/slow ClusterSetIP 10.1.1.9`,
  'eu-west': `${wireLab['eu-west']!}
    import clash/ips ClusterSetIP 10.2.2.2 p/tcp:80
    import clash/slow ClusterSetIP`,
};
const dir = writeLab(t, notation);
const fleet = await serveFleet(t, dir);
const slow = await serveFleet(t, dir, '--ttl', '300', '--negative-ttl', '30');
const swift = await serveFleet(t, dir, '--ttl', '0', '--negative-ttl', '0');
const MYSQL = `mysql.db.svc.${Z}`;

rule(fleet, 'RFC 2308 2.1 NXDOMAIN and 2.2 NODATA carry the SOA', [
  ['missing', query(`x.${WEB}`), NXDOMAIN],
  ['other type', query(WEB, 'MX'), NODATA],
]);

const withTtl = (text: string, ttl: number): string =>
  text.replace(`${Z}. 5 IN SOA`, `${Z}. ${ttl} IN SOA`).replace(/5$/, String(ttl));
for (const [served, ttl, negative] of [
  [slow, 300, 30],
  [swift, 0, 0],
] as const) {
  rule(served, `RFC 2308 3, 5 --ttl ${ttl} and --negative-ttl ${negative}: the SOA's TTL is its MINIMUM`, [
    ['NXDOMAIN', query(`x.${WEB}`), withTtl(NXDOMAIN, negative)],
    ['NODATA', query(WEB, 'MX'), withTtl(NODATA, negative)],
    ['SOA', query(Z, 'SOA'), withTtl(NODATA.replace('auth: ', ''), negative)],
    ['A', query(WEB), `NOERROR aa\n${WEB_A.replace(' 5 ', ` ${ttl} `)}`],
    [
      'A of an endpoint',
      query(`mysql-0.us-east.${MYSQL}`),
      `NOERROR aa\nmysql-0.us-east.${MYSQL}. ${ttl} IN A 10.20.1.30`,
    ],
    [
      'SRV and its additional records',
      query(`_http._tcp.${WEB}`, 'SRV'),
      [
        'NOERROR aa',
        `_http._tcp.${WEB}. ${ttl} IN SRV 0 100 80 ${WEB}.`,
        `add: ${WEB}. ${ttl} IN A 10.110.7.20`,
        `add: ${WEB}. ${ttl} IN AAAA fd00:110::20`,
      ].join('\n'),
    ],
    ['TXT keeps its own', query(`dns-version.${Z}`, 'TXT'), `NOERROR aa\ndns-version.${Z}. 28800 IN TXT "1.0.0"`],
    ['NS', query(Z, 'NS'), `NOERROR aa\n${Z}. ${ttl} IN NS ns.dns.${Z}.\nadd: ns.dns.${Z}. ${ttl} IN A 127.0.0.1`],
  ]);
}

rule(fleet, 'RFC 8020 2 a missing name has no names below it, an empty one exists', [
  ...['svc', 'shop.svc', 'db.svc', '_tcp.web.shop.svc', 'eu-west.mysql.db.svc', '_tcp.mysql.db.svc'].map(
    (labels): Case => [labels, query(`${labels}.${Z}`), NODATA],
  ),
  ...[
    'nope',
    'x.nope',
    'svc.nope',
    'nope.svc',
    'a.nope.svc',
    'b.a.nope.svc',
    'c.b.a.nope.svc',
    'nope.mysql.db.svc',
    'x.nope.mysql.db.svc',
  ].map((labels): Case => [labels, query(`${labels}.${Z}`), NXDOMAIN]),
]);

const CONFLICT = `SERVFAIL\n${OPT} ede 0 "ips differ (addressConflict): eu-west 10.2.2.2, us-east 10.1.1.1"`;
rule(fleet, 'RFC 8914 2 addresses that differ between clusters: SERVFAIL for A and AAAA, with the reason', [
  ['A', ednsQuery(`ips.clash.svc.${Z}`), CONFLICT],
  ['AAAA', ednsQuery(`ips.clash.svc.${Z}`, 'AAAA'), CONFLICT],
  ['A without EDNS', query(`ips.clash.svc.${Z}`), 'SERVFAIL'],
  [
    'SRV is answered',
    query(`_p._tcp.ips.clash.svc.${Z}`, 'SRV'),
    `NOERROR aa\n_p._tcp.ips.clash.svc.${Z}. 5 IN SRV 0 100 80 ips.clash.svc.${Z}.`,
  ],
  ['MX', query(`ips.clash.svc.${Z}`, 'MX'), NODATA],
  [
    'an import without ips is no other address',
    query(`slow.clash.svc.${Z}`),
    `NOERROR aa\nslow.clash.svc.${Z}. 5 IN A 10.1.1.9`,
  ],
]);

void t.test('addressConflict: precedence answers the first (KEP-1645, conflict resolution)', async (t) => {
  const { zone, ask } = localZone(notation, { addressConflict: 'precedence' });
  zone.setUnknown(false);
  t.equal(ask(ednsQuery(`ips.clash.svc.${Z}`)), `NOERROR aa\nips.clash.svc.${Z}. 5 IN A 10.2.2.2\n${OPT}`);
});

/** Names of a service's shape: they could have records that no cluster has told of yet. */
const couldBe = [
  'nope.shop',
  'a.nope',
  'www.example',
  'h.c.nope.shop',
  'h.c.web.shop',
  'h.a.b.c.d.nope.shop',
  '_p._tcp.nope.shop',
  '_http._udp.web.shop',
  '_P._TCP.NOPE.SHOP',
];
/** Names that no service has, whatever comes. */
const neverAre = [
  'x',
  'x.y',
  'nope.svc',
  'www.example.com.svc',
  'c.nope.shop.svc',
  '_tcp.nope.shop.svc',
  '_p._tcp.c.nope.shop.svc',
  '_p.tcp.nope.shop.svc',
  'p._tcp.nope.shop.svc',
  '_a._nope.svc',
  'web.shop.pod',
  'example.com',
  'web.shop.svcs',
];

void t.test('RFC 8914 4.15 unknown is not absent: SERVFAIL and EDE 14 before the first sync, by shape', async (t) => {
  const { zone, ask } = localZone(notation);
  for (const over of ['UDP', 'TCP'] as const) {
    zone.setUnknown(true);
    for (const labels of couldBe) {
      t.equal(ask(ednsQuery(`${labels}.svc.${Z}`), over), `SERVFAIL\n${OPT} ede 14`, `${labels} ${over}`);
      t.equal(ask(query(`${labels}.svc.${Z}`, 'SRV'), over), 'SERVFAIL', `${labels} SRV ${over}`);
    }
    for (const labels of neverAre) t.equal(ask(query(`${labels}.${Z}`), over), NXDOMAIN, `${labels} ${over}`);
    t.equal(ask(query(WEB), over), `NOERROR aa\n${WEB_A}`, 'known names are answered');
    t.equal(ask(query(WEB, 'MX'), over), NODATA);
    t.equal(ask(query(`svc.${Z}`), over), NODATA);
    t.match(ask(query(Z, 'SOA'), over), /^NOERROR aa\n/);
    t.equal(ask(query('example.com'), over), 'REFUSED');
    zone.setUnknown(false);
    for (const labels of couldBe) {
      t.match(ask(query(`${labels}.svc.${Z}`), over), /^NXDOMAIN aa\nauth: /, `${labels} ${over}, synced`);
    }
  }
});

void t.test('RFC 8914 4.15 a new zone knows nothing', async (t) => {
  const { ask } = localZone({});
  t.equal(ask(ednsQuery(WEB)), `SERVFAIL\n${OPT} ede 14`);
  t.equal(ask(ednsQuery(`svc.${Z}`)), `${NXDOMAIN}\n${OPT}`);
  t.match(ask(query(Z, 'SOA')), /^NOERROR aa\n/);
});
