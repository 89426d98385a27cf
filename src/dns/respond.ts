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
import { counter, countersOf, setKind, zoneMode, zoneRow } from './image.ts';
import { ImageReader } from './lookup.ts';
import { Query, verdict } from './query.ts';

export const transport = { UDP: 0, TCP: 1 } as const;

/** Octets of an EDE option without text. */
const EDE_OCTETS = 6;
/**
 * Answers messages that stand in `buffer`, over one image, as reader number `reader` of it.
 * The buffer needs 65,535 octets behind every place a TCP message is put, 1,232 behind one of UDP.
 */
export class Responder {
  readonly buffer: Uint8Array;
  readonly counters: Float64Array;
  /** The view that queries are answered in; 0 is `fleet`. */
  view = 0;
  private readonly reader: ImageReader;
  private readonly query: Query;
  private readonly answer: AnswerWriter;
  private udp = true;
  /** Extended DNS Error of the reply being made: a code or -1; or a ready-made option in the image, its octet and length. */
  private extendedError = -1;
  private errorText = 0;
  private errorTextOctets = 0;

  constructor(image: SharedArrayBuffer, reader: number, buffer: Uint8Array) {
    if (buffer.byteOffset % 4 !== 0) throw new RangeError('the message buffer must begin at a multiple of 4');
    this.buffer = buffer;
    this.reader = new ImageReader(image, reader, buffer);
    this.query = new Query(buffer);
    this.answer = new AnswerWriter(buffer, this.reader.views);
    this.counters = countersOf(image, reader);
  }

  /** Goes online: until `leave`, nothing that is reached through the image is used again. Once a batch. */
  enter(): void {
    this.reader.enter();
  }

  /** Goes offline: a quiescent point. */
  leave(): void {
    this.reader.leave();
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
    const reader = this.reader;
    const found = reader.find(at + HEADER_OCTETS, query.nameOctets);
    if (found === 0 || !reader.open(found, this.view)) return this.missing(at);
    const words = reader.views.words;
    const qtype = query.qtype;
    let set = reader.firstSet;
    for (let sets = reader.sets; sets > 0; sets--) {
      const head = words[set]!;
      // ANY gets one set, the first that can be answered: the smallest reply that is true (RFC 8482 4.1).
      const isAny = qtype === type.ANY && (((head >>> 16) & 0xff) !== setKind.FAILURE || sets === 1);
      if ((head & 0xffff) === qtype || isAny) return this.answerSet(at, found, set);
      set += 2 + ((words[set + 1]! + 3) >> 2);
    }
    return this.negative(at, (words[found]! >>> 8) & 0xff, rcode.NOERROR, found);
  }

  private answerSet(at: number, found: number, set: number): number {
    const query = this.query;
    const words = this.reader.views.words;
    const kind = (words[set]! >>> 16) & 0xff;
    if (kind === setKind.FAILURE) {
      this.errorText = (set + 2) << 2;
      this.errorTextOctets = words[set + 1]!;
      return this.finish(at, 0, rcode.SERVFAIL, query.questionEnd, 0, 0, 0);
    }
    const answer = this.answer;
    const row = this.reader.row((words[found]! >>> 8) & 0xff);
    const limit = (this.udp ? query.udpOctets : MAX_MESSAGE_OCTETS) - (query.edns ? OPT_OCTETS : 0);
    answer.begin(at, query.questionEnd, at + limit, words[row + zoneRow.TTL]!);
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
    const { query, reader } = this;
    const zone = reader.zoneOf(query.nameOctets);
    if (zone < 0) {
      this.extendedError = ede.NOT_AUTHORITATIVE;
      return this.finish(at, 0, rcode.REFUSED, query.questionEnd, 0, 0, 0);
    }
    const row = reader.row(zone);
    const { words, octets } = reader.views;
    const mode = octets[((row + zoneRow.MODES) << 2) + this.view];
    if (mode === zoneMode.UNKNOWN && reader.couldBeService(query.nameOctets - (words[row]! & 0xff))) {
      this.extendedError = ede.NOT_READY;
      return this.finish(at, 0, rcode.SERVFAIL, query.questionEnd, 0, 0, 0);
    }
    return this.negative(at, zone, rcode.NXDOMAIN, 0);
  }

  /** NODATA or NXDOMAIN with the zone's SOA (RFC 2308 2.1, 2.2); its owner and names point into the question. */
  private negative(at: number, zone: number, code: number, found: number): number {
    const query = this.query;
    const row = this.reader.row(zone);
    const words = this.reader.views.words;
    const head = words[row]!;
    const apexOctets = head & 0xff;
    const from = (row + zoneRow.APEX + ((apexOctets + 3) >> 2)) << 2;
    const size = (head >>> 8) & 0xffff;
    const buffer = this.buffer;
    const to = query.questionEnd;
    this.answer.end = to;
    this.answer.copy(from, size);
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

  /** Extended error 3 where the clusters that made this entry are out of touch. */
  private markStale(found: number): void {
    if (!this.reader.isStale(found)) return;
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
      const octets = this.reader.views.octets;
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
