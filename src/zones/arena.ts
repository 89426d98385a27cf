// Memory of the zone image: blocks by size class, used again once no reader can hold them. Writer's side only.
// Epochs: a block retired in epoch e may be given out again when the writer's epoch has passed e and no online reader
// entered in an epoch <= e. Blocked workers are offline, so they hold nothing back (design: RCU by quiescent states).

import {
  ARENA_OCTET,
  ImageViews,
  MAX_IMAGE_OCTETS,
  MAX_READERS,
  createImageBuffer,
  header,
  readerWord,
} from '../dns/image.ts';

/** Blocks are multiples of this, so references are too. */
const GRAIN = 8;
/** Sizes up to this have a class for each multiple of the grain; above it four classes a doubling. */
const FINE_OCTETS = 1024;
const FINE_CLASSES = FINE_OCTETS / GRAIN;
const CLASSES = FINE_CLASSES + 1 + 4 * 21;
/** The buffer grows by an eighth of itself, within these bounds. */
const LEAST_GROWTH = 1 << 20;
const MOST_GROWTH = 32 << 20;
/** Blocks from this size on are not cut from the region that small ones come from. */
const LARGE_OCTETS = 65_536;
/** The buffer grows by whole pages of the kernel. */
const PAGE_OCTETS = 4096;
/** Stands for a class in the queue: an index table, whose octets stand in `tables`. */
const TABLE_CLASS = -1;
/** Words of one retired block in the queue: reference, class, epoch. */
const RETIRED_WORDS = 3;

/** Thrown when the image has reached its bound; the caller keeps the last good state. */
export class ImageFullError extends Error {
  constructor(bound: number) {
    super(`the zone image has reached its bound of ${String(bound)} octets`);
  }
}

/** The size class of a block of so many octets. */
function classOf(octets: number): number {
  if (octets <= FINE_OCTETS) return (octets + GRAIN - 1) >> 3;
  const power = 31 - Math.clz32(octets - 1);
  const quarter = ((octets - 1) >> (power - 2)) & 3;
  return FINE_CLASSES + 1 + (power - 10) * 4 + quarter;
}

/** Octets of the blocks of a class: the largest size that falls into it. */
function sizeOf(sizeClass: number): number {
  if (sizeClass <= FINE_CLASSES) return sizeClass * GRAIN;
  const step = sizeClass - FINE_CLASSES - 1;
  return (5 + (step & 3)) << (8 + (step >> 2));
}

/** Octets that the buffer grows by for a block of so many. */
export function wholePages(octets: number): number {
  return Math.ceil(octets / PAGE_OCTETS) * PAGE_OCTETS;
}

export class Arena {
  readonly views: ImageViews;
  /** Octets given out and not retired, rounded to their classes. */
  used = 0;
  private bump = ARENA_OCTET;
  private bumpEnd: number;
  /** First free block of each class; the next one's reference stands in its first word. */
  private readonly free = new Int32Array(CLASSES);
  /** Octets of every index table by its block. */
  private readonly tables = new Map<number, number>();
  /** Former index tables that no reader can hold: taken again by a table of their size, else cut into small blocks. */
  private readonly formerTables: { readonly block: number; readonly octets: number }[] = [];
  /** Queue of retired blocks, a ring. */
  private retired = new Int32Array(RETIRED_WORDS * 1024);
  private retiredHead = 0;
  private retiredCount = 0;

  /** Octets that the buffer may have. */
  readonly bound: number;

  constructor(seed: number, bound = MAX_IMAGE_OCTETS) {
    const buffer = createImageBuffer(1 << 20);
    this.bound = bound;
    this.views = new ImageViews(buffer);
    this.bumpEnd = buffer.byteLength;
    const words = this.views.words;
    words[header.SEED] = seed;
    words[header.LENGTH] = buffer.byteLength;
    words[header.EPOCH] = 1;
  }

  get buffer(): SharedArrayBuffer {
    return this.views.buffer;
  }

  /** Octets retired and not yet used again. */
  get garbage(): number {
    let octets = 0;
    for (let i = 0; i < this.retiredCount; i++) {
      const at = this.retiredAt(i);
      octets += this.octetsOf(this.retired[at]!, this.retired[at + 1]!);
    }
    return octets;
  }

  /** A block of at least so many octets; its content is anything. Throws ImageFullError. */
  allocate(octets: number): number {
    const sizeClass = classOf(octets);
    let block = this.free[sizeClass]!;
    if (block === 0 && this.retiredCount > 0) {
      this.reclaim();
      block = this.free[sizeClass]!;
    }
    const size = sizeOf(sizeClass);
    if (block !== 0) this.free[sizeClass] = this.views.words[block >> 2]!;
    else block = size < LARGE_OCTETS ? this.cut(size) : this.grow(size);
    this.used += size;
    return block;
  }

  /** A zeroed block of exactly so many octets, a multiple of the grain, for an index table. Throws ImageFullError. */
  allocateTable(octets: number): number {
    this.reclaim();
    const former = this.formerTables.findIndex((table) => table.octets === octets);
    let block: number;
    if (former < 0) block = this.grow(octets);
    else {
      block = this.formerTables.splice(former, 1)[0]!.block;
      this.views.octets.fill(0, block, block + octets);
    }
    this.tables.set(block, octets);
    this.used += octets;
    return block;
  }

  /** Gives a block back; readers that are online may go on reading it. `octets` as it was allocated. */
  retire(block: number, octets: number): void {
    this.enqueue(block, classOf(octets));
  }

  /** The same for an index table. */
  retireTable(block: number): void {
    this.enqueue(block, TABLE_CLASS);
  }

  private enqueue(block: number, sizeClass: number): void {
    this.used -= this.octetsOf(block, sizeClass);
    if (this.retiredCount * RETIRED_WORDS === this.retired.length) this.enlargeQueue();
    const at = this.retiredAt(this.retiredCount++);
    this.retired[at] = block;
    this.retired[at + 1] = sizeClass;
    this.retired[at + 2] = this.views.words[header.EPOCH]!;
  }

  private octetsOf(block: number, sizeClass: number): number {
    return sizeClass === TABLE_CLASS ? this.tables.get(block)! : sizeOf(sizeClass);
  }

  /** Takes back a block that no reader was ever shown. */
  release(block: number, octets: number): void {
    const sizeClass = classOf(octets);
    this.used -= sizeOf(sizeClass);
    this.views.words[block >> 2] = this.free[sizeClass]!;
    this.free[sizeClass] = block;
  }

  /** Octets that the buffer may still grow by. */
  get room(): number {
    return this.bound - this.views.length;
  }

  /** Ends an epoch: what was retired so far waits only for readers that entered before now. Once a publication. */
  advance(): void {
    if (this.retiredCount === 0) return;
    const next = (this.views.words[header.EPOCH]! + 1) | 0;
    // 0 means offline in a reader's cell, so it is no epoch.
    Atomics.store(this.views.words, header.EPOCH, next === 0 ? 1 : next);
  }

  /** Moves the retired blocks that no reader can hold to the free lists. */
  private reclaim(): void {
    const words = this.views.words;
    const epoch = words[header.EPOCH]!;
    // Distances back from the current epoch, so that the number may wrap.
    let oldest = 0;
    for (let reader = 0; reader < MAX_READERS; reader++) {
      const entered = Atomics.load(words, readerWord(reader));
      if (entered !== 0) oldest = Math.max(oldest, (epoch - entered) | 0);
    }
    while (this.retiredCount > 0) {
      const at = this.retiredHead * RETIRED_WORDS;
      if (((epoch - this.retired[at + 2]!) | 0) <= oldest) return;
      const sizeClass = this.retired[at + 1]!;
      const block = this.retired[at]!;
      if (sizeClass === TABLE_CLASS) {
        this.formerTables.push({ block, octets: this.tables.get(block)! });
        this.tables.delete(block);
      } else {
        words[block >> 2] = this.free[sizeClass]!;
        this.free[sizeClass] = block;
      }
      this.retiredHead = (this.retiredHead + 1) % (this.retired.length / RETIRED_WORDS);
      this.retiredCount--;
    }
  }

  /** A small block from the region in use; when that is used up, from a former index table or from growth. */
  private cut(size: number): number {
    if (this.bump + size > this.bumpEnd) {
      const former = this.formerTables.findIndex((table) => table.octets >= LARGE_OCTETS);
      const table = former < 0 ? undefined : this.formerTables.splice(former, 1)[0]!;
      const step = Math.min(Math.max(this.views.length >> 3, LEAST_GROWTH), MOST_GROWTH);
      const growth = Math.max(size, Math.min(step, this.room));
      const octets = table?.octets ?? growth;
      const block = table?.block ?? this.grow(growth);
      this.shelve(this.bump, this.bumpEnd);
      this.bump = block;
      this.bumpEnd = block + octets;
    }
    const block = this.bump;
    this.bump += size;
    return block;
  }

  /** A new, zeroed block at the buffer's end: none straddles a former end (ImageViews). */
  private grow(size: number): number {
    const length = this.views.length;
    const grown = length + wholePages(size);
    if (grown > this.bound) throw new ImageFullError(this.bound);
    this.buffer.grow(grown);
    this.views.refresh();
    Atomics.store(this.views.words, header.LENGTH, grown);
    return length;
  }

  /** Gives what is left of a region, less than a small block, to the free lists. */
  private shelve(from: number, end: number): void {
    while (end - from >= GRAIN) {
      const sizeClass = Math.min((end - from) >> 3, FINE_CLASSES);
      this.views.words[from >> 2] = this.free[sizeClass]!;
      this.free[sizeClass] = from;
      from += sizeClass * GRAIN;
    }
  }

  private retiredAt(number: number): number {
    const capacity = this.retired.length / RETIRED_WORDS;
    return ((this.retiredHead + number) % capacity) * RETIRED_WORDS;
  }

  private enlargeQueue(): void {
    const larger = new Int32Array(this.retired.length * 2);
    const from = this.retiredHead * RETIRED_WORDS;
    larger.set(this.retired.subarray(from));
    larger.set(this.retired.subarray(0, from), this.retired.length - from);
    this.retired = larger;
    this.retiredHead = 0;
  }
}
