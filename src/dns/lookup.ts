// A reader's side of the zone image: names found, views and zones chosen, in a fixed number of loads.
// Invariants: between `enter` and `leave` whatever a reference leads to stays whole; the zone table is the one that
// stood before the name was looked up, so "no such name" is never said by a newer table than the look-up.
// Sources: RFC 1034 4.3.2 (the nearest zone), RFC 4343 (names compare folded).

import { ImageViews, MAX_VIEWS, entry, header, index, readerWord, zoneRow } from './image.ts';
import { KEY_WORDS, foldName } from './name.ts';

/** `svc` as a label, lower case, as a little-endian word. */
const SVC_LABEL = 0x63767303;
const UNDERSCORE = 0x5f;

/** Reader number `reader` of an image, for names that stand in `buffer`. */
export class ImageReader {
  readonly views: ImageViews;
  /** The sets of the entry opened last: the first one's word, and how many. */
  firstSet = 0;
  sets = 0;
  private readonly bufferWords: Int32Array;
  /** The name looked up last, folded. */
  private readonly key = new Int32Array(KEY_WORDS);
  private readonly keyOctets = new Uint8Array(this.key.buffer);
  private readonly seed: number;
  private readonly epochWord: number;
  /** Word of the zone table in force. */
  private zones = 0;

  constructor(image: SharedArrayBuffer, reader: number, buffer: Uint8Array) {
    this.bufferWords = new Int32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >> 2);
    this.views = new ImageViews(image);
    this.seed = this.views.words[header.SEED]!;
    this.epochWord = readerWord(reader);
  }

  enter(): void {
    const words = this.views.words;
    Atomics.store(words, this.epochWord, Atomics.load(words, header.EPOCH));
  }

  leave(): void {
    Atomics.store(this.views.words, this.epochWord, 0);
  }

  /** The word of the entry with the name at octet `nameAt` of the buffer (a multiple of 4), or 0. */
  find(nameAt: number, nameOctets: number): number {
    const key = this.key;
    const hash = foldName(this.bufferWords, nameAt >> 2, nameOctets, key, this.seed);
    const last = (nameOctets - 1) >> 2;
    this.zones = this.reach(Atomics.load(this.views.words, header.ZONES)) >> 2;
    const block = this.reach(Atomics.load(this.views.words, header.INDEX)) >> 2;
    let words = this.views.words;
    const mask = words[block + index.MASK]!;
    let slot = hash & mask;
    // Bounded by the slots; the writer keeps at least an eighth of them free, so chains are short.
    for (let probes = 0; probes <= mask; probes++) {
      const at = block + index.SLOTS + slot * 2;
      const reference = Atomics.load(words, at + 1);
      if (reference === 0) return 0;
      if (reference > 0 && words[at] === hash) {
        const found = this.reach(reference) >> 2;
        words = this.views.words;
        if ((words[found]! & 0xff) === nameOctets) {
          let i = 0;
          while (i <= last && words[found + entry.NAME + i] === key[i]) i++;
          if (i > last) {
            // What the entry refers to was there before it: views as long as the buffer is now reach all of it.
            if (Atomics.load(words, header.LENGTH) !== this.views.length) this.views.refresh();
            return found;
          }
        }
      }
      slot = (slot + 1) & mask;
    }
    return 0;
  }

  /** Finds the sets of an entry in a view; false where the view has no such name. */
  open(found: number, view: number): boolean {
    const words = this.views.words;
    const head = words[found]!;
    const sets = found + entry.NAME + (((head & 0xff) + 3) >> 2);
    const pattern = words[found + entry.ORIGIN]! >>> 16;
    if (pattern === 0) {
      this.firstSet = sets;
      this.sets = head >>> 16;
      return true;
    }
    const table = this.reach(Atomics.load(words, header.PATTERNS));
    const variant = this.views.octets[table + pattern * MAX_VIEWS + view]!;
    if (variant === 0) return false;
    const first = words[sets + variant - 1]!;
    this.firstSet = found + (first & 0xffffff);
    this.sets = first >>> 24;
    return true;
  }

  /** The word of a zone's row. */
  row(zone: number): number {
    return this.zones + this.views.words[this.zones + 1 + zone]!;
  }

  /** The zone with the longest apex that the name looked up lies in, or -1. */
  zoneOf(nameOctets: number): number {
    const words = this.views.words;
    const zones = words[this.zones]!;
    let best = -1;
    let longest = 0;
    for (let zone = 0; zone < zones; zone++) {
      const row = this.row(zone);
      const apexOctets = words[row]! & 0xff;
      if (apexOctets > longest && this.endsWith(nameOctets, (row + zoneRow.APEX) << 2, apexOctets)) {
        best = zone;
        longest = apexOctets;
      }
    }
    return best;
  }

  /** Whether the clusters that made this entry are out of touch. */
  isStale(found: number): boolean {
    const clusters = this.views.words[found + entry.ORIGIN]! & 0xffff;
    const table = this.reach(Atomics.load(this.views.words, header.STALE));
    return table !== 0 && (this.views.octets[table + (clusters >>> 3)]! & (1 << (clusters & 7))) !== 0;
  }

  /**
   * Whether the labels of the name looked up before the apex, `octets` of them, are those of a service (two before
   * `svc`), of an endpoint (four or more), or of a port (four, the first two with an underscore).
   */
  couldBeService(octets: number): boolean {
    const name = this.keyOctets;
    let labels = 0;
    let underscores = 0;
    let last = 0;
    for (let p = 0; p < octets; p += name[p]! + 1) {
      if (name[p + 1] === UNDERSCORE) underscores |= 1 << Math.min(labels, 30);
      last = p;
      labels++;
    }
    if (labels === 0) return false;
    const word = name[last]! | (name[last + 1]! << 8) | (name[last + 2]! << 16) | (name[last + 3]! << 24);
    if (word !== SVC_LABEL) return false;
    const before = labels - 1;
    return (before === 2 || before >= 4) && (underscores === 0 || (underscores === 3 && before === 4));
  }

  /** Whether the name looked up ends with the name at `apex` of the image, at the beginning of a label. */
  private endsWith(nameOctets: number, apex: number, apexOctets: number): boolean {
    const start = nameOctets - apexOctets;
    if (start < 0) return false;
    const keyOctets = this.keyOctets;
    const octets = this.views.octets;
    for (let i = apexOctets - 1; i >= 0; i--) if (keyOctets[start + i] !== octets[apex + i]) return false;
    let label = 0;
    while (label < start) label += keyOctets[label]! + 1;
    return label === start;
  }

  /** Makes the views long enough for a reference just loaded: the arena may have grown since. */
  private reach(reference: number): number {
    if (reference >= this.views.length) this.views.refresh();
    return reference;
  }
}
