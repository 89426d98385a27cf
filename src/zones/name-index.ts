// The writer's side of the image's index: insert, replace, remove, and growth in steps while readers go on reading.
// While it grows there are two tables; readers see the old one until the new one is complete, and the writer keeps both
// true. Invariant: a name that is in the zone is in the table that readers see, at every instant.

import { entry, header, index } from '../dns/image.ts';
import { ImageFullError, wholePages } from './arena.ts';
import type { Arena } from './arena.ts';

const LEAST_SLOTS = 1024;
/** A new table is begun when this share of the slots is taken, by names or by removed ones. */
const FULL = 5 / 8;
/** Slots copied with each change: the new table is complete before the old one is 11/16 full. */
const STEP_SLOTS = 16;
/** Where the image has no room for a new table, names are taken up to this share of the slots. */
const BRIM = 7 / 8;

/** One table: where it stands and how full it is. */
interface Table {
  readonly block: number;
  readonly mask: number;
  /** Slots that are not free: live and removed. */
  taken: number;
}

export class NameIndex {
  /** Names in the index. */
  size = 0;
  private readonly arena: Arena;
  private current: Table;
  private next: Table | undefined;
  /** Slots of `current` below this are in `next`. */
  private copied = 0;

  constructor(arena: Arena) {
    this.arena = arena;
    this.current = this.create(LEAST_SLOTS);
    this.show();
  }

  /** Reference of the entry with this name (`octets` of it, zero-padded words from `nameAt` of `name`), or 0. */
  find(hash: number, octets: number, name: Int32Array, nameAt: number): number {
    const slot = this.slotOf(this.current, hash, octets, name, nameAt);
    return slot < 0 ? 0 : this.arena.views.words[slot + 1]!;
  }

  /** Makes sure that `names` new names will be taken. Throws ImageFullError where there is no room for them. */
  reserve(names: number): void {
    const { mask, taken } = this.next ?? this.current;
    // While a table is filled, the names that it will still take over count too (some of them twice).
    const wanted = taken + names + (this.next === undefined ? 0 : this.size);
    if (wanted <= (mask + 1) * FULL) return;
    let slots = mask + 1;
    let octets = 0;
    while (wanted > slots * FULL) {
      slots *= 2;
      octets += wholePages(tableOctets(slots));
    }
    if (octets > this.arena.room && wanted > (mask + 1) * BRIM) throw new ImageFullError(this.arena.bound);
  }

  /** Publishes an entry under its own name, whose hash is `hash`, and returns the reference that it replaced, or 0. */
  put(hash: number, reference: number): number {
    this.step();
    if (this.next !== undefined) this.store(this.next, hash, reference);
    const replaced = this.store(this.current, hash, reference);
    if (replaced === 0) this.size++;
    return replaced;
  }

  /** Takes the name of this entry out if the entry is the one that stands for it; says whether it was. */
  remove(hash: number, reference: number): boolean {
    this.step();
    if (!this.erase(this.current, hash, reference)) return false;
    if (this.next !== undefined) this.erase(this.next, hash, reference);
    this.size--;
    return true;
  }

  /** Every entry's reference, in the order of the slots. Valid until the next change. */
  *references(): Generator<number> {
    const words = this.arena.views.words;
    const first = (this.current.block >> 2) + index.SLOTS;
    for (let slot = 0; slot <= this.current.mask; slot++) {
      const reference = words[first + slot * 2 + 1]!;
      if (reference > 0) yield reference;
    }
  }

  /** Mean slots looked at for a name that is there, over a sample of entries; the bench's measure of chains. */
  meanProbes(sample: number): number {
    const words = this.arena.views.words;
    const { block, mask } = this.current;
    const first = (block >> 2) + index.SLOTS;
    let probes = 0;
    let names = 0;
    for (let slot = 0; slot <= mask && names < sample; slot++) {
      if (words[first + slot * 2 + 1]! <= 0) continue;
      probes += ((slot - words[first + slot * 2]!) & mask) + 1;
      names++;
    }
    return names === 0 ? 0 : probes / names;
  }

  private create(slots: number): Table {
    const block = this.arena.allocateTable(tableOctets(slots));
    const words = this.arena.views.words;
    words[(block >> 2) + index.MASK] = slots - 1;
    return { block, mask: slots - 1, taken: 0 };
  }

  private show(): void {
    Atomics.store(this.arena.views.words, header.INDEX, this.current.block);
  }

  /** The word of the slot of this name, or -1. */
  private slotOf(table: Table, hash: number, octets: number, name: Int32Array, nameAt: number): number {
    const words = this.arena.views.words;
    const first = (table.block >> 2) + index.SLOTS;
    for (let slot = hash & table.mask, probes = 0; probes <= table.mask; slot = (slot + 1) & table.mask, probes++) {
      const at = first + slot * 2;
      const reference = words[at + 1]!;
      if (reference === 0) return -1;
      if (reference > 0 && words[at] === hash && sameName(words, reference >> 2, octets, name, nameAt)) return at;
    }
    throw noFreeSlot();
  }

  private store(table: Table, hash: number, reference: number): number {
    const words = this.arena.views.words;
    const first = (table.block >> 2) + index.SLOTS;
    let removed = -1;
    for (let slot = hash & table.mask, probes = 0; probes <= table.mask; slot = (slot + 1) & table.mask, probes++) {
      const at = first + slot * 2;
      const there = words[at + 1]!;
      if (there > 0) {
        // The entry itself is looked at only where the hashes agree: it stands anywhere in memory.
        if (
          words[at] !== hash ||
          !sameName(words, there >> 2, words[reference >> 2]! & 0xff, words, (reference >> 2) + entry.NAME)
        )
          continue;
        Atomics.store(words, at + 1, reference);
        return there;
      }
      if (there === index.REMOVED) {
        if (removed < 0) removed = at;
        continue;
      }
      // The hash first: a reader that sees the reference sees its hash.
      const place = removed < 0 ? at : removed;
      if (removed < 0) table.taken++;
      words[place] = hash;
      Atomics.store(words, place + 1, reference);
      return 0;
    }
    throw noFreeSlot();
  }

  private erase(table: Table, hash: number, reference: number): boolean {
    const words = this.arena.views.words;
    const first = (table.block >> 2) + index.SLOTS;
    for (let slot = hash & table.mask, probes = 0; probes <= table.mask; slot = (slot + 1) & table.mask, probes++) {
      const at = first + slot * 2 + 1;
      const there = words[at]!;
      if (there === 0) return false;
      if (there !== reference) continue;
      Atomics.store(words, at, index.REMOVED);
      return true;
    }
    throw noFreeSlot();
  }

  /** Begins a new table where 5/8 of this one is taken, and carries some slots over; the last step shows it. */
  private step(): void {
    const { current } = this;
    if (this.next === undefined) {
      if (current.taken <= current.mask * FULL) return;
      // Every change until the last slot is carried over can bring a name more.
      const names = this.size + (current.mask + 1) / STEP_SLOTS;
      let slots = LEAST_SLOTS;
      while (slots < names * 2) slots *= 2;
      try {
        this.next = this.create(slots);
      } catch (error) {
        // `reserve` has seen to it that this table is enough.
        if (error instanceof ImageFullError) return;
        throw error;
      }
      this.copied = 0;
    }
    const words = this.arena.views.words;
    const first = (current.block >> 2) + index.SLOTS;
    const end = Math.min(this.copied + STEP_SLOTS, current.mask + 1);
    for (; this.copied < end; this.copied++) {
      const reference = words[first + this.copied * 2 + 1]!;
      if (reference > 0) this.store(this.next, words[first + this.copied * 2]!, reference);
    }
    if (this.copied <= current.mask) return;
    this.current = this.next;
    this.next = undefined;
    this.show();
    this.arena.retireTable(current.block);
  }
}

/** `step` and `reserve` keep slots free in every table, so that every chain ends; without one the writer would hang. */
function noFreeSlot(): Error {
  return new Error('the index has no free slot');
}

function tableOctets(slots: number): number {
  return (index.SLOTS + slots * 2) * 4;
}

function sameName(words: Int32Array, at: number, octets: number, name: Int32Array, nameAt: number): boolean {
  if ((words[at + entry.HEAD]! & 0xff) !== octets) return false;
  for (let i = (octets - 1) >> 2; i >= 0; i--) if (words[at + entry.NAME + i] !== name[nameAt + i]) return false;
  return true;
}
