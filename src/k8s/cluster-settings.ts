// What an operator says about one cluster, whatever its source: how much its word counts, and what becomes of its names
// when nobody can reach it.

import type { AccessSource } from './api/access.ts';

export interface ClusterSettings {
  /** `drained`: its endpoints are out; its imports stay. */
  readonly state: 'active' | 'drained';
  /** What happens to the names of a cluster that is out of touch. */
  readonly onLoss: 'hold' | 'withdraw';
  /** With `onLoss: hold`: withdrawn after being out of touch for so long; undefined: never. */
  readonly holdForMillis: number | undefined;
  /** Withdrawn even where no other cluster is left to answer a name. */
  readonly withdrawLast: boolean;
  /** The server is not ready before this cluster has synced; its snapshot does not count. */
  readonly required: boolean;
  /** Lower goes first; Infinity where none is configured. */
  readonly precedence: number;
  readonly endpointsFrom: 'auto' | 'native' | 'mirrored';
  /** Ids of clusters that are not configured, whose copies here count; undefined: all of them. */
  readonly speaksFor: readonly string[] | undefined;
}

export const defaultSettings: ClusterSettings = Object.freeze({
  state: 'active',
  onLoss: 'hold',
  holdForMillis: undefined,
  withdrawLast: false,
  required: false,
  precedence: Infinity,
  endpointsFrom: 'auto',
  speaksFor: undefined,
});

/** Where a cluster's objects come from. */
export type ClusterSource = AccessSource | { readonly kind: 'manifests'; readonly dir: string };

/** A member of the fleet, as it is configured. */
export interface ClusterEntry {
  /** A cluster id (KEP-2149): DNS labels in lower case. */
  readonly id: string;
  readonly source: ClusterSource;
  readonly settings: ClusterSettings;
}
