// What every cluster of the fleet holds, by cluster and service: the one owner of that state.
// Level-based: it never says which event came, only which services may answer differently now, until they are taken.
// Not here: reading clusters (sources), merging (zones/), and any clock.

import { serviceKey } from '../zones/objects.ts';
import type {
  ClusterObjects,
  EndpointSlice,
  FleetCluster,
  FleetPolicy,
  ServiceKey,
  ServiceObjects,
} from '../zones/objects.ts';
import { withLoss } from '../zones/loss.ts';
import { sameImport, sameObjects, samePolicy, sameSlice } from './objects/same.ts';
import type { FleetObject, ObjectKind, Trimmed } from './objects/trim.ts';

/** What is configured about a cluster. */
export type ClusterPolicy = Omit<FleetCluster, 'exporting'>;

/** Invariants: no ClusterObjects is empty; `slices` of one are in the order of their names, each name once. */
interface ClusterState {
  policy: ClusterPolicy;
  services: Map<ServiceKey, ClusterObjects>;
  /** The service each slice belongs to, by `namespace/name` of the slice: its label may change. */
  serviceOfSlice: Map<string, ServiceKey>;
  exports: number;
  revision: number;
}

export class FleetStore {
  readonly #addressConflict: FleetPolicy['addressConflict'];
  /** In the order of the ids. */
  #clusters = new Map<string, ClusterState>();
  #dirty = new Set<ServiceKey>();
  #announced = false;
  #listener: (() => void) | undefined;
  #fleet: FleetPolicy | undefined;

  constructor(options: { readonly addressConflict: FleetPolicy['addressConflict'] }) {
    this.#addressConflict = options.addressConflict;
  }

  /** `listener` is called once each time that services become dirty after none was; it must only schedule. */
  onChange(listener: () => void): void {
    this.#listener = listener;
    if (this.#dirty.size > 0) listener();
  }

  /** The services that may answer differently since the last call. */
  takeDirty(): Set<ServiceKey> {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    this.#announced = false;
    return dirty;
  }

  /** Adds a cluster, or changes what is configured about it. */
  addCluster(policy: ClusterPolicy): void {
    const state = this.#clusters.get(policy.id);
    if (state === undefined) {
      this.#clusters.set(policy.id, {
        policy,
        services: new Map(),
        serviceOfSlice: new Map(),
        exports: 0,
        revision: 0,
      });
      this.#clusters = new Map([...this.#clusters].sort(([a], [b]) => (a < b ? -1 : 1)));
    } else if (samePolicy(state.policy, policy)) return;
    else state.policy = policy;
    this.#touchAll(policy.id);
    this.#announce();
  }

  /** Takes a cluster out with all it holds. */
  removeCluster(id: string): void {
    if (!this.#clusters.has(id)) return;
    this.#touchAll(id);
    this.#clusters.delete(id);
    this.#announce();
  }

  /** Swaps the whole of what a cluster holds; of an object that stands twice, the last counts. */
  replace(cluster: string, objects: Iterable<FleetObject>): void {
    const state = this.#clusters.get(cluster);
    if (state === undefined) return;
    const before = state.services;
    const wasExporting = state.exports > 0;
    const drafts = new Map<string, FleetObject>();
    for (const each of objects) drafts.set(`${each.kind}/${each.object.namespace}/${each.object.name}`, each);
    state.services = gatherServices(cluster, drafts.values());
    state.serviceOfSlice = new Map();
    state.exports = 0;
    state.revision++;
    for (const [key, now] of state.services) {
      const old = before.get(key);
      if (old !== undefined && sameObjects(old, now)) state.services.set(key, old);
      else this.#dirty.add(key);
      if (now.serviceExport !== undefined) state.exports++;
      for (const slice of now.slices) state.serviceOfSlice.set(serviceKey(slice.namespace, slice.name), key);
    }
    for (const key of before.keys()) if (!state.services.has(key)) this.#dirty.add(key);
    if (wasExporting !== state.exports > 0) this.#touchAll(cluster);
    this.#announce();
  }

  /** An object as it is now. Idempotent; of a cluster that is not there, nothing happens. */
  put(cluster: string, { kind, object }: FleetObject): void {
    const state = this.#clusters.get(cluster);
    if (state === undefined) return;
    if (kind === 'EndpointSlice') this.#putSlice(state, object);
    else {
      const key = serviceKey(object.namespace, object.name);
      const held = state.services.get(key) ?? emptyObjects(cluster);
      if (kind === 'ServiceImport') {
        if (held.serviceImport === undefined || !sameImport(held.serviceImport, object)) {
          this.#set(state, key, { ...held, serviceImport: object });
        }
      } else if (held.serviceExport === undefined || held.serviceExport.valid !== object.valid) {
        this.#set(state, key, { ...held, serviceExport: object });
      }
    }
    this.#announce();
  }

  /** An object is gone. Idempotent. */
  remove(cluster: string, kind: ObjectKind, namespace: string, name: string): void {
    const state = this.#clusters.get(cluster);
    if (state === undefined) return;
    const key = serviceKey(namespace, name);
    if (kind === 'EndpointSlice') this.#removeSlice(state, key, name);
    else {
      const held = state.services.get(key);
      if (kind === 'ServiceImport' && held?.serviceImport !== undefined) {
        this.#set(state, key, { ...held, serviceImport: undefined });
      } else if (kind === 'ServiceExport' && held?.serviceExport !== undefined) {
        this.#set(state, key, { ...held, serviceExport: undefined });
      }
    }
    this.#announce();
  }

  /** What `trimObject` made of an object that exists: one that gives nothing (any more) is not held. */
  apply(cluster: string, trimmed: Trimmed): void {
    if (trimmed.kind !== 'ignored') this.put(cluster, trimmed);
    else if (trimmed.ref !== undefined) this.remove(cluster, trimmed.ref.kind, trimmed.ref.namespace, trimmed.ref.name);
  }

  /** All that the fleet holds of a service: clusters in the order of their ids, and only those that hold something. */
  gather(key: ServiceKey): ServiceObjects {
    const slash = key.indexOf('/');
    const clusters: ClusterObjects[] = [];
    for (const state of this.#clusters.values()) {
      const held = state.services.get(key);
      if (held !== undefined) clusters.push(held);
    }
    return { namespace: key.slice(0, slash), name: key.slice(slash + 1), clusters };
  }

  /** The fleet's policy; the same object until something of it changes. */
  fleet(): FleetPolicy {
    this.#fleet ??= withLoss({
      clusters: new Map(
        Array.from(this.#clusters, ([id, { policy, exports }]) => [id, { ...policy, exporting: exports > 0 }]),
      ),
      addressConflict: this.#addressConflict,
    });
    return this.#fleet;
  }

  /** The services of which a cluster holds something. */
  keysOf(cluster: string): ServiceKey[] {
    return [...(this.#clusters.get(cluster)?.services.keys() ?? [])];
  }

  /** All that a cluster holds. */
  *objectsOf(cluster: string): Iterable<FleetObject> {
    for (const { serviceImport, serviceExport, slices } of this.#clusters.get(cluster)?.services.values() ?? []) {
      if (serviceImport !== undefined) yield { kind: 'ServiceImport', object: serviceImport };
      if (serviceExport !== undefined) yield { kind: 'ServiceExport', object: serviceExport };
      for (const object of slices) yield { kind: 'EndpointSlice', object };
    }
  }

  /** The slices that a cluster holds of a service. */
  slicesOf(cluster: string, service: ServiceKey): readonly EndpointSlice[] {
    return this.#clusters.get(cluster)?.services.get(service)?.slices ?? [];
  }

  /** A number that rises whenever something that the cluster holds changes; 0: it never held anything. */
  revisionOf(cluster: string): number {
    return this.#clusters.get(cluster)?.revision ?? 0;
  }

  /** Whether services wait to be taken. */
  get isDirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** Every service of which some cluster holds something. */
  keys(): Set<ServiceKey> {
    const keys = new Set<ServiceKey>();
    for (const { services } of this.#clusters.values()) for (const key of services.keys()) keys.add(key);
    return keys;
  }

  #putSlice(state: ClusterState, slice: EndpointSlice): void {
    const sliceKey = serviceKey(slice.namespace, slice.name);
    const key = serviceKey(slice.namespace, slice.service);
    const oldKey = state.serviceOfSlice.get(sliceKey);
    if (oldKey !== undefined && oldKey !== key) this.#removeSlice(state, sliceKey, slice.name);
    const held = state.services.get(key) ?? emptyObjects(state.policy.id);
    const at = placeOf(held.slices, slice.name);
    const old = held.slices[at];
    const isThere = old?.name === slice.name;
    if (isThere && sameSlice(old, slice)) return;
    state.serviceOfSlice.set(sliceKey, key);
    this.#set(state, key, { ...held, slices: held.slices.toSpliced(at, isThere ? 1 : 0, slice) });
  }

  #removeSlice(state: ClusterState, sliceKey: string, name: string): void {
    const key = state.serviceOfSlice.get(sliceKey);
    const held = key === undefined ? undefined : state.services.get(key);
    if (key === undefined || held === undefined) return;
    state.serviceOfSlice.delete(sliceKey);
    this.#set(state, key, { ...held, slices: held.slices.filter((slice) => slice.name !== name) });
  }

  /** The one place where a service of a cluster changes by events. */
  #set(state: ClusterState, key: ServiceKey, now: ClusterObjects): void {
    const had = state.services.get(key)?.serviceExport === undefined ? 0 : 1;
    const has = now.serviceExport === undefined ? 0 : 1;
    if (now.serviceImport === undefined && has === 0 && now.slices.length === 0) state.services.delete(key);
    else state.services.set(key, now);
    this.#dirty.add(key);
    state.revision++;
    const wasExporting = state.exports > 0;
    state.exports += has - had;
    if (wasExporting !== state.exports > 0) this.#touchAll(state.policy.id);
  }

  /** Something that is true of a whole cluster changes: what it holds, and what names it as source, is dirty. */
  #touchAll(id: string): void {
    this.#fleet = undefined;
    for (const [holder, { services }] of this.#clusters) {
      for (const [key, { slices }] of services) {
        if (holder === id || slices.some((slice) => slice.sourceCluster === id)) this.#dirty.add(key);
      }
    }
  }

  #announce(): void {
    if (this.#announced || this.#dirty.size === 0) return;
    this.#announced = true;
    this.#listener?.();
  }
}

function emptyObjects(cluster: string): ClusterObjects {
  return { cluster, serviceImport: undefined, serviceExport: undefined, slices: [] };
}

type Draft = { -readonly [K in keyof ClusterObjects]: ClusterObjects[K] } & { slices: EndpointSlice[] };

function gatherServices(cluster: string, objects: Iterable<FleetObject>): Map<ServiceKey, ClusterObjects> {
  const drafts = new Map<ServiceKey, Draft>();
  for (const { kind, object } of objects) {
    const key = serviceKey(object.namespace, kind === 'EndpointSlice' ? object.service : object.name);
    let draft = drafts.get(key);
    if (draft === undefined) drafts.set(key, (draft = { ...emptyObjects(cluster), slices: [] }));
    if (kind === 'ServiceImport') draft.serviceImport = object;
    else if (kind === 'ServiceExport') draft.serviceExport = object;
    else draft.slices.push(object);
  }
  for (const { slices } of drafts.values()) slices.sort((a, b) => (a.name < b.name ? -1 : 1));
  return drafts;
}

/** Where a slice of this name stands, or would stand. */
function placeOf(slices: readonly EndpointSlice[], name: string): number {
  let low = 0;
  let high = slices.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (slices[middle]!.name < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
