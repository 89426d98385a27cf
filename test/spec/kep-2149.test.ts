// Cluster ids of one label and of several (KEP-2149: an id is a DNS subdomain), compared without case.
import t from 'tap';
import { ABSENT, EMPTY, digs } from '../support/dig.ts';
import { writeLab } from '../support/lab.ts';
import { startServer } from '../support/server.ts';

const db = 'db.data.svc.clusterset.local';
const server = await startServer(
  t,
  writeLab(t, {
    'prod.eu': `
      import data/db Headless
      export data/db
      slice data/db IPv4 p/tcp:1 = db-0=10.1.0.1`,
    eu: `
      export data/db
      slice data/db IPv4 p/tcp:1 = prod=10.2.0.1 db-0=10.2.0.2`,
    '721ab723-13bc-11e5-aec2-42010af0021e': `
      slice data/db IPv4 from 721AB723-13bc-11e5-aec2-42010af0021e p/tcp:1 = db-0=10.3.0.1
      slice data/db IPv4 from a.b.c.d p/tcp:1 = db-0=10.4.0.1`,
  }),
);

digs(server, 'an id of several labels', [
  [`db-0.prod.eu.${db}`, 'NOERROR aa', `db-0.prod.eu.${db}. 5 IN A 10.1.0.1`],
  [`db-0.Prod.EU.${db}`, 'NOERROR aa', `db-0.Prod.EU.${db}. 5 IN A 10.1.0.1`],
  [`db-0.eu.${db}`, 'NOERROR aa', `db-0.eu.${db}. 5 IN A 10.2.0.2`],
  [`eu.${db}`, ...EMPTY],
  // The host `prod` of the cluster `eu`, above the hosts of the cluster `prod.eu`: its records stand.
  [`prod.eu.${db}`, 'NOERROR aa', `prod.eu.${db}. 5 IN A 10.2.0.1`],
  [`prod.eu.${db} AAAA`, ...EMPTY],
  [`db-1.prod.eu.${db}`, ...ABSENT],
  [`db-0.a.b.c.d.${db}`, 'NOERROR aa', `db-0.a.b.c.d.${db}. 5 IN A 10.4.0.1`],
  ...['a.b.c.d', 'b.c.d', 'c.d', 'd'].map((id): [string, ...string[]] => [`${id}.${db}`, ...EMPTY]),
  [`a.c.d.${db}`, ...ABSENT],
]);

digs(server, 'an id that is a uid, in any case', [
  [
    `db-0.721ab723-13bc-11e5-aec2-42010af0021e.${db}`,
    'NOERROR aa',
    `db-0.721ab723-13bc-11e5-aec2-42010af0021e.${db}. 5 IN A 10.3.0.1`,
  ],
]);

digs(server, 'all of them at the service', [
  [db, 'NOERROR aa', ...['10.1.0.1', '10.2.0.1', '10.2.0.2', '10.3.0.1', '10.4.0.1'].map((a) => `${db}. 5 IN A ${a}`)],
]);
