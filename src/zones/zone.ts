// A zone: the one owner of what stands in its image. Services are put and removed whole; namespaces come and go with
// them; a change is answered at once and sealed into a version with a serial at most once a second.
// Pure of clock and I/O: the caller gives the time. Level-based: putting what is there already changes nothing.

import { zoneMode } from '../dns/image.ts';
import { draftApex, draftSchemaVersion, nameServerNames, zoneRowOf } from './apex.ts';
import type { ZoneSettings } from './apex.ts';
import { ImageFullError } from './arena.ts';
import { ServiceCompiler } from './compile.ts';
import { Draft } from './draft.ts';
import type { ImageWriter } from './image-writer.ts';
import { serviceKey } from './objects.ts';
import type { MergedService, ServiceKey } from './objects.ts';
import { nameToWire } from './wire.ts';

/** 2020-01-01T00:00:00Z in seconds since 1970: serials count from there, four a second. */
const SERIAL_EPOCH = 1_577_836_800;
const SERIALS_A_SECOND = 4;
const NUMBER = 0;
/** A clock that is behind the last serial by more than this was set back: serials then rise without it. */
const SET_BACK_SECONDS = 60;

export class Zone {
  readonly writer: ImageWriter;
  readonly settings: ZoneSettings;
  private readonly replica: number;
  private readonly draft = new Draft();
  private readonly compiler: ServiceCompiler;
  /** References of the entries of every service that has a name, in the order in which they were published. */
  private readonly services = new Map<ServiceKey, Int32Array>();
  /** How many services with a name each namespace has, and the entry of `<namespace>.svc`. */
  private readonly namespaces = new Map<string, { services: number; reference: number }>();
  private svcReference = 0;
  private mode: number = zoneMode.UNKNOWN;
  private changed = true;
  /** Of the last version; before the first one only its residue, the replica, means something. */
  serial: number;

  /** `replica`: 0 to 3, so that two replicas never give one serial to two contents. */
  constructor(writer: ImageWriter, settings: ZoneSettings, replica = 0) {
    this.writer = writer;
    this.settings = settings;
    this.replica = replica;
    this.serial = replica;
    const apex = nameToWire(settings.zone);
    this.compiler = new ServiceCompiler(writer, this.draft, { number: NUMBER, apex, ttlSeconds: settings.ttlSeconds });
    draftSchemaVersion(this.draft, NUMBER, settings.zone);
    writer.put(this.draft);
    for (const [name, addresses] of nameServerNames(settings)) {
      if (name !== settings.zone) this.putHost(name, addresses);
    }
    writer.publish();
  }

  /**
   * Makes the zone's names of this service those of `service`; undefined, or one without records: it has none.
   * Throws ImageFullError, and then what stood goes on standing.
   */
  apply(namespace: string, name: string, service: MergedService | undefined): void {
    const key = serviceKey(namespace, name);
    const before = this.services.get(key);
    if (before === undefined && service === undefined) return;
    const now = service === undefined ? NONE : this.prepare(namespace, service, before === undefined);
    if (before !== undefined) this.removeMissing(before, now);
    if (now.length > 0) this.services.set(key, now);
    else if (this.services.delete(key)) this.leave(namespace);
    if (!sameReferences(before, now)) this.changed = true;
    this.writer.commit();
  }

  /** Publishes the service's entries, and those of its namespace where it is new; all of it or nothing. */
  private prepare(namespace: string, service: MergedService, isNew: boolean): Int32Array {
    // Its namespace first: a name's ancestors exist from the moment it does.
    let isPublished = false;
    try {
      if (isNew) this.enter(namespace);
      const references = this.compiler.compile(service);
      if (references.length > 0) {
        this.writer.publish();
        isPublished = true;
      }
      return Int32Array.from(references);
    } finally {
      if (!isPublished) {
        if (isNew) this.leave(namespace);
        this.writer.discard();
      }
    }
  }

  /** Services that have a name now. */
  get size(): number {
    return this.services.size;
  }

  serviceKeys(): Iterable<ServiceKey> {
    return this.services.keys();
  }

  /** What a missing name of a service's shape gets: SERVFAIL while a cluster that could know has not synced. */
  setUnknown(unknown: boolean): void {
    const mode = unknown ? zoneMode.UNKNOWN : zoneMode.NXDOMAIN;
    if (mode === this.mode) return;
    this.mode = mode;
    try {
      this.showRow();
    } catch (error) {
      if (!(error instanceof ImageFullError)) throw error;
      // The next version shows it.
      this.changed = true;
    }
  }

  /**
   * Gives what changed since the last version a serial, and says whether it did; `nowSeconds` since 1970. There is one
   * version a second of the clock at most, so that serials never run ahead of it: a restarted process begins above.
   * Where the image is full the last version stands until a later call finds room.
   */
  seal(nowSeconds: number): boolean {
    const before = this.serial;
    const byClock = SERIALS_A_SECOND * Math.floor(nowSeconds - SERIAL_EPOCH) + this.replica;
    const isSetBack = byClock < before - SERIALS_A_SECOND * SET_BACK_SECONDS;
    const isFirst = before === this.replica;
    if (!this.changed || (byClock <= before && !isSetBack && !isFirst)) return false;
    this.serial = Math.max(byClock, before + SERIALS_A_SECOND) >>> 0;
    try {
      draftApex(this.draft, NUMBER, this.settings, this.serial);
      this.writer.put(this.draft);
      this.showRow();
    } catch (error) {
      this.writer.discard();
      this.serial = before;
      if (error instanceof ImageFullError) return false;
      throw error;
    }
    this.changed = false;
    return true;
  }

  /** Shows the zone table, then what was put. */
  private showRow(): void {
    this.writer.setZones([zoneRowOf(this.settings, this.serial, this.mode)]);
    this.writer.publish();
    this.writer.commit();
  }

  private enter(namespace: string): void {
    const there = this.namespaces.get(namespace);
    if (there !== undefined) {
      there.services++;
      return;
    }
    const { zone } = this.settings;
    if (this.namespaces.size === 0) this.svcReference = this.putHost(`svc.${zone}`, []);
    const reference = this.putHost(`${namespace}.svc.${zone}`, []);
    this.namespaces.set(namespace, { services: 1, reference });
  }

  private leave(namespace: string): void {
    const there = this.namespaces.get(namespace);
    if (there === undefined || --there.services > 0) return;
    this.namespaces.delete(namespace);
    this.writer.remove(there.reference);
    if (this.namespaces.size === 0) this.writer.remove(this.svcReference);
  }

  /** Publishes a name with addresses or, without any, an empty non-terminal. */
  private putHost(name: string, addresses: readonly string[]): number {
    const { draft } = this;
    const v4 = addresses.filter((address) => !address.includes(':'));
    const v6 = addresses.filter((address) => address.includes(':'));
    draft.begin(NUMBER, 0);
    draft.wire(nameToWire(name));
    draft.endName();
    if (v4.length > 0) draft.addressSet(v4, 4);
    if (v6.length > 0) draft.addressSet(v6, 6);
    return this.writer.put(draft);
  }

  /** Takes out the entries that stood before and do not now, the last published first: an SRV goes before its target. */
  private removeMissing(before: Int32Array, now: Int32Array): void {
    if (sameReferences(before, now)) return;
    const standing = now.slice().sort();
    for (let i = before.length - 1; i >= 0; i--) {
      if (!hasSorted(standing, before[i]!)) this.writer.remove(before[i]!);
    }
  }
}

const NONE = new Int32Array(0);

function hasSorted(sorted: Int32Array, value: number): boolean {
  let from = 0;
  let end = sorted.length;
  while (from < end) {
    const middle = (from + end) >>> 1;
    if (sorted[middle]! < value) from = middle + 1;
    else end = middle;
  }
  return sorted[from] === value;
}

function sameReferences(before: Int32Array | undefined, now: Int32Array): boolean {
  if (before === undefined) return now.length === 0;
  return before.length === now.length && before.every((reference, i) => reference === now[i]);
}
