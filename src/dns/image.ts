// The zone image: one growable SharedArrayBuffer with one writer (zones/image-writer.ts) and many readers (respond.ts).
// This file is its layout, and the fixed-length views through which both sides see it. It holds no zone logic.
// A reader never locks: whatever it reaches through one atomic load of a reference is whole and stays so until the
// reader's next quiescent point. References are octet offsets, multiples of 8; 0 is none. Numbers are little-endian.

import { endianness } from 'node:os';

if (endianness() !== 'LE') throw new Error('clusterset-dns needs a little-endian processor');

/** The arena's bound: an Int32 octet offset reaches it, and 20 million names fit. */
export const MAX_IMAGE_OCTETS = 0x7fff_0000;
/** Reader slots: one for each worker thread and for each zone transfer that pins an epoch. */
export const MAX_READERS = 64;
/** Bound of the view numbers; view 0 is `fleet`. */
export const MAX_VIEWS = 256;
/** Bound of the numbered sets of clusters; set 0 is never stale. */
export const MAX_CLUSTER_SETS = 65_536;
/** Counters of a reader, Float64 cells: an Int32 wraps within hours. */
export const COUNTER_CELLS = 64;

/** Words of the header. Those marked R are references, stored and loaded atomically. */
export const header = {
  /** Octets in use by the views of the writer; a reader whose views are shorter makes new ones. */
  LENGTH: 0,
  /** R: the index block. */
  INDEX: 1,
  /** R: the zone table block. */
  ZONES: 2,
  /** R: the pattern table block: row p, column view → variant, one octet each. */
  PATTERNS: 3,
  /** R: one bit a set of clusters: 1 = its data is stale. */
  STALE: 4,
  /** The writer's epoch; a block retired in epoch e is used again when no reader is online in an epoch <= e. */
  EPOCH: 5,
  /** 1: every worker leaves its loop. */
  STOP: 6,
  /** The key of the names' hash. */
  SEED: 7,
  /** Readers' epochs, one cache line each: 0 = offline (quiescent). */
  READERS: 16,
} as const;

/** Words between two readers' epochs: a cache line, so that they do not share one. */
export const READER_STRIDE_WORDS = 16;
const COUNTERS_OCTET = (header.READERS + MAX_READERS * READER_STRIDE_WORDS) * 4;
/** Where blocks begin. */
export const ARENA_OCTET = COUNTERS_OCTET + MAX_READERS * COUNTER_CELLS * 8;

/**
 * Index block: word 0 = slots - 1 (a power of two less one); from word 4 on two words a slot: hash, reference of the
 * entry (0 free, -1 removed). Linear probing. The reference is stored last and loaded first.
 */
export const index = { MASK: 0, SLOTS: 4, REMOVED: -1 } as const;

/**
 * Entry block, one owner name:
 * word 0: name octets | zone << 8 | sets or variants << 16;  word 1: set of clusters | pattern << 16;
 * then the name in lower-case wire form, zero-padded to words; then
 * pattern 0: the sets;  else one word a variant (its first set, in words from the entry | sets << 24), then the sets.
 */
export const entry = { HEAD: 0, ORIGIN: 1, NAME: 2 } as const;

/**
 * A set: word 0 = type | kind << 16; word 1 = octets of its payload; then the payload, zero-padded to words.
 * ADDRESSES: RDATA after RDATA (4 or 16 octets each), owner and TTL are made when it is written.
 * BODY: word 0 = answers | additional << 16, word 1 = octets of the answers; then the records as they go on the wire,
 * owners of answers 0xc00c, owners of additional records pointers to where they stand after this entry's question.
 * SERVICES: an SRV set by reference: word 0 = octets of all its answers on the wire, word 1 = endpoints; then runs:
 * ports, endpoints, a word a port, a word an endpoint (reference of the entry whose name is the target).
 * FAILURE: SERVFAIL for this type; the payload is an Extended DNS Error option as it goes into the OPT.
 */
export const setKind = { ADDRESSES: 0, BODY: 1, SERVICES: 2, FAILURE: 3 } as const;
/**
 * Flag in word 0 of a set of ADDRESSES: no message may hold all of this name's A or AAAA records, so both families are
 * shown through one window over the pods. Before the RDATA three words stand then: pods with both families, whose records
 * come first; pods with only the other family that come before those with only this one; pods in all.
 */
export const SET_WINDOWED = 1 << 24;
export const WINDOW_OCTETS = 12;

/**
 * Zone table block: word 0 = zones; then one word a zone: words from the block to its row. A row:
 * word 0 = apex octets | octets of the negative body << 8 | pointers to patch in it << 24; word 1 = TTL of ADDRESSES and
 * SERVICES, seconds; word 2 = offsets of the pointers in the negative body, an octet each; then MAX_VIEWS octets of
 * modes; the apex in lower-case wire form padded to words; the negative body (one SOA, its owner a pointer).
 */
export const zoneRow = { HEAD: 0, TTL: 1, PATCHES: 2, MODES: 3, APEX: 3 + MAX_VIEWS / 4 } as const;
/** What a missing name of a service's shape gets, by zone and view. */
export const zoneMode = { NXDOMAIN: 0, UNKNOWN: 1 } as const;

/** Cells of a reader's counters. RCODEs 0 to 16 stand at RCODES + rcode. */
export const counter = {
  QUERIES: 0,
  SILENCE: 1,
  TRUNCATED: 2,
  SEND_REFUSED: 3,
  BATCHES: 4,
  PORT_ZERO: 5,
  RECEIVE_FAILED: 6,
  STALE: 7,
  RCODES: 16,
} as const;

/** Words that a name of so many octets takes in an entry. */
export function wordsOf(octets: number): number {
  return (octets + 3) >> 2;
}

/** A new, empty image buffer. Only the reserved addresses are as large as the bound: memory is taken as it grows. */
export function createImageBuffer(initialOctets: number): SharedArrayBuffer {
  return new SharedArrayBuffer(initialOctets, { maxByteLength: MAX_IMAGE_OCTETS });
}

/**
 * Fixed-length views of the image (length-tracking ones cost far more at every octet).
 * Invariant of the writer that makes this safe: no block straddles a former end of the buffer, so a reference below
 * `length` names a block that lies wholly below it.
 */
export class ImageViews {
  readonly buffer: SharedArrayBuffer;
  length = 0;
  words!: Int32Array;
  octets!: Uint8Array;
  /** For reading four octets at a time wherever they begin. */
  view!: DataView;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.refresh();
  }

  /** Makes the views as long as the buffer is now. */
  refresh(): void {
    this.length = this.buffer.byteLength;
    this.words = new Int32Array(this.buffer, 0, this.length >> 2);
    this.octets = new Uint8Array(this.buffer, 0, this.length);
    this.view = new DataView(this.buffer, 0, this.length);
  }
}

/** The counters of one reader: it alone writes them, the control plane sums them. */
export function countersOf(buffer: SharedArrayBuffer, reader: number): Float64Array {
  return new Float64Array(buffer, COUNTERS_OCTET + reader * COUNTER_CELLS * 8, COUNTER_CELLS);
}

/** The word of a reader's epoch. */
export function readerWord(reader: number): number {
  return header.READERS + reader * READER_STRIDE_WORDS;
}

/** True once `requestStop` was called on this image. */
export function stopRequested(words: Int32Array): boolean {
  return Atomics.load(words, header.STOP) !== 0;
}

/** Asks every worker to leave its loop; a blocked one sees it within its receive time-out. */
export function requestStop(buffer: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(buffer, 0, header.READERS), header.STOP, 1);
}
