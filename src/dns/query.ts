// Reads a query message: header, question, and the records behind it as far as they matter (EDNS, TSIG).
// A verdict says what it is; nothing is decoded further, nothing throws, every loop moves on towards the message's end.
// Sources: RFC 1035 4.1, RFC 9619 (one question), RFC 6891 6.1 (OPT), RFC 8945 5.1 (TSIG is last).

import {
  EDNS_UDP_OCTETS,
  HEADER_OCTETS,
  MAX_LABEL_OCTETS,
  MAX_NAME_OCTETS,
  PLAIN_UDP_OCTETS,
  flag,
  opcode,
  type,
} from './iana.ts';

/** What became of reading a message. ANSWER: a well-formed query; the others name the reply. */
export const verdict = {
  ANSWER: 0,
  SILENCE: 1,
  NOTIMP: 2,
  FORMERR_HEADER: 3,
  FORMERR: 4,
  BADVERS: 5,
  NOTAUTH: 6,
} as const;
export type Verdict = (typeof verdict)[keyof typeof verdict];

const OPCODE_MASK = 0x78;
/** Sections of a query hold no more than an IXFR's SOA, an OPT and a TSIG: judged before anything is unpacked. */
const MAX_ANSWER_RECORDS = 1;
const MAX_AUTHORITY_RECORDS = 1;
const MAX_ADDITIONAL_RECORDS = 2;

/** One query at a time; every field is set by `read` and valid until the next. */
export class Query {
  readonly buffer: Uint8Array;
  /** Octets of the QNAME with the root label. */
  nameOctets = 0;
  /** First octet behind the question. */
  questionEnd = 0;
  qtype = 0;
  qclass = 0;
  /** An OPT came with it, so one goes back. */
  edns = false;
  /** The DO bit, to be copied (RFC 3225). */
  dnssecOk = false;
  /** Largest reply over UDP: what the requester takes, within what we send. */
  udpOctets = PLAIN_UDP_OCTETS;
  private version = 0;
  private tsig = false;

  constructor(buffer: Uint8Array) {
    this.buffer = buffer;
  }

  /** Reads the message at [at, at + length). */
  read(at: number, length: number): Verdict {
    const buffer = this.buffer;
    if (length < HEADER_OCTETS) return verdict.SILENCE;
    const flags = buffer[at + 2]!;
    // A reply is never answered, whatever its opcode: two servers would answer each other for ever.
    if ((flags & flag.QR) !== 0) return verdict.SILENCE;
    if ((flags & OPCODE_MASK) !== opcode.QUERY) return verdict.NOTIMP;
    if (buffer[at + 4] !== 0 || buffer[at + 5] !== 1) return verdict.FORMERR_HEADER;
    const end = at + length;
    const start = at + HEADER_OCTETS;
    let p = start;
    for (;;) {
      if (p >= end) return verdict.FORMERR_HEADER;
      const label = buffer[p]!;
      if (label === 0) break;
      // A pointer here could lead only into the header or to itself; 01 and 10 are no label types (RFC 6891 5).
      if (label > MAX_LABEL_OCTETS) return verdict.FORMERR_HEADER;
      p += label + 1;
      if (p - start >= MAX_NAME_OCTETS) return verdict.FORMERR_HEADER;
    }
    p++;
    if (p + 4 > end) return verdict.FORMERR_HEADER;
    this.nameOctets = p - start;
    this.qtype = (buffer[p]! << 8) | buffer[p + 1]!;
    this.qclass = (buffer[p + 2]! << 8) | buffer[p + 3]!;
    this.questionEnd = p + 4;
    this.edns = false;
    this.dnssecOk = false;
    this.udpOctets = PLAIN_UDP_OCTETS;
    const answers = (buffer[at + 6]! << 8) | buffer[at + 7]!;
    const authority = (buffer[at + 8]! << 8) | buffer[at + 9]!;
    const additional = (buffer[at + 10]! << 8) | buffer[at + 11]!;
    if ((answers | authority | additional) === 0) return verdict.ANSWER;
    return this.readRecords(end, answers, authority, additional);
  }

  private readRecords(end: number, answers: number, authority: number, additional: number): Verdict {
    if (answers > MAX_ANSWER_RECORDS || authority > MAX_AUTHORITY_RECORDS || additional > MAX_ADDITIONAL_RECORDS) {
      return verdict.FORMERR;
    }
    const buffer = this.buffer;
    let p = this.questionEnd;
    this.tsig = false;
    this.version = 0;
    for (let left = answers + authority + additional; left > 0; left--) {
      if (this.tsig) return verdict.FORMERR;
      const owner = p;
      p = this.skipName(p, end);
      if (p < 0 || p + 10 > end) return verdict.FORMERR;
      const rrtype = (buffer[p]! << 8) | buffer[p + 1]!;
      const rdata = p + 10;
      const next = rdata + ((buffer[p + 8]! << 8) | buffer[p + 9]!);
      if (next > end) return verdict.FORMERR;
      if (rrtype === type.OPT) {
        if (this.edns || left > additional || buffer[owner] !== 0) return verdict.FORMERR;
        if (!this.readOpt(p, rdata, next)) return verdict.FORMERR;
      } else if (rrtype === type.TSIG) {
        if (left > additional) return verdict.FORMERR;
        this.tsig = true;
      }
      p = next;
    }
    if (this.version !== 0) return verdict.BADVERS;
    return this.tsig ? verdict.NOTAUTH : verdict.ANSWER;
  }

  /** First octet behind the name at `p`, or -1. A pointer ends the name; where it leads is of no interest here. */
  private skipName(p: number, end: number): number {
    const buffer = this.buffer;
    const bound = Math.min(end, p + MAX_NAME_OCTETS);
    while (p < bound) {
      const label = buffer[p]!;
      if (label === 0) return p + 1;
      if (label >= 0xc0) return p + 2 <= end ? p + 2 : -1;
      if (label > MAX_LABEL_OCTETS) return -1;
      p += label + 1;
    }
    return -1;
  }

  /** The OPT whose TYPE stands at `p`. Options are only walked: none is known yet, an unknown one is ignored (RFC 6891 6.1.2). */
  private readOpt(p: number, rdata: number, next: number): boolean {
    const buffer = this.buffer;
    this.edns = true;
    const size = (buffer[p + 2]! << 8) | buffer[p + 3]!;
    this.udpOctets = Math.min(Math.max(size, PLAIN_UDP_OCTETS), EDNS_UDP_OCTETS);
    this.version = buffer[p + 5]!;
    this.dnssecOk = (buffer[p + 6]! & 0x80) !== 0;
    let option = rdata;
    while (option < next) {
      if (option + 4 > next) return false;
      option += 4 + ((buffer[option + 2]! << 8) | buffer[option + 3]!);
    }
    return option === next;
  }
}
