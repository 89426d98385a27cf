// Native slices of services that were exported after the slices were listed: lists of them that run beside the watch. What
// the watch says meanwhile stands, and a newer list of all makes them void.
// Not here: asking for such a list (native-slices.ts), when one is needed (holdings.ts).

import type { ServiceKey } from '../zones/objects.ts';
import type { Held, Read } from './part.ts';
import type { Parts } from './parts.ts';
import type { Turns } from './turns.ts';

/** One list of slices. */
export interface Adoption {
  item(raw: unknown): void;
  /** Takes what the list gave; it is whole. */
  take(): Promise<void>;
  end(): void;
}

interface Running {
  /** Slices that the watch changed meanwhile. */
  readonly touched: Set<string>;
  isVoid: boolean;
}

export class Adoptions {
  readonly #parts: Parts;
  readonly #turns: Turns;
  readonly #running = new Set<Running>();
  /** Slices that stayed though a list of all lacked them: an adoption decides on them. */
  readonly #carried = new Set<string>();

  constructor(parts: Parts, turns: Turns) {
    this.#parts = parts;
    this.#turns = turns;
  }

  /** A list of a service's native slices; '': of all. */
  begin(service: ServiceKey): Adoption {
    const { native } = this.#parts;
    const running: Running = { touched: new Set(), isVoid: false };
    const listed = new Map<string, Read>();
    this.#running.add(running);
    return {
      item: (raw) => {
        const read = native.read(raw);
        if (read?.object !== undefined && this.#parts.counts(read.object)) listed.set(read.key, read);
      },
      take: () => this.#turns.alone(() => this.#take(service, listed, running)),
      end: () => this.#running.delete(running),
    };
  }

  /** The watch brought something of this slice. */
  touch(key: string): void {
    for (const { touched } of this.#running) touched.add(key);
    this.#carried.delete(key);
  }

  /** A list of all native slices is swapped in. */
  overtake(): void {
    for (const running of this.#running) running.isVoid = true;
    this.#carried.clear();
  }

  /** A slice stays that the list of all could not have, as its service was not exported then. */
  carry(key: string, held: Held): void {
    this.#parts.native.held.set(key, held);
    this.#carried.add(key);
  }

  async #take(service: ServiceKey, listed: ReadonlyMap<string, Read>, { touched, isVoid }: Running): Promise<void> {
    if (isVoid) return;
    const { native } = this.#parts;
    await this.#turns.each(listed.values(), (read) => {
      const { key, held, object } = read;
      if (object === undefined || touched.has(key) || native.isOld(key, held.version)) return;
      if (!this.#parts.counts(object)) return;
      native.hold(key, held);
      native.note(read);
      this.#parts.put(native, key, object);
    });
    if (this.#turns.isOver) return;
    for (const key of this.#carried) {
      if (service !== '' && native.held.get(key)?.service !== service) continue;
      this.#carried.delete(key);
      if (listed.has(key)) continue;
      native.held.delete(key);
      this.#parts.remove(native, key);
    }
  }
}
