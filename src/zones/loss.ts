// Names of clusters that nobody can reach and whose time is up: they are answered without those clusters, unless no one
// else answers them. Reachability of an API server says nothing of its workloads, so the last cluster of a name stays.
// Pure. Not here: when a cluster's time is up (k8s/), merging itself (merge.ts).

import type { FleetCluster, FleetPolicy, MergedService } from './objects.ts';

/** The fleet, with what it is without its withdrawn clusters. */
export function withLoss(fleet: FleetPolicy): FleetPolicy {
  const clusters = [...fleet.clusters.values()];
  if (clusters.every(({ withdrawn }) => withdrawn === undefined)) return fleet;
  return {
    ...fleet,
    loss: {
      all: without(fleet, ({ withdrawn }) => withdrawn !== undefined),
      always: without(fleet, ({ withdrawn }) => withdrawn === 'always'),
    },
  };
}

/** Its endpoints are out, whoever holds them; its imports decide nothing. */
function without(fleet: FleetPolicy, isOut: (cluster: FleetCluster) => boolean): FleetPolicy {
  const clusters = new Map<string, FleetCluster>();
  for (const [id, cluster] of fleet.clusters) {
    clusters.set(id, isOut(cluster) ? { ...cluster, drained: true, isOut: true } : cluster);
  }
  return { clusters, addressConflict: fleet.addressConflict };
}

/** Whether the name has anything that a client can connect to. */
export function hasAddresses(service: MergedService | undefined): boolean {
  return service !== undefined && (service.endpoints.length > 0 || service.addresses.length > 0);
}
