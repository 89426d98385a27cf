// A zone: the one owner of what stands in its image. Services are put and removed whole; namespaces come and go with
// them; a change is answered at once and sealed into a version with a serial at most once a second.
// Pure of clock and I/O: the caller gives the time. Level-based: putting what is there already changes nothing.

import { zoneMode } from '../dns/image.ts';
import { draftApex, draftSchemaVersion, nameServerNames, zoneRowOf } from './apex.ts';
import type { ZoneSettings } from './apex.ts';
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

export class Zone {
  readonly writer: ImageWriter;
  readonly settings: ZoneSettings;
  private readonly replica: number;
  private readonly draft = new Draft();
  private readonly compiler: ServiceCompiler;
  /** References of the entries of every service that has a name, sorted. */
  private readonly services = new Map<ServiceKey, Int32Array>();
  /** How many services with a name each namespace has, and the entry of `<namespace>.svc`. */
  private readonly namespaces = new Map<string, { services: number; reference: number }>();
  private svcReference = 0;
  private mode: number = zoneMode.UNKNOWN;
  private changed = true;
  serial = 0;

  /** `replica`: 0 to 3, so that two replicas never give one serial to two contents. */
  constructor(writer: ImageWriter, settings: ZoneSettings, replica = 0) {
    this.writer = writer;
    this.settings = settings;
    this.replica = replica;
    const apex = nameToWire(settings.zone);
    this.compiler = new ServiceCompiler(writer, this.draft, { number: NUMBER, apex, ttlSeconds: settings.ttlSeconds });
    draftSchemaVersion(this.draft, NUMBER, settings.zone);
    writer.put(this.draft);
    for (const [name, addresses] of nameServerNames(settings)) {
      if (name !== settings.zone) this.putHost(name, addresses);
    }
  }

  /** Makes the zone's names of this service those of `service`; undefined, or one without records: it has none. */
  apply(namespace: string, name: string, service: MergedService | undefined): void {
    const key = serviceKey(namespace, name);
    const before = this.services.get(key);
    // Its namespace first: a name's ancestors exist from the moment it does.
    if (before === undefined && service === undefined) return;
    if (before === undefined) this.enter(namespace);
    let references: Int32Array = new Int32Array(0);
    try {
      if (service !== undefined) references = Int32Array.from(this.compiler.compile(service)).sort();
    } catch (error) {
      // The image is full: what stood goes on standing, with what could be published, and all of it stays removable.
      const standing = [...(before ?? []), ...this.compiler.published].filter((r) => this.writer.holds(r));
      this.keep(key, namespace, before, Int32Array.from(new Set(standing)).sort());
      throw error;
    }
    if (before !== undefined) this.removeMissing(before, references);
    this.keep(key, namespace, before, references);
  }

  private keep(key: ServiceKey, namespace: string, before: Int32Array | undefined, references: Int32Array): void {
    if (references.length > 0) this.services.set(key, references);
    else {
      this.services.delete(key);
      this.leave(namespace);
    }
    if (!sameReferences(before, references)) this.changed = true;
    this.writer.commit();
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
    if (mode === this.mode && this.serial !== 0) return;
    this.mode = mode;
    this.showRow();
  }

  /** Gives what changed since the last version a serial; `nowSeconds` since 1970. Says whether there was anything. */
  seal(nowSeconds: number): boolean {
    if (!this.changed) return false;
    this.changed = false;
    const byClock = SERIALS_A_SECOND * Math.floor(nowSeconds - SERIAL_EPOCH) + this.replica;
    this.serial = Math.max(byClock, this.serial + SERIALS_A_SECOND) >>> 0;
    draftApex(this.draft, NUMBER, this.settings, this.serial);
    this.writer.put(this.draft);
    this.showRow();
    return true;
  }

  private showRow(): void {
    this.writer.setZones([zoneRowOf(this.settings, this.serial, this.mode)]);
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
    if (v4.length > 0) draft.addressSet(v4, 4, v6.length > 0);
    if (v6.length > 0) draft.addressSet(v6, 6, v4.length > 0);
    return this.writer.put(draft);
  }

  /** Takes out the entries that stood before and are not among those that stand now; both are sorted. */
  private removeMissing(before: Int32Array, now: Int32Array): void {
    let n = 0;
    for (const reference of before) {
      while (n < now.length && now[n]! < reference) n++;
      if (now[n] !== reference) this.writer.remove(reference);
    }
  }
}

function sameReferences(before: Int32Array | undefined, now: Int32Array): boolean {
  if (before === undefined) return now.length === 0;
  return before.length === now.length && before.every((reference, i) => reference === now[i]);
}
