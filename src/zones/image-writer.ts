// The one writer of a zone image: publishes drafts, takes names out, and keeps the tables that readers find first.
// Invariants: a block is complete before the atomic store that shows it; a block that was shown is retired, never
// changed; nothing retired in this epoch is used again before `commit` ends it.

import { MAX_CLUSTER_SETS, MAX_VIEWS, entry, header, zoneMode, zoneRow, wordsOf } from '../dns/image.ts';
import { KEY_WORDS, foldName } from '../dns/name.ts';
import { Arena } from './arena.ts';
import type { Draft } from './draft.ts';
import { NameIndex } from './name-index.ts';

export interface ZoneRow {
  /** The apex in lower-case wire form. */
  readonly apex: Uint8Array;
  readonly ttlSeconds: number;
  /** One SOA record whose owner (and what else is patched) is a pointer; `patches` are the pointers' offsets, at most 4. */
  readonly negative: Uint8Array;
  readonly patches: readonly number[];
  /** zoneMode of each view; absent ones are as the first. */
  readonly modes: readonly number[];
}

export class ImageWriter {
  readonly arena: Arena;
  readonly index: NameIndex;
  private readonly key = new Int32Array(KEY_WORDS);
  private readonly seed: number;
  /** Hash and reference of every entry that was put and not published. */
  private staged = new Int32Array(512);
  private stagedCount = 0;
  /** Octets of the blocks behind the header's references, so that they can be retired. */
  private readonly tableOctets = new Map<number, number>();
  /** The set of clusters by number, and its number by name (ids joined by a space, which none contains). */
  private readonly clusterSets = new Map<string, number>();
  private stale = new Set<string>();

  /** `seed`: 32 random bits, the key of the names' hash. `bound`: octets that the image may grow to. */
  constructor(seed: number, bound?: number) {
    this.seed = seed | 0;
    this.arena = new Arena(this.seed, bound);
    this.index = new NameIndex(this.arena);
  }

  get buffer(): SharedArrayBuffer {
    return this.arena.buffer;
  }

  /**
   * Prepares the draft's entry, and returns its reference: that of the entry that stands there already where they are
   * alike, else a new one that `publish` will show. A name is put once before each `publish`. Throws ImageFullError.
   */
  put(draft: Draft): number {
    const { arena, index } = this;
    const octets = draft.nameOctets;
    const hash = foldName(draft.words, entry.NAME, octets, this.key, this.seed);
    const there = index.find(hash, octets, draft.words, entry.NAME);
    if (there !== 0 && this.equals(there, draft)) return there;
    const block = arena.allocate(draft.length * 4);
    const words = arena.views.words;
    const at = block >> 2;
    const from = draft.words;
    for (let i = 0; i < draft.length; i++) words[at + i] = from[i]!;
    if (this.staged.length < (this.stagedCount + 1) * 2) this.enlargeStage();
    this.staged[this.stagedCount * 2] = hash;
    this.staged[this.stagedCount * 2 + 1] = block;
    this.stagedCount++;
    return block;
  }

  /** Shows what was put, in that order. Throws ImageFullError, having shown nothing, where the index has no room. */
  publish(): void {
    this.index.reserve(this.stagedCount);
    for (let i = 0; i < this.stagedCount; i++) {
      const replaced = this.index.put(this.staged[i * 2]!, this.staged[i * 2 + 1]!);
      if (replaced !== 0) this.retireEntry(replaced);
    }
    this.stagedCount = 0;
  }

  /** Forgets what was put and not published: the last good state goes on standing. */
  discard(): void {
    const words = this.arena.views.words;
    for (let i = 0; i < this.stagedCount; i++) {
      const block = this.staged[i * 2 + 1]!;
      this.arena.release(block, entryWords(words, block >> 2) * 4);
    }
    this.stagedCount = 0;
  }

  /** Takes the entry's name out, unless another entry stands for that name by now. */
  remove(reference: number): void {
    if (this.index.remove(this.hashOf(reference), reference)) this.retireEntry(reference);
  }

  /** Ends a publication: what it replaced can be used again once the readers have moved on. */
  commit(): void {
    this.arena.advance();
  }

  /** Shows a new zone table; the number of a zone is its place. */
  setZones(rows: readonly ZoneRow[]): void {
    let length = 1 + rows.length;
    for (const row of rows) length += zoneRow.APEX + wordsOf(row.apex.length) + wordsOf(row.negative.length);
    this.show(header.ZONES, length * 4, (words, octets, at) => {
      words[at] = rows.length;
      let row = 1 + rows.length;
      rows.forEach((zone, number) => {
        words[at + 1 + number] = row;
        row += writeRow(words, octets, at + row, zone);
      });
    });
  }

  /** Shows the variant of every pattern in every view: `rows[pattern][view]`; pattern 0 is not looked up. */
  setPatterns(rows: readonly Uint8Array[]): void {
    this.show(header.PATTERNS, rows.length * MAX_VIEWS, (_words, octets, at) => {
      rows.forEach((row, pattern) => {
        octets.set(row, at * 4 + pattern * MAX_VIEWS);
      });
    });
  }

  /** The number of a set of clusters (ids sorted); 0, which is never stale, when there are too many sets. */
  clusterSet(clusters: readonly string[]): number {
    const name = clusters.join(' ');
    const known = this.clusterSets.get(name);
    if (known !== undefined) return known;
    const number = this.clusterSets.size + 1;
    if (clusters.length === 0 || number >= MAX_CLUSTER_SETS) return 0;
    this.clusterSets.set(name, number);
    if (clusters.some((cluster) => this.stale.has(cluster))) this.setStale(this.stale);
    return number;
  }

  /** Marks every set with one of these clusters as stale (Extended DNS Error 3), and no other. */
  setStale(clusters: ReadonlySet<string>): void {
    this.stale = new Set(clusters);
    this.show(header.STALE, MAX_CLUSTER_SETS / 8, (_words, octets, at) => {
      octets.fill(0, at * 4, at * 4 + MAX_CLUSTER_SETS / 8);
      for (const [name, number] of this.clusterSets) {
        if (name.split(' ').some((id) => clusters.has(id))) octets[at * 4 + (number >>> 3)]! |= 1 << (number & 7);
      }
    });
  }

  /** Fills a new block and shows it under a reference of the header; the one it replaces is retired. */
  private show(
    reference: number,
    octets: number,
    fill: (words: Int32Array, octets: Uint8Array, at: number) => void,
  ): void {
    const block = this.arena.allocate(octets);
    const { words, octets: bytes } = this.arena.views;
    fill(words, bytes, block >> 2);
    const replaced = words[reference]!;
    Atomics.store(words, reference, block);
    if (replaced !== 0) this.arena.retire(replaced, this.tableOctets.get(reference)!);
    this.tableOctets.set(reference, octets);
  }

  private equals(reference: number, draft: Draft): boolean {
    const words = this.arena.views.words;
    const at = reference >> 2;
    const from = draft.words;
    // Lengths of names and sets stand in the words, so a difference in length is a difference before the shorter's end.
    for (let i = 0; i < draft.length; i++) if (words[at + i] !== from[i]) return false;
    return true;
  }

  private enlargeStage(): void {
    const larger = new Int32Array(this.staged.length * 2);
    larger.set(this.staged);
    this.staged = larger;
  }

  private hashOf(reference: number): number {
    const words = this.arena.views.words;
    const at = reference >> 2;
    return foldName(words, at + entry.NAME, words[at + entry.HEAD]! & 0xff, this.key, this.seed);
  }

  private retireEntry(reference: number): void {
    this.arena.retire(reference, entryWords(this.arena.views.words, reference >> 2) * 4);
  }
}

/** Words of the entry at word `at`: its name and sets are walked. */
export function entryWords(words: Int32Array, at: number): number {
  const head = words[at + entry.HEAD]!;
  let set = at + entry.NAME + wordsOf(head & 0xff);
  let sets = head >>> 16;
  if (words[at + entry.ORIGIN]! >>> 16 !== 0) {
    // Variants: the last one's sets end the entry.
    const last = words[set + sets - 1]!;
    set = at + (last & 0xffffff);
    sets = last >>> 24;
  }
  for (; sets > 0; sets--) set += 2 + wordsOf(words[set + 1]!);
  return set - at;
}

/** Writes a zone's row at word `at` and returns its words. */
function writeRow(words: Int32Array, octets: Uint8Array, at: number, row: ZoneRow): number {
  words[at + zoneRow.HEAD] = row.apex.length | (row.negative.length << 8) | (row.patches.length << 24);
  words[at + zoneRow.TTL] = row.ttlSeconds;
  words[at + zoneRow.PATCHES] = row.patches.reduce((word, offset, place) => word | (offset << (place * 8)), 0);
  const modes = (at + zoneRow.MODES) * 4;
  for (let view = 0; view < MAX_VIEWS; view++)
    octets[modes + view] = row.modes[view] ?? row.modes[0] ?? zoneMode.NXDOMAIN;
  octets.set(row.apex, (at + zoneRow.APEX) * 4);
  const negative = at + zoneRow.APEX + wordsOf(row.apex.length);
  octets.set(row.negative, negative * 4);
  return zoneRow.APEX + wordsOf(row.apex.length) + wordsOf(row.negative.length);
}
