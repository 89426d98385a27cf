// From a query to its reply, in place: the one gate of every transport.
// packet → verdict → fold and hash the name → find its entry → choose the set → answer, negative answer or error → OPT.
// It knows names, types and ready-made sets; what exists was decided by the control plane. Nothing here throws,
// awaits, logs or allocates. Sources: RFC 1034 4.3.2, RFC 2308 2 and 3, RFC 8020, RFC 6891, RFC 8482, RFC 8914.

import { AnswerWriter } from './answer.ts';
import {
  EDNS_UDP_OCTETS,
  HEADER_OCTETS,
  MAX_MESSAGE_OCTETS,
  OPT_OCTETS,
  classIN,
  ede,
  ednsOption,
  flag,
  rcode,
  type,
} from './iana.ts';
import {
  ImageViews,
  MAX_VIEWS,
  counter,
  countersOf,
  entry,
  header,
  index,
  readerWord,
  setKind,
  zoneMode,
  zoneRow,
} from './image.ts';
import { KEY_WORDS, foldName } from './name.ts';
import { Query, verdict } from './query.ts';

export const transport = { UDP: 0, TCP: 1 } as const;

/** Octets of an EDE option without text. */
const EDE_OCTETS = 6;
/** `svc` as a label, lower case, as a little-endian word. */
const SVC_LABEL = 0x63767303;
const UNDERSCORE = 0x5f;

/**
 * Answers messages that stand in `buffer`, over one image, as reader number `reader` of it.
 * The buffer needs 65,535 octets behind every place a TCP message is put, 1,232 behind one of UDP.
 */
export class Responder {
  readonly buffer: Uint8Array;
  readonly counters: Float64Array;
  /** The view that queries are answered in; 0 is `fleet`. */
  view = 0;
  private readonly bufferWords: Int32Array;
  private readonly views: ImageViews;
  private readonly query: Query;
  private readonly answer: AnswerWriter;
  private readonly key = new Int32Array(KEY_WORDS);
  private readonly keyOctets = new Uint8Array(this.key.buffer);
  private readonly seed: number;
  private readonly epochWord: number;
  private udp = true;
  /** The sets of this view in the entry found: the first one's word, and how many. */
  private firstSet = 0;
  private sets = 0;
  /** Extended DNS Error of the reply being made: a code or -1; or a ready-made option in the image, its octet and length. */
  private extendedError = -1;
  private errorText = 0;
  private errorTextOctets = 0;

  constructor(image: SharedArrayBuffer, reader: number, buffer: Uint8Array) {
    if (buffer.byteOffset % 4 !== 0) throw new RangeError('the message buffer must begin at a multiple of 4');
    this.buffer = buffer;
    this.bufferWords = new Int32Array(buffer.buffer, buffer.byteOffset, buffer.byteLength >> 2);
    this.views = new ImageViews(image);
    this.query = new Query(buffer);
    this.answer = new AnswerWriter(buffer, this.views);
    this.counters = countersOf(image, reader);
    this.seed = this.views.words[header.SEED]!;
    this.epochWord = readerWord(reader);
  }

  /** Goes online: until `leave`, nothing that is reached through the image is used again. Once a batch. */
  enter(): void {
    const words = this.views.words;
    Atomics.store(words, this.epochWord, Atomics.load(words, header.EPOCH));
    if (Atomics.load(words, header.LENGTH) !== this.views.length) this.views.refresh();
  }

  /** Goes offline: a quiescent point. */
  leave(): void {
    Atomics.store(this.views.words, this.epochWord, 0);
  }

  /**
   * Answers the message at [at, at + length) of the buffer in place; `at` is a multiple of 4.
   * Returns the octets of the reply, 0 for silence.
   */
  respond(at: number, length: number, over: number): number {
    const query = this.query;
    const counters = this.counters;
    counters[counter.QUERIES]!++;
    this.udp = over === transport.UDP;
    this.extendedError = -1;
    this.errorText = 0;
    const read = query.read(at, length);
    if (read !== verdict.ANSWER) return this.refuseMessage(at, read);
    if (query.qclass !== classIN || query.qtype === type.AXFR || query.qtype === type.IXFR) {
      return this.finish(at, 0, rcode.REFUSED, query.questionEnd, 0, 0, 0);
    }
    const found = this.find(at + HEADER_OCTETS, query.nameOctets);
    if (found === 0) return this.missing(at);
    const words = this.views.words;
    if (!this.open(found)) return this.missing(at);
    const qtype = query.qtype;
    let set = this.firstSet;
    for (let sets = this.sets; sets > 0; sets--) {
      // ANY gets one set, the entry's first: the smallest reply that is true (RFC 8482 4.1).
      if ((words[set]! & 0xffff) === qtype || qtype === type.ANY) return this.answerSet(at, found, set);
      set += 2 + ((words[set + 1]! + 3) >> 2);
    }
    return this.negative(at, (words[found]! >>> 8) & 0xff, rcode.NOERROR, found);
  }

  /** The word of the entry with this name, or 0. The name is left folded in `key`. */
  private find(nameAt: number, nameOctets: number): number {
    const key = this.key;
    const hash = foldName(this.bufferWords, nameAt >> 2, nameOctets, key, this.seed);
    const last = (nameOctets - 1) >> 2;
    let words = this.views.words;
    const block = this.reach(Atomics.load(words, header.INDEX)) >> 2;
    words = this.views.words;
    const mask = words[block + index.MASK]!;
    let slot = hash & mask;
    // Bounded by the slots; the writer keeps a third of them free, so a chain is short.
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
          if (i > last) return found;
        }
      }
      slot = (slot + 1) & mask;
    }
    return 0;
  }

  /** Makes the views long enough for a reference just loaded: the arena may have grown since `enter`. */
  private reach(reference: number): number {
    if (reference >= this.views.length) this.views.refresh();
    return reference;
  }

  /** Finds the sets of the entry in this view; false where the view has no such name. */
  private open(found: number): boolean {
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
    const variant = this.views.octets[table + pattern * MAX_VIEWS + this.view]!;
    if (variant === 0) return false;
    const first = words[sets + variant - 1]!;
    this.firstSet = found + (first & 0xffffff);
    this.sets = first >>> 24;
    return true;
  }

  private answerSet(at: number, found: number, set: number): number {
    const query = this.query;
    const words = this.views.words;
    const kind = (words[set]! >>> 16) & 0xff;
    if (kind === setKind.FAILURE) {
      this.errorText = (set + 2) << 2;
      this.errorTextOctets = words[set + 1]!;
      return this.finish(at, 0, rcode.SERVFAIL, query.questionEnd, 0, 0, 0);
    }
    const answer = this.answer;
    const row = this.row((words[found]! >>> 8) & 0xff);
    const limit = (this.udp ? query.udpOctets : MAX_MESSAGE_OCTETS) - (query.edns ? OPT_OCTETS : 0);
    answer.begin(at, query.questionEnd, at + limit, this.views.words[row + zoneRow.TTL]!);
    answer.write(set, this.udp);
    let flags: number = flag.AA;
    if (answer.truncated) {
      flags = flag.AA | flag.TC;
      this.counters[counter.TRUNCATED]!++;
    }
    if (query.edns) this.markStale(found);
    return this.finish(at, flags, rcode.NOERROR, answer.end, answer.answers, 0, answer.additional);
  }

  /** No entry: outside every zone, unknown for now, or no such name. */
  private missing(at: number): number {
    const query = this.query;
    const zone = this.zoneOf(query.nameOctets);
    if (zone < 0) {
      this.extendedError = ede.NOT_AUTHORITATIVE;
      return this.finish(at, 0, rcode.REFUSED, query.questionEnd, 0, 0, 0);
    }
    const row = this.row(zone);
    const mode = this.views.octets[((row + zoneRow.MODES) << 2) + this.view];
    if (mode === zoneMode.UNKNOWN && this.couldBeService(query.nameOctets - (this.views.words[row]! & 0xff))) {
      this.extendedError = ede.NOT_READY;
      return this.finish(at, 0, rcode.SERVFAIL, query.questionEnd, 0, 0, 0);
    }
    return this.negative(at, zone, rcode.NXDOMAIN, 0);
  }

  /** NODATA or NXDOMAIN with the zone's SOA (RFC 2308 2.1, 2.2); its owner and names point into the question. */
  private negative(at: number, zone: number, code: number, found: number): number {
    const query = this.query;
    const row = this.row(zone);
    const { words, octets } = this.views;
    const head = words[row]!;
    const apexOctets = head & 0xff;
    const from = (row + zoneRow.APEX + ((apexOctets + 3) >> 2)) << 2;
    const size = (head >>> 8) & 0xffff;
    const buffer = this.buffer;
    const to = query.questionEnd;
    for (let k = 0; k < size; k++) buffer[to + k] = octets[from + k]!;
    const apex = HEADER_OCTETS + query.nameOctets - apexOctets;
    const patches = words[row + zoneRow.PATCHES]!;
    for (let n = head >>> 24; n > 0; n--) {
      const p = to + ((patches >>> ((n - 1) << 3)) & 0xff);
      buffer[p] = 0xc0 | (apex >>> 8);
      buffer[p + 1] = apex;
    }
    if (found !== 0 && query.edns) this.markStale(found);
    return this.finish(at, flag.AA, code, to + size, 0, 1, 0);
  }

  /** The zone with the longest apex that the name in `key` lies in, or -1. */
  private zoneOf(nameOctets: number): number {
    const table = this.reach(Atomics.load(this.views.words, header.ZONES)) >> 2;
    const words = this.views.words;
    const zones = words[table]!;
    let best = -1;
    let longest = 0;
    for (let zone = 0; zone < zones; zone++) {
      const row = table + words[table + 1 + zone]!;
      const apexOctets = words[row]! & 0xff;
      if (apexOctets > longest && this.endsWith(nameOctets, (row + zoneRow.APEX) << 2, apexOctets)) {
        best = zone;
        longest = apexOctets;
      }
    }
    return best;
  }

  /** Whether the name in `key` ends with the name at `apex` of the image, at a label's beginning. */
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

  /**
   * Whether the labels of `key` before the apex, `octets` of them, are those of a service (two before `svc`), of an
   * endpoint (four or more), or of a port (four, the first two with an underscore). Only such names can be unknown.
   */
  private couldBeService(octets: number): boolean {
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

  /** The word of a zone's row. */
  private row(zone: number): number {
    const table = this.reach(Atomics.load(this.views.words, header.ZONES)) >> 2;
    return table + this.views.words[table + 1 + zone]!;
  }

  /** Extended error 3 where the clusters that made this entry are out of touch. */
  private markStale(found: number): void {
    const clusters = this.views.words[found + entry.ORIGIN]! & 0xffff;
    const table = this.reach(Atomics.load(this.views.words, header.STALE));
    if (table === 0 || (this.views.octets[table + (clusters >>> 3)]! & (1 << (clusters & 7))) === 0) return;
    this.extendedError = ede.STALE_ANSWER;
    this.counters[counter.STALE]!++;
  }

  /** The reply to a message that is no query to look up. */
  private refuseMessage(at: number, read: number): number {
    const query = this.query;
    const buffer = this.buffer;
    switch (read) {
      case verdict.SILENCE:
        this.counters[counter.SILENCE]!++;
        return 0;
      case verdict.FORMERR:
        query.edns = false;
        return this.finish(at, 0, rcode.FORMERR, query.questionEnd, 0, 0, 0);
      case verdict.BADVERS:
        return this.finish(at, 0, rcode.BADVERS, query.questionEnd, 0, 0, 0);
      case verdict.NOTAUTH:
        return this.finish(at, 0, rcode.NOTAUTH, query.questionEnd, 0, 0, 0);
      default: {
        // Header alone: an opcode that is not ours (no flag is echoed) or a question that cannot be echoed.
        const notImplemented = read === verdict.NOTIMP;
        const code = notImplemented ? rcode.NOTIMP : rcode.FORMERR;
        buffer[at + 2] = flag.QR | (buffer[at + 2]! & (notImplemented ? 0x78 : flag.RD));
        buffer[at + 3] = code;
        for (let p = at + 4; p < at + HEADER_OCTETS; p++) buffer[p] = 0;
        this.counters[counter.RCODES + code]!++;
        return HEADER_OCTETS;
      }
    }
  }

  /** Header and OPT around what was written up to `end`. */
  private finish(
    at: number,
    flags: number,
    code: number,
    end: number,
    answers: number,
    authority: number,
    additional: number,
  ): number {
    const buffer = this.buffer;
    buffer[at + 2] = flag.QR | flags | (buffer[at + 2]! & flag.RD);
    buffer[at + 3] = (buffer[at + 3]! & flag.CD) | (code & 0x0f);
    buffer[at + 6] = answers >>> 8;
    buffer[at + 7] = answers;
    buffer[at + 8] = 0;
    buffer[at + 9] = authority;
    if (this.query.edns) {
      additional++;
      end = this.writeOpt(at, end, code);
    }
    buffer[at + 10] = additional >>> 8;
    buffer[at + 11] = additional;
    this.counters[counter.RCODES + code]!++;
    return end - at;
  }

  private writeOpt(at: number, p: number, code: number): number {
    const buffer = this.buffer;
    const most = at + (this.udp ? this.query.udpOctets : MAX_MESSAGE_OCTETS);
    const text = this.errorText;
    let rdlength = text !== 0 ? this.errorTextOctets : this.extendedError >= 0 ? EDE_OCTETS : 0;
    if (p + OPT_OCTETS + rdlength > most) rdlength = 0;
    buffer[p] = 0;
    buffer[p + 1] = 0;
    buffer[p + 2] = type.OPT;
    buffer[p + 3] = EDNS_UDP_OCTETS >>> 8;
    buffer[p + 4] = EDNS_UDP_OCTETS & 0xff;
    buffer[p + 5] = code >>> 4;
    buffer[p + 6] = 0;
    buffer[p + 7] = this.query.dnssecOk ? 0x80 : 0;
    buffer[p + 8] = 0;
    buffer[p + 9] = rdlength >>> 8;
    buffer[p + 10] = rdlength;
    p += OPT_OCTETS;
    if (rdlength === 0) return p;
    if (text !== 0) {
      const octets = this.views.octets;
      for (let k = 0; k < rdlength; k++) buffer[p + k] = octets[text + k]!;
      return p + rdlength;
    }
    buffer[p] = 0;
    buffer[p + 1] = ednsOption.EDE;
    buffer[p + 2] = 0;
    buffer[p + 3] = 2;
    buffer[p + 4] = 0;
    buffer[p + 5] = this.extendedError;
    return p + EDE_OCTETS;
  }
}
