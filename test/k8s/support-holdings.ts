// Holdings of one cluster without a network: a test calls the sinks as reflectors would, list by list and event by event.

import type { ReflectorLimits } from '../../src/k8s/api/backoff.ts';
import { Holdings } from '../../src/k8s/holdings.ts';
import type { HoldingsOptions } from '../../src/k8s/holdings.ts';
import type { PartName } from '../../src/k8s/part.ts';
import { policyOf } from '../../src/k8s/policy.ts';
import type { ChangeType } from '../../src/k8s/api/reflector.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import { limits } from '../../src/limits.ts';
import type { RawObject } from '../support/api/model.ts';

export const PART_NAMES: readonly PartName[] = ['imports', 'exports', 'mirrored', 'native'];

const API_VERSION: Readonly<Record<PartName, string>> = {
  imports: 'multicluster.x-k8s.io/v1beta1',
  exports: 'multicluster.x-k8s.io/v1beta1',
  mirrored: 'discovery.k8s.io/v1',
  native: 'discovery.k8s.io/v1',
};

/** A commit gives way after every object, so that a test sees each state of the store. */
export const slowCommit: ReflectorLimits = { ...limits.reflector, commitSliceMillis: 0 };

/** The object at a resourceVersion. */
export function at(version: number, object: RawObject): RawObject {
  const metadata = object['metadata'] as RawObject;
  return { ...object, metadata: { ...metadata, resourceVersion: String(version) } };
}

export interface RigOptions extends Partial<Omit<HoldingsOptions, 'store'>> {
  readonly store?: FleetStore;
}

export class HoldingsRig {
  readonly store: FleetStore;
  readonly holdings: Holdings;
  readonly cluster: string;
  /** Services whose slices are to be listed. */
  readonly wanted: string[] = [];
  readonly held: string[] = [];
  readonly audits: string[] = [];
  commits = 0;

  constructor({ store, ...options }: RigOptions = {}) {
    this.cluster = options.cluster ?? 'a';
    this.store = store ?? new FleetStore({ addressConflict: 'servfail' });
    if (store === undefined) this.store.addCluster(policyOf(this.cluster));
    this.holdings = new Holdings({
      cluster: this.cluster,
      store: this.store,
      limits: slowCommit,
      isBelieved: false,
      onExport: (service) => this.wanted.push(service),
      onCommitting: () => undefined,
      onCommit: () => this.commits++,
      onHeld: (missing, names) => this.held.push(`${missing} of ${names}`),
      onAudit: (part, missed) => this.audits.push(`${part} ${missed}`),
      ...options,
    });
  }

  begin(part: PartName, ...objects: readonly RawObject[]): void {
    this.holdings.sink(part).begin({ path: '/', apiVersion: API_VERSION[part] });
    this.initial(part, ...objects);
  }

  initial(part: PartName, ...objects: readonly RawObject[]): void {
    for (const object of objects) this.holdings.sink(part).initial(object);
  }

  complete(part: PartName, seenVersion?: string): Promise<'taken' | 'held'> {
    return this.holdings.sink(part).complete(seenVersion === undefined ? undefined : { seenVersion });
  }

  /** A whole list. */
  list(part: PartName, ...objects: readonly RawObject[]): Promise<'taken' | 'held'> {
    this.begin(part, ...objects);
    return this.complete(part);
  }

  change(part: PartName, type: ChangeType, object: RawObject): void {
    this.holdings.sink(part).change(type, object);
  }

  /** Lists that end in the order of a real generation: the native slices wait for the exports. */
  async lists(objects: Readonly<Partial<Record<PartName, readonly RawObject[]>>>): Promise<void> {
    for (const part of PART_NAMES) await this.list(part, ...(objects[part] ?? []));
  }

  /** A list of native slices beside the watch. */
  async adopt(service: string, ...objects: readonly RawObject[]): Promise<void> {
    const adoption = this.holdings.beginAdoption(service);
    for (const object of objects) adoption.item(object);
    await adoption.take();
    adoption.end();
  }

  text(): string[] {
    return storeText(this.store, this.cluster);
  }
}

/** What a cluster holds, a line an object. */
export function storeText(store: FleetStore, cluster: string): string[] {
  const lines: string[] = [];
  for (const { kind, object } of store.objectsOf(cluster)) {
    const name = `${object.namespace}/${object.name}`;
    if (kind === 'ServiceImport') lines.push(`import ${name} ${object.type} ${object.ips.join('+')}`.trimEnd());
    else if (kind === 'ServiceExport') lines.push(`export ${name}${object.valid ? '' : ' not valid'}`);
    else {
      const addresses = object.endpoints.flatMap((endpoint) => endpoint.addresses).join('+');
      const source = object.form === 'native' ? 'native' : `from ${object.sourceCluster}`;
      lines.push(`slice ${name} of ${object.service} ${source} ${addresses}`);
    }
  }
  return lines.sort();
}
