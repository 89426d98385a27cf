// Zones of any size without a fleet behind them: services made from a number, put into a zone one by one, and asked for
// by that number. Nothing is kept, so that what is measured is the zone.

import type { MergedService, ServicePort } from '../../src/zones/objects.ts';
import type { ZoneSettings } from '../../src/zones/apex.ts';
import type { Question } from './fleet.ts';
import { ZONE } from './fleet.ts';

const NAMESPACES = 100;
const PORTS: readonly ServicePort[] = [{ name: 'mysql', protocol: 'tcp', port: 3306 }];

export const settings: ZoneSettings = {
  zone: ZONE,
  ttlSeconds: 5,
  negativeTtlSeconds: 5,
  nameServers: [{ name: `ns.dns.${ZONE}`, addresses: ['127.0.0.1'] }],
};

export const namespaceOf = (i: number): string => `team-${String(i % NAMESPACES)}`;
export const serviceOf = (i: number): string => `web-${String(i)}`;
export const nameOf = (i: number): string => `${serviceOf(i)}.${namespaceOf(i)}.svc.${ZONE}`;
export const questionOf = (i: number): Question => ({ name: nameOf(i), type: 'A' });

/** An address that carries a number below 2^24. */
export function addressOf(network: number, number: number): string {
  return `${String(network)}.${String((number >>> 16) & 255)}.${String((number >>> 8) & 255)}.${String(number & 255)}`;
}

/** Service `i` with one name and `count` addresses, each of which carries its number. */
export function oneName(i: number, count = 1): MergedService {
  return {
    namespace: namespaceOf(i),
    name: serviceOf(i),
    type: 'ClusterSetIP',
    clusters: ['us-east'],
    addresses: Array.from({ length: count }, (_, k) => addressOf(10 + k, i)),
    ports: [],
    addressConflict: '',
    endpoints: [],
  };
}

/** Service `i`, headless, with `count` endpoints in one cluster; each has a name of its own. */
export function headless(i: number, count: number, network = 10): MergedService {
  return {
    namespace: namespaceOf(i),
    name: serviceOf(i),
    type: 'Headless',
    clusters: ['us-east'],
    addresses: [],
    ports: [],
    addressConflict: '',
    endpoints: Array.from({ length: count }, (_, k) => ({
      cluster: 'us-east',
      host: `mysql-${String(k)}`,
      address: addressOf(network, i * count + k),
      family: 4 as const,
      ports: PORTS,
    })),
  };
}
