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
const GRAIN = 16;
/** Sizes up to this have a class for each multiple of the grain; above it four classes a doubling. */
const FINE_OCTETS = 1024;
const FINE_CLASSES = FINE_OCTETS / GRAIN;
const CLASSES = FINE_CLASSES + 1 + 4 * 21;
/** The buffer grows by an eighth of itself, within these bounds. */
const LEAST_GROWTH = 1 << 20;
const MOST_GROWTH = 32 << 20;
/** Requests below this may be cut from a donated block; larger ones take one whole. */
const SMALL_OCTETS = 65_536;
/** Marks the class of a retired block that is donated. */
const DONATED = 1 << 16;
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
  if (octets <= FINE_OCTETS) return (octets + GRAIN - 1) >> 4;
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

export class Arena {
  readonly views: ImageViews;
  /** Octets given out and not retired, rounded to their classes. */
  used = 0;
  private bump = ARENA_OCTET;
  private bumpEnd: number;
  /** First free block of each class; the next one's reference stands in its first word. */
  private readonly free = new Int32Array(CLASSES);
  /** Former index tables: taken whole by the next one of their class, else cut into small blocks before growth. */
  private readonly donated: { block: number; sizeClass: number }[] = [];
  /** Queue of retired blocks, a ring. */
  private retired = new Int32Array(RETIRED_WORDS * 1024);
  private retiredHead = 0;
  private retiredCount = 0;

  private readonly bound: number;

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
    for (let i = 0; i < this.retiredCount; i++) octets += sizeOf(this.retired[this.retiredAt(i) + 1]! & ~DONATED);
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
    else block = this.takeDonated(sizeClass) || this.extend(size);
    this.used += size;
    return block;
  }

  /** Gives a block back; readers that are online may go on reading it. `octets` as it was allocated. */
  retire(block: number, octets: number): void {
    this.enqueue(block, classOf(octets), 0);
  }

  /** As `retire`, for blocks whose size will hardly be asked for again: what they are made of is. */
  donate(block: number, octets: number): void {
    this.enqueue(block, classOf(octets), DONATED);
  }

  private enqueue(block: number, sizeClass: number, mark: number): void {
    this.used -= sizeOf(sizeClass);
    if (this.retiredCount * RETIRED_WORDS === this.retired.length) this.enlargeQueue();
    const at = this.retiredAt(this.retiredCount++);
    this.retired[at] = block;
    this.retired[at + 1] = sizeClass | mark;
    this.retired[at + 2] = this.views.words[header.EPOCH]!;
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
      if ((sizeClass & DONATED) !== 0) {
        this.donated.push({ block, sizeClass: sizeClass & ~DONATED });
      } else {
        words[block >> 2] = this.free[sizeClass]!;
        this.free[sizeClass] = block;
      }
      this.retiredHead = (this.retiredHead + 1) % (this.retired.length / RETIRED_WORDS);
      this.retiredCount--;
    }
  }

  /** A donated block of exactly this class, or 0. */
  private takeDonated(sizeClass: number): number {
    const found = this.donated.findIndex((donation) => donation.sizeClass === sizeClass);
    return found < 0 ? 0 : this.donated.splice(found, 1)[0]!.block;
  }

  /** A block from the end; the buffer grows where it must, and no block straddles its former end (ImageViews). */
  private extend(size: number): number {
    if (this.bump + size > this.bumpEnd) {
      this.shelve(this.bump, this.bumpEnd);
      const donation = size < SMALL_OCTETS ? this.donated.pop() : undefined;
      if (donation !== undefined && sizeOf(donation.sizeClass) >= size) {
        this.bump = donation.block + size;
        this.bumpEnd = donation.block + sizeOf(donation.sizeClass);
        return donation.block;
      }
      const length = this.views.length;
      const growth = Math.max(size, Math.min(Math.max(length >> 3, LEAST_GROWTH), MOST_GROWTH));
      const grown = Math.min(length + Math.ceil(growth / 65_536) * 65_536, this.bound);
      if (length + size > grown) {
        this.bump = this.bumpEnd;
        throw new ImageFullError(this.bound);
      }
      this.buffer.grow(grown);
      this.views.refresh();
      Atomics.store(this.views.words, header.LENGTH, grown);
      this.bump = length;
      this.bumpEnd = grown;
    }
    const block = this.bump;
    this.bump += size;
    return block;
  }

  /** Cuts [from, end) into free blocks of the largest fine class. */
  private shelve(from: number, end: number): void {
    while (end - from >= GRAIN) {
      const sizeClass = Math.min((end - from) >> 4, FINE_CLASSES);
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
