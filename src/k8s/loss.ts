// What being out of touch means for a cluster's names: nothing, a mark, or their withdrawal. Pure.
// Extended DNS Error 3 (RFC 8914 4.4) is the mark.

import type { ClusterSettings } from './cluster-settings.ts';

export interface LossTimes {
  /** Out of touch for longer than this: the cluster's answers are marked, and withdrawn where its policy says so. */
  readonly staleAfterMillis: number;
}

/** What is known of a cluster's contact; times by the monotonic clock. */
export interface Contact {
  /** It was read whole since the process began. */
  readonly hasSynced: boolean;
  /** When the snapshot that stands in for it was true. */
  readonly snapshotMillis: number | undefined;
  /** Since when it is not followed; undefined: it is. */
  readonly outSinceMillis: number | undefined;
}

export interface Loss {
  /** How long it is out of touch; undefined: it is not, or nothing of it is served. */
  readonly outMillis: number | undefined;
  readonly isStale: boolean;
  readonly isWithdrawn: boolean;
}

export function lossOf(contact: Contact, settings: ClusterSettings, times: LossTimes, nowMillis: number): Loss {
  const { hasSynced, snapshotMillis, outSinceMillis } = contact;
  const since = hasSynced ? outSinceMillis : snapshotMillis;
  if (since === undefined) return { outMillis: undefined, isStale: false, isWithdrawn: false };
  const outMillis = Math.max(0, nowMillis - since);
  const isOut = outMillis > times.staleAfterMillis;
  const holdMillis = settings.onLoss === 'withdraw' ? times.staleAfterMillis : (settings.holdForMillis ?? Infinity);
  // What a snapshot holds is stale whatever its age, until its cluster has synced.
  return { outMillis, isStale: isOut || !hasSynced, isWithdrawn: outMillis > holdMillis };
}
