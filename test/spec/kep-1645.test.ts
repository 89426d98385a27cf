// The records of KEP-1645's DNS specification, section by section, as dig reads them. Schema 1.0.0.
import t from 'tap';
import { ABSENT, EMPTY, SOA_LINE, dig, digs, withoutDig } from '../support/dig.ts';
import { writeLab } from '../support/lab.ts';
import { startServer } from '../support/server.ts';

const Z = 'clusterset.local';
const server = await startServer(
  t,
  writeLab(t, {
    east: `
      import shop/web ClusterSetIP 10.110.7.20,fd00:110::20 http/tcp:80 HTTPS/tcp:443 dns:53 dns/udp:53 :9000 @2026-01-01T00:00:00Z
      import shop/bare ClusterSetIP
      import shop/noports ClusterSetIP 10.110.7.21
      slice shop/web IPv4 http/tcp:8080 = web-0=10.20.0.1 !10.20.0.2
      export shop/web
      import db/mysql Headless mysql/tcp:3306
      export db/mysql
      slice db/mysql IPv4 mysql/tcp:3306 :9104 = mysql-0=10.20.1.1 mysql-1=10.20.1.2 !mysql-2=10.20.1.3 ?mysql-3=10.20.1.4
      slice db/mysql IPv6 mysql/tcp:3306 = mysql-0=fd00:20::1
      import jobs/idle Headless
      export jobs/idle
      slice jobs/idle IPv4 w/tcp:1 = !idle-0=10.20.9.1 !10.20.9.2
      import net/raw Headless
      export net/raw
      slice net/raw IPv4 p/tcp:42 P/udp:42 q/sctp:7 = 10.20.5.1 10.20.5.2
      slice net/raw IPv6 p/tcp:42 = fd00:20::5 2001:db8::
      slice net/raw FQDN p/tcp:42 = a.example.com
      import lonely/only Headless`,
    west: `
      import shop/web ClusterSetIP 10.110.7.20,fd00:110::20 http/tcp:80 https/tcp:8443 metrics/tcp:9100 @2026-02-01T00:00:00Z
      export db/mysql
      slice db/mysql IPv4 mysql/tcp:3307 x/tcp:33060 = mysql-0=10.10.1.1 mysql-0=10.10.1.9 10.20.1.1
      export net/raw
      slice net/raw IPv6 = fd00:20::5
      export lonely/none
      slice lonely/none IPv4 p/tcp:1 = n-0=10.10.3.1`,
  }),
);

digs(server, '2.2 the schema version', [
  [`dns-version.${Z} TXT`, 'NOERROR aa', `dns-version.${Z}. 28800 IN TXT "1.0.0"`],
  [`dns-version.${Z} A`, ...EMPTY],
]);

digs(server, '2.3.1 A and AAAA of a ClusterSetIP service', [
  [`web.shop.svc.${Z}`, 'NOERROR aa', `web.shop.svc.${Z}. 5 IN A 10.110.7.20`],
  [`web.shop.svc.${Z} AAAA`, 'NOERROR aa', `web.shop.svc.${Z}. 5 IN AAAA fd00:110::20`],
  [`WEB.Shop.svc.${Z}`, 'NOERROR aa', `WEB.Shop.svc.${Z}. 5 IN A 10.110.7.20`],
  [`noports.shop.svc.${Z}`, 'NOERROR aa', `noports.shop.svc.${Z}. 5 IN A 10.110.7.21`],
  [`noports.shop.svc.${Z} AAAA`, ...EMPTY],
  [`bare.shop.svc.${Z}`, ...EMPTY],
  [`bare.shop.svc.${Z} AAAA`, ...EMPTY],
]);

const web = (port: number, owner: string): string => `${owner}. 5 IN SRV 0 100 ${port} web.shop.svc.${Z}.`;
const webAddresses = [`add: web.shop.svc.${Z}. 5 IN A 10.110.7.20`, `add: web.shop.svc.${Z}. 5 IN AAAA fd00:110::20`];
digs(server, '2.3.2 SRV of a ClusterSetIP service', [
  ...['_http._tcp', '_https._tcp', '_dns._tcp', '_dns._udp', '_metrics._tcp'].map((labels): [string, ...string[]] => {
    const owner = `${labels}.web.shop.svc.${Z}`;
    const port = { _http: 80, _https: 443, _dns: 53, _metrics: 9100 }[labels.split('.')[0]!]!;
    return [`${owner} SRV`, 'NOERROR aa', web(port, owner), ...webAddresses];
  }),
  [
    `web.shop.svc.${Z} SRV`,
    'NOERROR aa',
    ...[80, 443, 53, 9100].map((port) => web(port, `web.shop.svc.${Z}`)),
    ...webAddresses,
  ],
  [`_HTTP._TCP.web.shop.svc.${Z} SRV`, 'NOERROR aa', web(80, `_HTTP._TCP.web.shop.svc.${Z}`), ...webAddresses],
  [`_http._udp.web.shop.svc.${Z} SRV`, ...ABSENT],
  [`_._tcp.web.shop.svc.${Z} SRV`, ...ABSENT],
  [`_9000._tcp.web.shop.svc.${Z} SRV`, ...ABSENT],
  [`_http._tcp.web.shop.svc.${Z} A`, ...EMPTY],
  [`_udp.web.shop.svc.${Z} SRV`, ...EMPTY],
  [`_sctp.web.shop.svc.${Z} SRV`, ...ABSENT],
  [`noports.shop.svc.${Z} SRV`, ...EMPTY],
]);

digs(server, '2.3.3, 2.4.3 PTR: reverse zones are not served', [
  ['-x 10.110.7.20', 'REFUSED'],
  ['-x fd00:110::20', 'REFUSED'],
  ['-x 10.20.1.1', 'REFUSED'],
]);

digs(server, '2.3.4 what must not exist for a ClusterSetIP service', [
  [`east.web.shop.svc.${Z}`, ...ABSENT],
  [`west.web.shop.svc.${Z}`, ...ABSENT],
  [`web-0.east.web.shop.svc.${Z}`, ...ABSENT],
  [`10-20-0-1.east.web.shop.svc.${Z}`, ...ABSENT],
  [`10-110-7-20.shop.pod.${Z}`, ...ABSENT],
  [`_http._tcp.east.web.shop.svc.${Z} SRV`, ...ABSENT],
]);

const mysql = `mysql.db.svc.${Z}`;
const host = (labels: string): string => `${labels}.${mysql}`;
digs(server, '2.4.1 A and AAAA of a Headless service', [
  // 10.20.1.1 comes from two clusters and is answered once; mysql-2 is not ready, mysql-3 has no conditions.
  [
    mysql,
    'NOERROR aa',
    ...['10.10.1.1', '10.10.1.9', '10.20.1.1', '10.20.1.2', '10.20.1.4'].map((a) => `${mysql}. 5 IN A ${a}`),
  ],
  [`${mysql} AAAA`, 'NOERROR aa', `${mysql}. 5 IN AAAA fd00:20::1`],
  [host('mysql-0.east'), 'NOERROR aa', `${host('mysql-0.east')}. 5 IN A 10.20.1.1`],
  [`${host('mysql-0.east')} AAAA`, 'NOERROR aa', `${host('mysql-0.east')}. 5 IN AAAA fd00:20::1`],
  [
    host('mysql-0.west'),
    'NOERROR aa',
    `${host('mysql-0.west')}. 5 IN A 10.10.1.1`,
    `${host('mysql-0.west')}. 5 IN A 10.10.1.9`,
  ],
  [`${host('mysql-0.west')} AAAA`, ...EMPTY],
  [host('mysql-3.east'), 'NOERROR aa', `${host('mysql-3.east')}. 5 IN A 10.20.1.4`],
  [host('mysql-2.east'), ...ABSENT],
  [host('mysql-1.west'), ...ABSENT],
  [host('MYSQL-1.EAST'), 'NOERROR aa', `${host('MYSQL-1.EAST')}. 5 IN A 10.20.1.2`],
  [`idle.jobs.svc.${Z}`, ...ABSENT],
  [`idle.jobs.svc.${Z} SRV`, ...ABSENT],
  [`idle-0.east.idle.jobs.svc.${Z}`, ...ABSENT],
  // A namespace without a service that has a name does not exist.
  [`jobs.svc.${Z}`, ...ABSENT],
  [`only.lonely.svc.${Z}`, ...ABSENT],
  // No import anywhere: slices and exports alone give nothing.
  [`none.lonely.svc.${Z}`, ...ABSENT],
  [`lonely.svc.${Z}`, ...ABSENT],
]);

const raw = `raw.net.svc.${Z}`;
digs(server, '2.4.1 one address from two clusters is one record (RFC 2181 5)', [
  [`${raw} AAAA`, 'NOERROR aa', `${raw}. 5 IN AAAA 2001:db8::`, `${raw}. 5 IN AAAA fd00:20::5`],
  [`fd00-20--5.west.${raw} AAAA`, 'NOERROR aa', `fd00-20--5.west.${raw}. 5 IN AAAA fd00:20::5`],
]);

digs(server, '2.1 host labels derived from addresses', [
  [`10-20-5-1.east.${raw}`, 'NOERROR aa', `10-20-5-1.east.${raw}. 5 IN A 10.20.5.1`],
  [`fd00-20--5.east.${raw} AAAA`, 'NOERROR aa', `fd00-20--5.east.${raw}. 5 IN AAAA fd00:20::5`],
  [`2001-db8--0.east.${raw} AAAA`, 'NOERROR aa', `2001-db8--0.east.${raw}. 5 IN AAAA 2001:db8::`],
  [`2001-db8--.east.${raw} AAAA`, ...ABSENT],
  [`10-10-1-1.west.${mysql}`, ...ABSENT],
  [`10-20-1-1.west.${mysql}`, 'NOERROR aa', `10-20-1-1.west.${mysql}. 5 IN A 10.20.1.1`],
]);

const srv = (owner: string, port: number, target: string): string => `${owner}. 5 IN SRV 0 100 ${port} ${target}.`;
const mysqlSrv = `_mysql._tcp.${mysql}`;
digs(server, '2.4.2 SRV of a Headless service: each ready endpoint with the ports of its cluster', [
  [
    `_x._tcp.${mysql} SRV`,
    'NOERROR aa',
    srv(`_x._tcp.${mysql}`, 33_060, host('10-20-1-1.west')),
    srv(`_x._tcp.${mysql}`, 33_060, host('mysql-0.west')),
    `add: ${host('10-20-1-1.west')}. 5 IN A 10.20.1.1`,
    `add: ${host('mysql-0.west')}. 5 IN A 10.10.1.1`,
    `add: ${host('mysql-0.west')}. 5 IN A 10.10.1.9`,
  ],
  [`_9104._tcp.${mysql} SRV`, ...ABSENT],
  [`_mysql._udp.${mysql} SRV`, ...ABSENT],
  [`_tcp.${mysql} SRV`, ...EMPTY],
  // tcp/42 and udp/42 on one target are one record at the service's own name.
  [
    `_p._udp.${raw} SRV`,
    'NOERROR aa',
    srv(`_p._udp.${raw}`, 42, `10-20-5-1.east.${raw}`),
    srv(`_p._udp.${raw}`, 42, `10-20-5-2.east.${raw}`),
    `add: 10-20-5-1.east.${raw}. 5 IN A 10.20.5.1`,
    `add: 10-20-5-2.east.${raw}. 5 IN A 10.20.5.2`,
  ],
]);

void t.test('2.4.2 SRV of a Headless service over all ports, as sets', { skip: withoutDig }, async (t) => {
  const answers = async (words: string): Promise<string[]> =>
    (await dig(server, `+tcp ${words}`))
      .split('\n')
      .filter((line) => / SRV /.test(line))
      .sort();
  t.same(
    await answers(`${mysqlSrv} SRV`),
    [
      srv(mysqlSrv, 3306, host('mysql-0.east')),
      srv(mysqlSrv, 3306, host('mysql-1.east')),
      srv(mysqlSrv, 3306, host('mysql-3.east')),
      srv(mysqlSrv, 3307, host('mysql-0.west')),
      srv(mysqlSrv, 3307, host('10-20-1-1.west')),
    ].sort(),
  );
  t.same(
    await answers(`${mysql} SRV`),
    [
      srv(mysql, 3306, host('mysql-0.east')),
      srv(mysql, 3306, host('mysql-1.east')),
      srv(mysql, 3306, host('mysql-3.east')),
      srv(mysql, 3307, host('mysql-0.west')),
      srv(mysql, 3307, host('10-20-1-1.west')),
      srv(mysql, 33_060, host('mysql-0.west')),
      srv(mysql, 33_060, host('10-20-1-1.west')),
    ].sort(),
  );
  t.same(
    await answers(`${raw} SRV`),
    [
      ...['10-20-5-1', '10-20-5-2', 'fd00-20--5', '2001-db8--0'].map((label) => srv(raw, 42, `${label}.east.${raw}`)),
      ...['10-20-5-1', '10-20-5-2'].map((label) => srv(raw, 7, `${label}.east.${raw}`)),
    ].sort(),
  );
  for (const target of (await answers(`${mysql} SRV`)).map((line) => line.split(' ').at(-1)!)) {
    t.match(await dig(server, target), /^NOERROR aa\n/, `the target ${target} resolves`);
  }
});

digs(server, '2.4.4 what must not exist for a Headless service', [
  [host('east'), ...EMPTY],
  [`${host('east')} AAAA`, ...EMPTY],
  [`${host('east')} SRV`, ...EMPTY],
  [host('south'), ...ABSENT],
  [`_mysql._tcp.east.${mysql} SRV`, ...ABSENT],
  [`10-20-1-1.db.pod.${Z}`, ...ABSENT],
]);

digs(server, 'the apex: SOA, and NS names that resolve (RFC 1034 4.2.1)', [
  [`${Z} SOA`, 'NOERROR aa', SOA_LINE.slice('auth: '.length)],
  [`${Z} NS`, 'NOERROR aa', `${Z}. 5 IN NS ns.dns.${Z}.`, `add: ns.dns.${Z}. 5 IN A 127.0.0.1`],
  [`ns.dns.${Z}`, 'NOERROR aa', `ns.dns.${Z}. 5 IN A 127.0.0.1`],
  [`ns.dns.${Z} AAAA`, ...EMPTY],
  [`dns.${Z}`, ...EMPTY],
]);
