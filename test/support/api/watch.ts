// One open watch: initial events, then what changes, bookmarks between, and an end. What it sends obeys its selector: an
// object that leaves it is DELETED, one that enters it ADDED. Every line passes the faults of lines.

import type { FaultTable } from './faults.ts';
import { bookmarkLine, eventLine, objectJson } from './json.ts';
import type { Change, Stored } from './model.ts';
import type { ApiRequest } from './request.ts';
import type { ResourceName } from './resources.ts';
import { status } from './status.ts';
import type { Wire } from './wire.ts';

/** A client this far behind is cut off, as a kube-apiserver does. */
const PENDING_OCTETS = 64 * 1_024 * 1_024;
/** A last bookmark comes so long before a watch ends. */
const LAST_BOOKMARK_MILLIS = 2_000;

export interface WatchTerms {
  readonly request: ApiRequest;
  readonly resource: ResourceName;
  /** Only changes after this version are sent. */
  readonly from: number;
  readonly bookmarkMillis: number | undefined;
  readonly endMillis: number;
  readonly currentVersion: () => number;
}

export class Watch {
  readonly request: ApiRequest;
  readonly resource: ResourceName;
  readonly #terms: WatchTerms;
  readonly #wire: Wire;
  readonly #faults: FaultTable;
  readonly #timers: NodeJS.Timeout[] = [];
  /** What changes while the initial events are on their way. */
  #queue: Change[] | undefined = [];
  #held: Buffer[] = [];
  #isEndHeld = false;
  #isSilent = false;

  constructor(terms: WatchTerms, wire: Wire, faults: FaultTable) {
    this.request = terms.request;
    this.resource = terms.resource;
    this.#terms = terms;
    this.#wire = wire;
    this.#faults = faults;
  }

  /** Starts sending. With `endsInitialEvents` the bookmark that says so follows the objects. */
  async begin(objects: readonly Stored[], changes: readonly Change[], endsInitialEvents: boolean): Promise<void> {
    const { bookmarkMillis, endMillis, currentVersion, resource, request } = this.#terms;
    const version = currentVersion();
    this.#queue!.push(...changes);
    this.#timers.push(setTimeout(() => this.end('end'), endMillis));
    if (bookmarkMillis !== undefined) {
      this.#timers.push(setInterval(() => this.bookmark(), bookmarkMillis));
      if (endMillis > LAST_BOOKMARK_MILLIS) {
        this.#timers.push(setTimeout(() => this.bookmark(), endMillis - LAST_BOOKMARK_MILLIS));
      }
    }
    for (const object of objects) {
      if (!this.#matches(object)) continue;
      this.#send('ADDED', objectJson(resource, request.groupVersion, object));
      await this.#wire.ready();
    }
    if (endsInitialEvents) this.#line('BOOKMARK', bookmarkLine(resource, request.groupVersion, version, true));
    const queue = this.#queue!;
    this.#queue = undefined;
    for (const change of queue) this.offer(change);
  }

  offer(change: Change): void {
    if (this.#queue !== undefined) return void this.#queue.push(change);
    if (change.version <= this.#terms.from) return;
    const { before, after, version } = change;
    const was = before !== undefined && this.#matches(before);
    const is = after !== undefined && this.#matches(after);
    if (!was && !is) return;
    const object = objectJson(this.resource, this.request.groupVersion, is ? after : before!, version);
    this.#send(is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED', object);
  }

  /** Not one of a version before that of the request: so a real one is mute after its etcd was restored. */
  bookmark(): void {
    const version = this.#terms.currentVersion();
    if (this.#queue !== undefined || version < this.#terms.from) return;
    this.#line('BOOKMARK', bookmarkLine(this.resource, this.request.groupVersion, version, false));
  }

  error(code: number, parts: Parameters<typeof status>[1] = {}): void {
    this.#send('ERROR', Buffer.from(JSON.stringify(status(code, parts))));
  }

  /** Octets that no fault touches. */
  inject(octets: Buffer): void {
    this.#wire.write(octets);
  }

  /** What was kept back goes out. */
  release(): void {
    for (const line of this.#held.splice(0)) this.#wire.write(line);
    if (this.#isEndHeld) this.#wire.end();
  }

  /** `end`: the body's proper end; `fin`: the connection's, in the middle of the body. */
  end(how: 'end' | 'fin' | 'reset'): void {
    if (how !== 'end') this.#wire.destroy(how);
    else if (!this.#stops()) this.#wire.end();
    else this.#isEndHeld = !this.#isSilent;
  }

  /** Once its connection is gone. */
  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #matches(object: Stored): boolean {
    const { parts, selector } = this.request;
    return (parts!.namespace === '' || parts!.namespace === object.namespace) && selector!(object);
  }

  #send(type: string, object: Buffer): void {
    this.#line(type, eventLine(type, object));
  }

  #line(type: string, line: Buffer): void {
    if (this.#wire.isClosed) return;
    if (this.#stops()) {
      if (!this.#isSilent) this.#held.push(line);
      return;
    }
    if (this.#held.length > 0) this.release();
    if (this.#wire.pendingOctets > PENDING_OCTETS) return this.#wire.destroy('reset');
    for (const each of this.#faults.lines(this.request, line, type)) this.#wire.write(each);
  }

  /** Silence is for ever. */
  #stops(): boolean {
    const stop = this.#isSilent ? 'silent' : this.#faults.stops(this.request);
    this.#isSilent = stop === 'silent';
    return stop !== undefined;
  }
}
