// What an API server has in its etcd: objects, one counter of resource versions, and a bounded history of changes.
// Objects are kept as the JSON they are sent as, so that a list of 300 MB costs copying only. Not here: HTTP, selectors.

import { randomUUID } from 'node:crypto';
import { resourceOf, resources, type ResourceName } from './resources.ts';

export type RawObject = Readonly<Record<string, unknown>>;

/** An object at one resource version; never changed. */
export interface Stored {
  /** `namespace/name`, or the name alone: the order of lists. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly version: number;
  readonly uid: string;
  readonly created: string;
  /** JSON from behind `"metadata":{"resourceVersion":"…",` to the end; or, with `isVerbatim`, all of it. */
  readonly body: Buffer;
  readonly isVerbatim: boolean;
}

/** Neither side undefined: modified. */
export interface Change {
  readonly version: number;
  readonly before: Stored | undefined;
  readonly after: Stored | undefined;
}

export interface Snapshot {
  readonly version: number;
  readonly objects: ReadonlyMap<ResourceName, ReadonlyMap<string, Stored>>;
}

/** Lists at old versions kept for the next pages. */
const KEPT_LISTS = 4;

/** The objects of one resource. */
class Collection {
  objects = new Map<string, Stored>();
  history: Change[] = [];
  /** Sorted lists by version; those of versions since which nothing changed are one and the same. */
  readonly lists = new Map<number, readonly Stored[]>();
  lastChange = 0;
}

export class Model {
  readonly #collections = new Map<ResourceName, Collection>();
  readonly #historyLimit: number;
  readonly #changed: (resource: ResourceName, change: Change) => void;
  version = 1;
  /** Versions before this one can no longer be watched or listed from. */
  compactedAt = 0;

  constructor(historyLimit: number, changed: (resource: ResourceName, change: Change) => void) {
    this.#historyLimit = historyLimit;
    this.#changed = changed;
  }

  /** The version it has now. */
  put(object: RawObject): number {
    const resource = resourceOf(object);
    const { apiVersion: _, kind: __, metadata, ...fields } = object;
    const { resourceVersion: ___, ...meta } = (metadata ?? {}) as Record<string, unknown>;
    const { name, namespace, labels } = identity(resource, meta);
    const before = this.#of(resource).objects.get(keyOf(namespace, name));
    const uid = before?.uid ?? (typeof meta['uid'] === 'string' ? meta['uid'] : randomUUID());
    const given = typeof meta['creationTimestamp'] === 'string' ? meta['creationTimestamp'] : undefined;
    const created = before?.created ?? given ?? new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const head = JSON.stringify({ ...meta, uid, creationTimestamp: created });
    const tail = JSON.stringify(resource === 'EndpointSlice' ? asStored(fields) : fields);
    const body = Buffer.from(`${head.slice(1)}${tail === '{}' ? '}' : `,${tail.slice(1)}`}`);
    return this.#store(resource, { namespace, name, labels, uid, created, body, isVerbatim: false });
  }

  /** Any text as an object, sent as it is; the labels are what selectors see. */
  putRaw(resource: ResourceName, namespace: string, name: string, text: string, labels: RawObject = {}): number {
    const body = Buffer.from(text);
    const parts = { namespace, name, labels: labelMap(labels), uid: '', created: '', body, isVerbatim: true };
    return this.#store(resource, parts);
  }

  /** Undefined: it was not there. */
  remove(resource: ResourceName, namespace: string, name: string): number | undefined {
    const collection = this.#of(resource);
    const before = collection.objects.get(keyOf(namespace, name));
    if (before === undefined) return undefined;
    collection.objects.delete(before.key);
    this.#record(resource, { version: ++this.version, before, after: undefined });
    return this.version;
  }

  removeAll(resource: ResourceName): void {
    for (const { namespace, name } of this.list(resource)) this.remove(resource, namespace, name);
  }

  get(resource: ResourceName, namespace: string, name: string): Stored | undefined {
    return this.#of(resource).objects.get(keyOf(namespace, name));
  }

  count(resource: ResourceName): number {
    return this.#of(resource).objects.size;
  }

  /** All objects as they were at a version, by key; undefined: compacted, or still to come. */
  list(resource: ResourceName): readonly Stored[];
  list(resource: ResourceName, version: number): readonly Stored[] | undefined;
  list(resource: ResourceName, version = this.version): readonly Stored[] | undefined {
    if (version < this.compactedAt || version > this.version) return undefined;
    const collection = this.#of(resource);
    const at = Math.min(version, collection.lastChange);
    const kept = collection.lists.get(at);
    if (kept !== undefined) return kept;
    const objects = new Map(collection.objects);
    for (let i = collection.history.length - 1; i >= 0; i--) {
      const change = collection.history[i]!;
      if (change.version <= version) break;
      if (change.before === undefined) objects.delete(change.after!.key);
      else objects.set(change.before.key, change.before);
    }
    const list = [...objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    collection.lists.set(at, list);
    for (const old of collection.lists.keys()) {
      if (collection.lists.size <= KEPT_LISTS) break;
      collection.lists.delete(old);
    }
    return list;
  }

  /** Changes after a version, which must not be compacted. */
  since(resource: ResourceName, version: number): readonly Change[] {
    const { history } = this.#of(resource);
    const first = history.findLastIndex((change) => change.version <= version) + 1;
    return history.slice(first);
  }

  /** Everything before now is 410. `version` counts on, as it does where other resources change. */
  compact(): void {
    this.compactedAt = ++this.version;
    for (const collection of this.#collections.values()) {
      collection.history = [];
      collection.lists.clear();
    }
  }

  snapshot(): Snapshot {
    const objects = new Map([...this.#collections].map(([resource, each]) => [resource, new Map(each.objects)]));
    return { version: this.version, objects };
  }

  /** Objects and counter go back, and nothing is known of what was before. */
  restore(snapshot: Snapshot): void {
    this.version = snapshot.version;
    this.compactedAt = snapshot.version;
    this.#collections.clear();
    for (const [resource, objects] of snapshot.objects) {
      const collection = this.#of(resource);
      collection.objects = new Map(objects);
      collection.lastChange = snapshot.version;
    }
  }

  #of(resource: ResourceName): Collection {
    let collection = this.#collections.get(resource);
    if (collection === undefined) this.#collections.set(resource, (collection = new Collection()));
    return collection;
  }

  #store(resource: ResourceName, parts: Omit<Stored, 'key' | 'version'>): number {
    const { objects } = this.#of(resource);
    const key = keyOf(parts.namespace, parts.name);
    const before = objects.get(key);
    const after: Stored = { ...parts, key, version: ++this.version };
    objects.set(key, after);
    this.#record(resource, { version: this.version, before, after });
    return this.version;
  }

  #record(resource: ResourceName, change: Change): void {
    const collection = this.#of(resource);
    collection.lastChange = change.version;
    collection.history.push(change);
    if (collection.history.length > this.#historyLimit) {
      const gone = collection.history.splice(0, Math.ceil(this.#historyLimit / 4));
      this.compactedAt = Math.max(this.compactedAt, gone.at(-1)!.version);
    }
    this.#changed(resource, change);
  }
}

function keyOf(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

function labelMap(labels: unknown): ReadonlyMap<string, string> {
  return new Map(Object.entries((labels ?? {}) as Record<string, string>));
}

function identity(resource: ResourceName, meta: RawObject): Pick<Stored, 'name' | 'namespace' | 'labels'> {
  const { name, namespace = '' } = meta;
  if (typeof name !== 'string' || typeof namespace !== 'string') throw new Error('no metadata.name: use putRaw');
  if (resources[resource].isNamespaced !== (namespace !== '')) throw new Error(`${resource} ${name}: wrong scope`);
  return { name, namespace, labels: labelMap(meta['labels']) };
}

/** An EndpointSlice as it reads back: empty lists are null, a port has a name and a protocol. */
function asStored(fields: RawObject): RawObject {
  const listOrNull = (value: unknown): unknown => (Array.isArray(value) && value.length > 0 ? value : null);
  const ports = listOrNull(fields['ports']) as readonly RawObject[] | null;
  return {
    ...fields,
    endpoints: listOrNull(fields['endpoints']),
    ports: ports?.map((port) => ({ name: '', protocol: 'TCP', ...port })) ?? null,
  };
}
