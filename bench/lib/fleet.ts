// The fleet that the servers are compared on: about 1,600 names of ClusterSetIP and headless services in three clusters,
// written as a lab folder, and the questions that are asked of it. The same in every run.

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { randomNumbers } from './stats.ts';

export const ZONE = 'clusterset.local';

export interface Question {
  readonly name: string;
  readonly type: 'A' | 'AAAA' | 'SRV' | 'TXT';
}

/** Kinds of questions; `mix` is what a fleet asks: 15 % NXDOMAIN, 13 % NODATA. */
export type Mix = 'clustersetip' | 'headless' | 'srv' | 'nxdomain' | 'nodata' | 'mix';

const CLUSTERS = ['ap-south', 'eu-west', 'us-east'] as const;
const EXPORTING = ['eu-west', 'us-east'] as const;
const NAMESPACES = 10;
const CLUSTERSETIP_SERVICES = 150;
const HEADLESS_SERVICES = 110;
const ENDPOINTS_A_CLUSTER = 2;
/** Every so many-th service has addresses of both families. */
const DUAL_STACK_EVERY = 5;
const QUESTIONS = 10_000;
const CREATED = '2026-03-02T09:14:00Z';
const IMPORT_API = 'multicluster.x-k8s.io/v1beta1';

const namespaceOf = (i: number): string => `team-${String(i % NAMESPACES)}`;
const isDual = (i: number): boolean => i % DUAL_STACK_EVERY === 0;

/** Writes the lab folder. */
export async function writeLab(dir: string): Promise<void> {
  for (const cluster of CLUSTERS) {
    const items = [...clusterSetIPs(cluster), ...headless(cluster)];
    await mkdir(path.join(dir, cluster), { recursive: true });
    await writeFile(path.join(dir, cluster, 'fleet.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  }
}

function* clusterSetIPs(cluster: string): Generator {
  for (let i = 0; i < CLUSTERSETIP_SERVICES; i++) {
    const metadata = { namespace: namespaceOf(i), name: `web-${String(i)}`, creationTimestamp: CREATED };
    const ips = [`10.110.${String(i >> 8)}.${String(i & 255)}`, ...(isDual(i) ? [`fd00:110::${i.toString(16)}`] : [])];
    const ports = [
      { name: 'http', protocol: 'TCP', port: 80 },
      { name: 'https', protocol: 'TCP', port: 443 },
    ];
    yield { apiVersion: IMPORT_API, kind: 'ServiceImport', metadata, spec: { type: 'ClusterSetIP', ips, ports } };
    if (isExporting(cluster)) yield { apiVersion: IMPORT_API, kind: 'ServiceExport', metadata };
  }
}

function* headless(cluster: string): Generator {
  const place = CLUSTERS.indexOf(cluster as (typeof CLUSTERS)[number]);
  const ports = [{ name: 'mysql', protocol: 'TCP', port: 3306 }];
  for (let i = 0; i < HEADLESS_SERVICES; i++) {
    const namespace = namespaceOf(i);
    const name = `db-${String(i)}`;
    const metadata = { namespace, name, creationTimestamp: CREATED };
    yield { apiVersion: IMPORT_API, kind: 'ServiceImport', metadata, spec: { type: 'Headless', ports } };
    if (!isExporting(cluster)) continue;
    yield { apiVersion: IMPORT_API, kind: 'ServiceExport', metadata };
    for (const family of isDual(i) ? [4, 6] : [4]) {
      const endpoints = Array.from({ length: ENDPOINTS_A_CLUSTER }, (_, pod) => ({
        addresses: [
          family === 4
            ? `10.${String(20 + place)}.${String(i)}.${String(pod + 1)}`
            : `fd00:${String(20 + place)}::${i.toString(16)}:${String(pod + 1)}`,
        ],
        hostname: `mysql-${String(pod)}`,
        conditions: { ready: true },
        targetRef: { kind: 'Pod', namespace, name: `${name}-${String(pod)}`, uid: `${cluster}-${name}-${String(pod)}` },
      }));
      const labels = { 'kubernetes.io/service-name': name };
      yield {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { namespace, name: `${name}-v${String(family)}`, labels },
        addressType: `IPv${String(family)}`,
        ports,
        endpoints,
      };
    }
  }
}

function isExporting(cluster: string): boolean {
  return EXPORTING.some((id) => id === cluster);
}

/** Every different question of a kind. */
function pool(kind: Exclude<Mix, 'mix'>): Question[] {
  const web = Array.from({ length: CLUSTERSETIP_SERVICES }, (_, i) => `web-${String(i)}.${namespaceOf(i)}.svc.${ZONE}`);
  const db = Array.from({ length: HEADLESS_SERVICES }, (_, i) => `db-${String(i)}.${namespaceOf(i)}.svc.${ZONE}`);
  const pods = db.flatMap((name) =>
    EXPORTING.flatMap((cluster) => [`mysql-0.${cluster}.${name}`, `mysql-1.${cluster}.${name}`]),
  );
  const ask = (names: readonly string[], type: Question['type']): Question[] => names.map((name) => ({ name, type }));
  const every = (names: readonly string[], dual: boolean): string[] => names.filter((_, i) => isDual(i) === dual);
  switch (kind) {
    case 'clustersetip':
      return [...ask(web, 'A'), ...ask(every(web, true), 'AAAA')];
    case 'headless':
      return [...ask(db, 'A'), ...ask(pods, 'A'), ...ask(every(db, true), 'AAAA')];
    case 'srv':
      return [
        ...ask(
          web.map((name) => `_http._tcp.${name}`),
          'SRV',
        ),
        ...ask(
          db.map((name) => `_mysql._tcp.${name}`),
          'SRV',
        ),
      ];
    case 'nxdomain':
      return [
        ...ask(
          web.map((name) => `no-${name}`),
          'A',
        ),
        ...ask(
          db.map((name) => `mysql-9.us-east.${name}`),
          'A',
        ),
        ...ask(
          db.map((name) => `_none._tcp.${name}`),
          'SRV',
        ),
      ];
    case 'nodata':
      return [
        ...ask(every(web, false), 'AAAA'),
        ...ask(every(db, false), 'AAAA'),
        ...ask(
          web.map((name) => `_tcp.${name}`),
          'A',
        ),
        ...ask(web, 'TXT'),
      ];
  }
}

/** The shares of `mix`. */
const SHARES: readonly (readonly [kind: Exclude<Mix, 'mix'>, share: number])[] = [
  ['nxdomain', 0.15],
  ['nodata', 0.13],
  ['clustersetip', 0.32],
  ['headless', 0.24],
  ['srv', 0.16],
];

/** The questions of a kind as they are asked, in a seeded order. */
export function questionsOf(mix: Mix): Question[] {
  const random = randomNumbers(1645);
  const take = (from: readonly Question[]): Question => from[Math.floor(random() * from.length)]!;
  if (mix !== 'mix') {
    const from = pool(mix);
    return Array.from({ length: QUESTIONS }, () => take(from));
  }
  const pools = SHARES.map(([kind, share]) => [pool(kind), share] as const);
  return Array.from({ length: QUESTIONS }, () => {
    let place = random();
    for (const [from, share] of pools) {
      if (place < share) return take(from);
      place -= share;
    }
    return take(pools[0]![0]);
  });
}

/** Every different question of every kind, once. */
export function allQuestions(): Question[] {
  return SHARES.flatMap(([kind]) => pool(kind));
}

/** Questions as dnsperf reads them. */
export function dnsperfText(questions: readonly Question[]): string {
  return questions.map(({ name, type }) => `${name} ${type}\n`).join('');
}
