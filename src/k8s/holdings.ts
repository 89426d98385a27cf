// What one generation of a cluster holds: the objects of its four resources, from the first list on.
// Until every resource was listed nothing of it is in the store; then all of it is swapped in, and each change follows.
// Invariants: an object leaves the store only by a delete that was seen or by a list that was completed; a list that takes
// most of the names away is believed the second time; a closed generation does nothing.
// Not here: reading the API server (reflector.ts), merging (zones/).

import { serviceKey } from '../zones/objects.ts';
import type { ServiceKey } from '../zones/objects.ts';
import { Adoptions } from './adoptions.ts';
import type { Adoption } from './adoptions.ts';
import type { ReflectorLimits } from './api/backoff.ts';
import type { ServedResource } from './api/discovery.ts';
import { isMassDelete } from './part.ts';
import type { Held, PartName } from './part.ts';
import { PARTS, Parts, serviceOf } from './parts.ts';
import type { ChangeType, ReflectorSink } from './api/reflector.ts';
import type { FleetStore } from './store.ts';
import type { FleetObject } from './objects/trim.ts';
import { Turns } from './turns.ts';

export interface HoldingsOptions {
  readonly cluster: string;
  readonly store: FleetStore;
  readonly limits: ReflectorLimits;
  /** The first list of the generation is believed whatever it takes away: the one before said so too. */
  readonly isBelieved: boolean;
  /** A service was exported whose native slices were not kept: they are to be listed, as an adoption. */
  readonly onExport: (service: ServiceKey) => void;
  /** The first commit begins: whoever wrote this cluster's objects until now must not any more. */
  readonly onCommitting: () => void;
  /** The first commit has ended: the store holds this generation now. */
  readonly onCommit: () => void;
  /** The first commit was held: it would take `missing` of `names` away. */
  readonly onHeld: (missing: number, names: number) => void;
  /** An audit found so many objects that the watch had not brought. */
  readonly onAudit: (part: PartName, missed: number) => void;
}

export class Holdings {
  readonly #options: HoldingsOptions;
  readonly #parts: Parts;
  readonly #turns: Turns;
  readonly #adoptions: Adoptions;
  #isCommitted = false;
  #isListingNative = false;
  /** Services that were exported while the native slices were listed, or before the commit. */
  readonly #exportedEarly = new Set<ServiceKey>();

  constructor(options: HoldingsOptions) {
    this.#options = options;
    const { cluster, store, limits } = options;
    this.#parts = new Parts(cluster, store, limits);
    this.#turns = new Turns(limits.commitSliceMillis);
    this.#adoptions = new Adoptions(this.#parts, this.#turns);
  }

  /** Where the reflector of a part writes. */
  sink(name: PartName): ReflectorSink {
    const part = this.#parts[name];
    const turns = this.#turns;
    return {
      begin: (served: ServedResource) => {
        part.begin(served);
        if (name === 'native') this.#isListingNative = true;
      },
      initial: (raw: unknown) => {
        part.initial(raw, name === 'native' ? this.#parts.counts : undefined);
      },
      complete: (audit) => this.#complete(name, audit?.seenVersion),
      change: (type, raw) => {
        if (!this.#turns.isOver) this.#change(name, type, raw);
      },
      settle: () => this.#settle(name),
      get busy() {
        return turns.busy;
      },
    };
  }

  /** Every resource was listed, or is not to be had, and the store holds it. */
  get isCommitted(): boolean {
    return this.#isCommitted;
  }

  /** Objects with refused fields. */
  get refusedObjects(): number {
    return PARTS.reduce((sum, name) => sum + this.#parts[name].refused.size, 0);
  }

  /** The first refusal that is kept, for a person to begin with. */
  get firstRefusal(): string | undefined {
    for (const name of PARTS) for (const text of this.#parts[name].refusals()) return text;
    return undefined;
  }

  /** Objects that a part holds. */
  size(name: PartName): number {
    return this.#parts[name].held.size;
  }

  /** Resolves when the exports are known, so that native slices that cannot count need not be kept. */
  get exportsKnown(): Promise<void> {
    return this.#parts.exports.settled;
  }

  /** Nothing is written from now on. */
  close(): void {
    this.#turns.end();
    this.#parts.exports.settle();
  }

  /** A list of a service's native slices ('': of all) that runs beside the watch. */
  beginAdoption(service: ServiceKey): Adoption {
    return this.#adoptions.begin(service);
  }

  #change(name: PartName, type: ChangeType, raw: unknown): void {
    const part = this.#parts[name];
    const change = part.read(raw);
    if (change === undefined) return;
    const { key, held, object } = change;
    if (part.isOld(key, held.version)) return;
    if (name === 'native') this.#adoptions.touch(key);
    const counts = type !== 'DELETED' && (name !== 'native' || object === undefined || this.#parts.counts(object));
    if (counts) part.note(change);
    else part.refused.delete(key);
    if (!counts || object === undefined) {
      part.bury(key, held.version);
      const before = part.held.get(key);
      if (before === undefined) return;
      part.held.delete(key);
      this.#parts.remove(part, key);
      if (name === 'exports') this.#unexport(before.service);
      return;
    }
    const isNew = !part.held.has(key);
    part.hold(key, held);
    this.#parts.put(part, key, object);
    if (name === 'exports' && isNew) this.#export(held.service);
  }

  #export(service: ServiceKey): void {
    if (!this.#isCommitted || this.#isListingNative) this.#exportedEarly.add(service);
    if (this.#isCommitted) this.#options.onExport(service);
  }

  #unexport(service: ServiceKey): void {
    const { native } = this.#parts;
    this.#exportedEarly.delete(service);
    if (native.staged !== undefined) return;
    for (const slice of this.#options.store.slicesOf(this.#options.cluster, service)) {
      const key = serviceKey(slice.namespace, slice.name);
      const held = native.held.get(key);
      if (slice.form !== 'native' || held === undefined) continue;
      native.bury(key, held.version);
      native.held.delete(key);
      native.refused.delete(key);
      this.#parts.remove(native, key);
    }
  }

  async #settle(name: PartName): Promise<void> {
    const part = this.#parts[name];
    if (this.#turns.isOver || part.isSettled) return;
    part.staged ??= new Map();
    this.#parts.keep(name);
    part.settle();
    await this.#commitAll();
  }

  async #complete(name: PartName, seenVersion: string | undefined): Promise<'taken' | 'held'> {
    while (this.#turns.busy !== undefined) await this.#turns.busy;
    const part = this.#parts[name];
    if (this.#turns.isOver) return 'taken';
    if (!this.#isCommitted) {
      const before = part.isSettled ? part.held : undefined;
      part.take();
      part.settle();
      if (name === 'exports' && before !== undefined) this.#exportNew(before);
      if (name === 'native') this.#isListingNative = false;
      return this.#commitAll();
    }
    if (part.isHeldBack()) return 'held';
    if (seenVersion !== undefined) this.#options.onAudit(name, part.missed(Number(seenVersion)));
    await this.#turns.alone(() => this.#swap(name));
    return 'taken';
  }

  /** Makes a part in the store what its list said. */
  async #swap(name: PartName): Promise<void> {
    const part = this.#parts[name];
    const before = part.held;
    const objects = part.takeShadow();
    if (name === 'native') this.#adoptions.overtake();
    await this.#putAll(name, objects);
    if (this.#turns.isOver) return;
    if (name === 'exports') this.#exportNew(before);
    for (const [key, held] of before) {
      if (part.held.has(key) || (name === 'native' && this.#carry(key, held))) continue;
      this.#parts.remove(part, key);
      if (name === 'exports') this.#unexport(held.service);
    }
    if (name !== 'native') return;
    this.#isListingNative = false;
    this.#listExportedEarly();
  }

  #exportNew(before: ReadonlyMap<string, Held>): void {
    for (const [key, { service }] of this.#parts.exports.held) if (!before.has(key)) this.#export(service);
  }

  #listExportedEarly(): void {
    for (const service of this.#exportedEarly) this.#options.onExport(service);
    if (!this.#isListingNative) this.#exportedEarly.clear();
  }

  #carry(key: string, held: Held): boolean {
    if (!this.#exportedEarly.has(held.service)) return false;
    this.#adoptions.carry(key, held);
    return true;
  }

  /** Swaps the whole generation in, once every part is settled. */
  async #commitAll(): Promise<'taken' | 'held'> {
    if (this.#isCommitted || PARTS.some((name) => !this.#parts[name].isSettled)) return 'taken';
    const { cluster, store, limits, isBelieved, onHeld, onCommitting, onCommit } = this.#options;
    this.#keepUnlisted();
    const names = this.#parts.services();
    const before = store.keysOf(cluster);
    const missing = before.filter((key) => !names.has(key)).length;
    if (!isBelieved && isMassDelete(missing, before.length, limits)) {
      onHeld(missing, before.length);
      return 'held';
    }
    onCommitting();
    await this.#turns.alone(async () => {
      for (const name of PARTS) {
        const part = this.#parts[name];
        const objects = part.staged ?? new Map<string, FleetObject>();
        part.staged = undefined;
        await this.#putAll(name, objects);
        if (this.#turns.isOver) return;
      }
      // What is in the store from a snapshot or from the generation before, and was not listed.
      const gone = [...store.objectsOf(cluster)].filter((object) => !this.#stays(object));
      for (const { kind, object } of gone) store.remove(cluster, kind, object.namespace, object.name);
      this.#isCommitted = true;
    });
    if (this.#turns.isOver) return 'taken';
    onCommit();
    this.#listExportedEarly();
    return 'taken';
  }

  #keepUnlisted(): void {
    const { exports } = this.#parts;
    if (!exports.isListed) for (const service of this.#parts.keep('exports')) this.#exportedEarly.add(service);
    for (const name of PARTS) if (name !== 'exports' && !this.#parts[name].isListed) this.#parts.keep(name);
  }

  #stays(each: FleetObject): boolean {
    if (this.#parts.holds(each)) return true;
    const { kind, object } = each;
    const isNative = kind === 'EndpointSlice' && object.form === 'native';
    return (
      isNative && this.#carry(serviceKey(object.namespace, object.name), { version: NaN, service: serviceOf(each) })
    );
  }

  /** Puts what a list brought into the store; exports in one go, as each of them makes its cluster speak for itself. */
  async #putAll(name: PartName, objects: ReadonlyMap<string, FleetObject>): Promise<void> {
    const part = this.#parts[name];
    if (name === 'exports') for (const [key, object] of objects) this.#parts.put(part, key, object);
    else {
      await this.#turns.each(objects, ([key, object]) => {
        // Its service was exported when it was read, and is no more.
        if (name === 'native' && !this.#parts.counts(object)) part.held.delete(key);
        else this.#parts.put(part, key, object);
      });
    }
  }
}
