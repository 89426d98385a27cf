// The four parts of a generation, and how an object of one comes into the store and out of it. A slice is in one of two
// parts by its label; when that changes, two watches tell of it in any order.
// Not here: when a part writes (holdings.ts).

import { serviceKey } from '../zones/objects.ts';
import type { ServiceKey } from '../zones/objects.ts';
import type { ReflectorLimits } from './api/backoff.ts';
import { Part } from './part.ts';
import type { PartName } from './part.ts';
import type { FleetStore } from './store.ts';
import type { FleetObject } from './objects/trim.ts';

/** In the order of a commit: an export makes its cluster speak for itself, so its slices stand before it does. */
export const PARTS: readonly PartName[] = ['mirrored', 'native', 'imports', 'exports'];

export class Parts implements Readonly<Record<PartName, Part>> {
  readonly mirrored: Part;
  readonly native: Part;
  readonly imports: Part;
  readonly exports: Part;
  readonly #cluster: string;
  readonly #store: FleetStore;

  constructor(cluster: string, store: FleetStore, limits: ReflectorLimits) {
    this.#cluster = cluster;
    this.#store = store;
    this.mirrored = new Part('EndpointSlice', limits);
    this.native = new Part('EndpointSlice', limits);
    this.imports = new Part('ServiceImport', limits);
    this.exports = new Part('ServiceExport', limits);
  }

  /** A native slice is kept while its service is exported here; a dispatcher's copy always. */
  readonly counts = (object: FleetObject): boolean =>
    object.kind !== 'EndpointSlice' || object.object.form === 'mirrored' || this.exports.held.has(serviceOf(object));

  put(part: Part, key: string, object: FleetObject): void {
    if (part.staged !== undefined) {
      part.staged.set(key, object);
      return;
    }
    const other = this.#sibling(part)?.held.get(key);
    if (other !== undefined && other.version > part.held.get(key)!.version) {
      part.overtaken.set(key, object);
      return;
    }
    part.overtaken.delete(key);
    this.#store.put(this.#cluster, object);
  }

  remove(part: Part, key: string): void {
    if (part.staged !== undefined) {
      part.staged.delete(key);
      return;
    }
    part.overtaken.delete(key);
    const sibling = this.#sibling(part);
    if (sibling?.held.has(key) === true) {
      const object = sibling.overtaken.get(key);
      if (object === undefined) return;
      sibling.overtaken.delete(key);
      this.#store.put(this.#cluster, object);
      return;
    }
    const slash = key.indexOf('/');
    this.#store.remove(this.#cluster, part.kind, key.slice(0, slash), key.slice(slash + 1));
  }

  /** What the store has of a resource that cannot be listed stays: a failure takes nothing away. Gives what was not known. */
  keep(name: PartName): string[] {
    const part = this[name];
    const kept: string[] = [];
    for (const each of this.#store.objectsOf(this.#cluster)) {
      const { kind, object } = each;
      const key = serviceKey(object.namespace, object.name);
      if (kind !== part.kind || part.held.has(key)) continue;
      const isNative = kind === 'EndpointSlice' && object.form === 'native';
      if (isNative ? name !== 'native' || !this.counts(each) : name === 'native') continue;
      part.held.set(key, { version: NaN, service: serviceOf(each) });
      kept.push(key);
    }
    return kept;
  }

  /** Whether the object is of what was listed. */
  holds({ kind, object }: FleetObject): boolean {
    const key = serviceKey(object.namespace, object.name);
    return PARTS.some((name) => this[name].kind === kind && this[name].held.has(key));
  }

  /** The services of all that is held. */
  services(): Set<ServiceKey> {
    const services = new Set<ServiceKey>();
    for (const name of PARTS) for (const { service } of this[name].held.values()) services.add(service);
    return services;
  }

  #sibling(part: Part): Part | undefined {
    if (part.kind !== 'EndpointSlice') return undefined;
    return part === this.native ? this.mirrored : this.native;
  }
}

export function serviceOf({ kind, object }: FleetObject): ServiceKey {
  return serviceKey(object.namespace, kind === 'EndpointSlice' ? object.service : object.name);
}
