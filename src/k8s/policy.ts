// What is configured about a cluster when nothing is.

import type { ClusterPolicy } from './store.ts';

/** The policy of a cluster without settings of its own. */
export function policyOf(id: string): ClusterPolicy {
  return { id, precedence: Infinity, endpointsFrom: 'auto', speaksFor: undefined, drained: false };
}
