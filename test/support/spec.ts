// Tables of cases: a packet and what comes back, over every transport. One assertion a case and transport.

import t, { type Test } from 'tap';
import type { Notation } from './lab.ts';
import type { Fleet } from './server.ts';

/** A fleet with one service of each type, for the rules of the wire. */
export const wireLab: Notation = {
  'eu-west': `
    import shop/web ClusterSetIP 10.110.7.20,fd00:110::20 http/tcp:80 https/tcp:443
    import db/mysql Headless
    export db/mysql
    slice db/mysql IPv4 mysql/tcp:3306 = mysql-0=10.10.1.30 mysql-1=10.10.2.30`,
  'us-east': `
    export db/mysql
    slice db/mysql IPv4 mysql/tcp:3306 = mysql-0=10.20.1.30`,
};

/** The A record that most wire cases ask for, and its answer. */
export const WEB = 'web.shop.svc.clusterset.local';
export const WEB_A = `${WEB}. 5 IN A 10.110.7.20`;

/** The SOA of negative answers of the zone as the tests serve it. */
export const SOA =
  'auth: clusterset.local. 5 IN SOA ns.dns.clusterset.local. hostmaster.clusterset.local. SERIAL 7200 1800 86400 5';
export const OPT = 'opt: 1232';
export const NODATA = `NOERROR aa\n${SOA}`;
export const NXDOMAIN = `NXDOMAIN aa\n${SOA}`;

/** What may come back: one text, or several of which each is right; or by transport. */
export type Expected = string | readonly string[] | { readonly udp: Expected; readonly tcp: Expected };
/** A case: its name, the octets sent, what comes back. */
export type Case = readonly [name: string, packet: Buffer, expected: Expected];

/** A subtest of cases, each over every transport (or those of one kind). */
export function rule(fleet: Fleet, title: string, cases: readonly Case[], only?: 'udp' | 'tcp'): void {
  void t.test(title, async (t) => {
    for (const transport of fleet.transports) {
      const kind = transport.isUdp ? 'udp' : 'tcp';
      if (only !== undefined && only !== kind) continue;
      for (const [name, packet, expected] of cases) {
        const found = await fleet.ask(transport, packet);
        const wanted = allowed(expected, kind);
        const label = `${transport.name}: ${name}`;
        if (wanted.length === 1) t.equal(found, wanted[0], label);
        else t.ok(wanted.includes(found), label, { found, wanted });
      }
    }
  });
}

function allowed(expected: Expected, kind: 'udp' | 'tcp'): readonly string[] {
  if (typeof expected === 'string') return [expected];
  return 'udp' in expected ? allowed(expected[kind], kind) : expected;
}

/** Checks that servers are still there at the end. */
export function stillServing(t: Test, fleet: Fleet): void {
  for (const { engine, ended } of fleet.servers) t.equal(ended(), undefined, `the server (${engine}) lives`);
}
