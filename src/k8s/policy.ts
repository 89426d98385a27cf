// What an operator's settings of a cluster mean for merging.

import { defaultSettings } from './cluster-settings.ts';
import type { ClusterSettings } from './cluster-settings.ts';
import type { ClusterPolicy } from './store.ts';

/** The policy of a cluster, while it is in touch or its names are held. */
export function policyOf(id: string, settings: ClusterSettings = defaultSettings): ClusterPolicy {
  const { precedence, endpointsFrom, speaksFor, state } = settings;
  return { id, precedence, endpointsFrom, speaksFor, drained: state === 'drained' };
}
