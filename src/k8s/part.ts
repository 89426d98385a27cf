// One resource of a generation: what is held of it, and the list that is being read beside it.
// Not here: when a list is swapped in, and into what (holdings.ts).

import { serviceKey } from '../zones/objects.ts';
import type { ServiceKey } from '../zones/objects.ts';
import type { ReflectorLimits } from './api/backoff.ts';
import type { ServedResource } from './api/discovery.ts';
import type { Refusal } from './objects/fields.ts';
import { versionOf } from './api/reflector.ts';
import { trimObject } from './objects/trim.ts';
import type { FleetObject, ObjectKind } from './objects/trim.ts';

export type PartName = 'imports' | 'exports' | 'mirrored' | 'native';

/** What is remembered of an object that is held: its resourceVersion as a number, and its service. */
export interface Held {
  readonly version: number;
  readonly service: ServiceKey;
}

/** An object as an event or a list brings it; `object` is undefined where it gives nothing. */
export interface Read {
  readonly key: string;
  readonly held: Held;
  readonly object: FleetObject | undefined;
  readonly refusals: readonly Refusal[];
}

export class Part {
  readonly kind: ObjectKind;
  readonly #limits: ReflectorLimits;
  #apiVersion = '';
  /** By `namespace/name`: what the store, or `staged`, holds of this part. */
  held = new Map<string, Held>();
  /** Objects that wait for the generation's commit; undefined after it. */
  staged: Map<string, FleetObject> | undefined;
  /** Objects that are held and not in the store: the other watch of slices has a newer state of them. */
  readonly overtaken = new Map<string, FleetObject>();
  /** The list that is being read. */
  #shadowHeld = new Map<string, Held>();
  #shadow = new Map<string, FleetObject>();
  #shadowRefused = new Map<string, readonly Refusal[]>();
  #isListed = false;
  #wasHeldBack = false;
  #isSettled = false;
  #onSettled: () => void = () => undefined;
  readonly settled = new Promise<void>((resolve) => (this.#onSettled = resolve));
  /** Versions of objects that went, oldest first. */
  readonly #graves = new Map<string, number>();
  /** Refused fields of objects that there are, by `namespace/name`. */
  refused = new Map<string, readonly Refusal[]>();

  constructor(kind: ObjectKind, limits: ReflectorLimits) {
    this.kind = kind;
    this.#limits = limits;
  }

  /** It was listed, or is not to be had. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** It was listed: what it does not hold is gone. */
  get isListed(): boolean {
    return this.#isListed;
  }

  settle(): void {
    this.#isSettled = true;
    this.#onSettled();
  }

  begin({ apiVersion }: ServedResource): void {
    this.#apiVersion = apiVersion;
    this.#shadowHeld = new Map();
    this.#shadow = new Map();
    this.#shadowRefused = new Map();
  }

  initial(raw: unknown, counts: ((object: FleetObject) => boolean) | undefined): void {
    const read = this.read(raw);
    if (read === undefined || (read.object !== undefined && counts?.(read.object) === false)) return;
    this.#note(read.key, read.refusals, this.#shadowRefused);
    if (read.object === undefined) return;
    this.#shadowHeld.set(read.key, read.held);
    this.#shadow.set(read.key, read.object);
  }

  /** Trims an object; undefined where it has no name. */
  read(raw: unknown): Read | undefined {
    const trimmed = trimObject(raw, { apiVersion: this.#apiVersion, kind: this.kind });
    const { refusals } = trimmed;
    const object = trimmed.kind === 'ignored' ? undefined : trimmed;
    const ref = object?.object ?? (trimmed.kind === 'ignored' ? trimmed.ref : undefined);
    if (ref === undefined) {
      if (refusals.length > 0) this.#note('', refusals, this.refused);
      return undefined;
    }
    const key = serviceKey(ref.namespace, ref.name);
    const service = object?.kind === 'EndpointSlice' ? serviceKey(ref.namespace, object.object.service) : key;
    return { key, held: { version: Number(versionOf(raw)), service }, object, refusals };
  }

  /** Keeps what was refused of an object, as it is now. */
  note({ key, refusals }: Read): void {
    this.#note(key, refusals, this.refused);
  }

  hold(key: string, held: Held): void {
    this.held.set(key, held);
    this.#graves.delete(key);
  }

  /** Remembers a bounded number of objects that went. */
  bury(key: string, version: number): void {
    this.#graves.delete(key);
    this.#graves.set(key, version);
    if (this.#graves.size <= this.#limits.tombstones) return;
    const [oldest] = this.#graves.keys();
    this.#graves.delete(oldest!);
  }

  /** Whether a newer state of the object was seen; a version that is no number is never old. */
  isOld(key: string, version: number): boolean {
    return version < (this.held.get(key)?.version ?? this.#graves.get(key) ?? -1);
  }

  /** The list becomes what waits for the commit. */
  take(): void {
    this.staged = this.takeShadow();
  }

  /** The list becomes what is held; gives its objects. */
  takeShadow(): Map<string, FleetObject> {
    const objects = this.#shadow;
    this.held = this.#shadowHeld;
    this.refused = this.#shadowRefused;
    this.#shadow = new Map();
    this.#shadowHeld = new Map();
    this.#shadowRefused = new Map();
    this.#isListed = true;
    this.#graves.clear();
    this.overtaken.clear();
    return objects;
  }

  /** Whether the list takes most services of the part away and no list before it did. */
  isHeldBack(): boolean {
    const limits = this.#limits;
    const before = servicesOf(this.held);
    const now = servicesOf(this.#shadowHeld);
    let missing = 0;
    for (const service of before) if (!now.has(service)) missing++;
    this.#wasHeldBack = isMassDelete(missing, before.size, limits) && !this.#wasHeldBack;
    return this.#wasHeldBack;
  }

  /** Objects of the list that a watch should have brought up to `seenVersion`, and did not. */
  missed(seenVersion: number): number {
    let missed = 0;
    for (const [key, { version }] of this.#shadowHeld) {
      if (version <= seenVersion && this.held.get(key)?.version !== version) missed++;
    }
    for (const key of this.held.keys()) if (!this.#shadowHeld.has(key)) missed++;
    return missed;
  }

  *refusals(): Iterable<string> {
    for (const [key, refusals] of this.refused) {
      for (const { path, reason } of refusals) yield `${this.kind} ${key} ${path.join('.')}: ${reason}`;
    }
  }

  #note(key: string, refusals: readonly Refusal[], refused: Map<string, readonly Refusal[]>): void {
    if (refusals.length === 0) refused.delete(key);
    else if (refused.size < this.#limits.refusedObjects || refused.has(key)) refused.set(key, refusals);
  }
}

/** Whether a list that lacks `missing` of `before` names is one that nobody should believe at once. */
export function isMassDelete(missing: number, before: number, limits: ReflectorLimits): boolean {
  return missing >= limits.massDeleteLeast && missing > before * limits.massDeleteShare;
}

function servicesOf(held: ReadonlyMap<string, Held>): Set<ServiceKey> {
  const services = new Set<ServiceKey>();
  for (const { service } of held.values()) services.add(service);
  return services;
}
