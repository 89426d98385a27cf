// The files of a chaos run's server: its configuration, and a kubeconfig and a token for each cluster.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import type { RawObject } from '../support/api/model.ts';
import type { Cluster } from './support-truth.ts';

export interface FleetFiles {
  readonly folder: string;
  readonly listen: string;
  readonly admin: string;
}

export const clusterIds = ['a', 'b', 'c', 'd', 'e'] as const;
export type ClusterId = (typeof clusterIds)[number];
export const REQUIRED: ClusterId = 'd';

const STALE_AFTER_MILLIS = 3_000;

/** What happens to a cluster's names when nobody can reach it; `e` is drained at times. */
export const policies: Readonly<Record<ClusterId, { withdrawnAfterMillis?: number; config: RawObject }>> = {
  a: { config: {} },
  b: { withdrawnAfterMillis: 6_000, config: { onLoss: 'hold', holdFor: '6s' } },
  c: { withdrawnAfterMillis: STALE_AFTER_MILLIS, config: { onLoss: 'withdraw' } },
  [REQUIRED]: { config: { required: true } },
  e: { config: {} },
};

export function writeConfig(
  { folder, listen, admin }: FleetFiles,
  clusters: readonly Cluster[],
  more: RawObject,
): void {
  const file = {
    ...{ apiVersion: 'clusterset-dns/v1', listen: [listen], admin, workers: 1, lameduck: '1s', stateDir: 'state' },
    staleAfter: `${STALE_AFTER_MILLIS}ms`,
    clusters: clusters.map(({ id, drained }) => ({
      ...{ id, kubeconfig: `${id}.kubeconfig`, ...policies[id].config },
      ...(drained.last ? { state: 'drained' } : {}),
    })),
    ...more,
  };
  writeFileSync(path.join(folder, 'config.yaml'), stringify(file));
}

/** The token is in a file of its own: `writeToken`. */
export function writeKubeconfig({ folder }: FleetFiles, id: ClusterId, port: number, ca: string): void {
  const cluster = {
    server: `https://127.0.0.1:${port}`,
    'certificate-authority-data': Buffer.from(ca).toString('base64'),
  };
  const text = stringify({
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': id },
    clusters: [{ name: id, cluster }],
    users: [{ name: id, user: { tokenFile: `${folder}/${id}.token` } }],
    contexts: [{ name: id, context: { cluster: id, user: id } }],
  });
  writeFileSync(path.join(folder, `${id}.kubeconfig`), text);
}

export function writeToken({ folder }: FleetFiles, id: ClusterId, token: string): void {
  writeFileSync(path.join(folder, `${id}.token`), token);
}
