// What a fleet asks of a cluster, whatever its source is: an API server (member.ts) or a folder (manifests-member.ts).

import type { ClusterSource } from './cluster-settings.ts';

/**
 * `connecting`: nothing was heard of it yet. `syncing`: its first lists are under way. `synced`: every resource is watched, or
 * not served. `degraded`: a resource is forbidden, or was served once. `out of touch`: what is held is not followed for now.
 */
export type MemberState = 'connecting' | 'syncing' | 'synced' | 'degraded' | 'out of touch';

export interface ResourceStatus {
  readonly phase: string;
  readonly objects: number;
  readonly reason?: string;
}

export interface MemberStatus {
  readonly state: MemberState;
  /** Why it is not `synced`, or what is odd about it all the same. */
  readonly reason: string | undefined;
  /** It was read whole since this process began. */
  readonly hasSynced: boolean;
  /** What could be read of it is in the store. */
  readonly hasRead: boolean;
  /** Since when it is not followed, by the monotonic clock; undefined: it is. */
  readonly outSinceMillis: number | undefined;
}

/** What a cluster holds and lacks, for people. */
export interface MemberDetails {
  readonly resources: Readonly<Record<string, ResourceStatus>>;
  /** Objects with fields that were refused, and the first of these. */
  readonly refusedObjects: number;
  readonly firstRefusal: string | undefined;
}

/** A cluster of the fleet, whatever its source. */
export interface FleetMember {
  /** Cheap: asked several times a second. */
  status(): MemberStatus;
  details(): MemberDetails;
  /** Reads the cluster from elsewhere; false: another kind of member is needed for that. */
  move(source: ClusterSource): boolean;
  close(): Promise<void>;
}
