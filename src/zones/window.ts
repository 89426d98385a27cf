// Sets of addresses that no message holds, where a service has both families: A and AAAA must show the same pods, so both
// are laid out over one order of pods, those with both families first, and answered through one window (dns/answer.ts).

import { MAX_MESSAGE_OCTETS, MAX_NAME_OCTETS, RECORD_FIXED_OCTETS, type } from '../dns/iana.ts';
import { SET_WINDOWED, setKind } from '../dns/image.ts';
import type { Draft } from './draft.ts';
import type { MergedEndpoint } from './objects.ts';

/** Header, the longest question, OPT with an Extended DNS Error: what a message has besides its answers, at most. */
const OVERHEAD_OCTETS = 12 + MAX_NAME_OCTETS + 4 + 11 + 6;

/** Whether so many A or so many AAAA records may not fit a message. */
export function needsWindow(v4: number, v6: number): boolean {
  const room = MAX_MESSAGE_OCTETS - OVERHEAD_OCTETS;
  return v4 * (RECORD_FIXED_OCTETS + 4) > room || v6 * (RECORD_FIXED_OCTETS + 16) > room;
}

/** Addresses of one pod, or of pods, by family. */
interface Families {
  readonly v4: string[];
  readonly v6: string[];
}

/** Drafts both sets. A pod with more addresses of one family than of the other counts as a pod of its own for those. */
export function windowedSets(draft: Draft, endpoints: readonly MergedEndpoint[]): void {
  const both: Families = { v4: [], v6: [] };
  const alone: Families = { v4: [], v6: [] };
  for (const { v4, v6 } of podsOf(endpoints)) {
    const pairs = Math.min(v4.length, v6.length);
    both.v4.push(...v4.slice(0, pairs));
    both.v6.push(...v6.slice(0, pairs));
    alone.v4.push(...v4.slice(pairs));
    alone.v6.push(...v6.slice(pairs));
  }
  const all = both.v4.length + alone.v4.length + alone.v6.length;
  for (const family of [4, 6] as const) {
    const key = family === 4 ? 'v4' : 'v6';
    draft.beginSet(family === 4 ? type.A : type.AAAA, setKind.ADDRESSES, SET_WINDOWED);
    draft.word(both.v4.length);
    draft.word(family === 4 ? 0 : alone.v4.length);
    draft.word(all);
    for (const address of both[key]) draft.address(address, family);
    for (const address of alone[key]) draft.address(address, family);
    draft.endSet();
  }
}

/** The addresses of every pod, none twice, in the order of the endpoints. */
function podsOf(endpoints: readonly MergedEndpoint[]): Iterable<Families> {
  const seen = new Set<string>();
  const pods = new Map<string, Families>();
  for (const { cluster, host, pod = host, address, family } of endpoints) {
    if (seen.has(address)) continue;
    seen.add(address);
    const key = `${cluster} ${pod}`;
    let addresses = pods.get(key);
    if (addresses === undefined) pods.set(key, (addresses = { v4: [], v6: [] }));
    addresses[family === 4 ? 'v4' : 'v6'].push(address);
  }
  return pods.values();
}
