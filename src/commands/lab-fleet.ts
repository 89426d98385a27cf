// A lab fleet read once, for the commands that look at it and end: its store and what is wrong in its files.

import { loadLab } from '../k8s/manifests/lab.ts';
import { LabError } from '../k8s/manifests/lab.ts';
import type { Finding } from '../k8s/manifests/manifests.ts';
import { policyOf } from '../k8s/policy.ts';
import { FleetStore } from '../k8s/store.ts';
import { UsageError } from '../usage.ts';

export interface LabFleet {
  readonly store: FleetStore;
  readonly findings: readonly Finding[];
}

/** Throws UsageError, naming the flag, where there is no lab. */
export async function readLabFleet(dir: string): Promise<LabFleet> {
  const store = new FleetStore({ addressConflict: 'servfail' });
  try {
    const { clusters, findings } = await loadLab(dir);
    for (const [id, objects] of clusters) {
      store.addCluster(policyOf(id));
      store.replace(id, objects);
    }
    return { store, findings };
  } catch (error) {
    if (error instanceof LabError) throw new UsageError(`--lab ${error.message}`);
    throw error;
  }
}
