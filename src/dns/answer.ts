// Writes the records of one set behind the question of the message being answered. Choosing the set is respond.ts's;
// here a set becomes octets: order, what fits, what is dropped first. Nothing is allocated and nothing throws.
// Sources: RFC 1035 4.1.3 and 4.1.4 (records, pointers), RFC 2181 9 (truncation), RFC 2782 (SRV), RFC 1794 (rotation).

import {
  HEADER_OCTETS,
  RECORD_FIXED_OCTETS,
  SRV_FIXED_OCTETS,
  SRV_PRIORITY,
  SRV_WEIGHT,
  classIN,
  type,
} from './iana.ts';
import { SET_WINDOWED, WINDOW_OCTETS, entry, setKind } from './image.ts';
import type { ImageViews } from './image.ts';

/** Pointers reach offsets below this, RFC 1035 4.1.4. */
const POINTER_LIMIT = 0x4000;
/** The pointer to the question's name, RFC 1035 4.1.4. */
const QUESTION_NAME = 0xc000 | HEADER_OCTETS;
/** A set too large for any message shows a window of its endpoints that moves on this often. */
const WINDOW_MILLIS = 5_000;
/** 2^32 over the golden ratio: steps of it visit the starts of a set of any size evenly. */
const GOLDEN = 0x9e3779b1;

/**
 * State of the answer under construction. The Responder owns one, gives `at` and `limit`, reads the counts back.
 * Invariant: `end <= limit` after every method, and octets in [at, end) are all written by this message.
 */
export class AnswerWriter {
  /** The message's buffer, for writing four octets at a time wherever they fall. */
  readonly message: DataView;
  readonly views: ImageViews;
  /** Offset of the message in `buffer`. */
  at = 0;
  /** First octet that may not be written: the message's largest size less the OPT that will follow. */
  limit = 0;
  /** Next octet to write. */
  end = 0;
  ttl = 0;
  answers = 0;
  additional = 0;
  truncated = false;
  private turn = 0;

  constructor(buffer: Uint8Array, views: ImageViews) {
    this.message = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.views = views;
  }

  /** Begins behind the question, which ends at `end`. */
  begin(at: number, end: number, limit: number, ttl: number): void {
    this.at = at;
    this.end = end;
    this.limit = limit;
    this.ttl = ttl;
    this.answers = 0;
    this.additional = 0;
    this.truncated = false;
  }

  /** Writes the set whose first word is `set`; `udp` says whether what does not fit is cut (TC) or windowed. */
  write(set: number, udp: boolean): void {
    const head = this.views.words[set]!;
    const kind = (head >>> 16) & 0xff;
    if (kind === setKind.ADDRESSES) this.addresses(set, head, udp);
    else if (kind === setKind.BODY) this.body(set, udp);
    else this.services(set, udp);
  }

  /** A or AAAA: rotated; over UDP cut to whole records, over TCP to a window. */
  private addresses(set: number, head: number, udp: boolean): void {
    const rdlength = (head & 0xffff) === type.A ? 4 : 16;
    const isWindowed = (head & SET_WINDOWED) !== 0;
    const from = ((set + 2) << 2) + (isWindowed ? WINDOW_OCTETS : 0);
    const count = (this.views.words[set + 1]! - (isWindowed ? WINDOW_OCTETS : 0)) / rdlength;
    const size = RECORD_FIXED_OCTETS + rdlength;
    const room = this.limit - this.end;
    if (!udp && isWindowed) {
      this.podWindow(set, from, count, rdlength, room);
      return;
    }
    if (!udp && count * size > room) {
      this.turned(from, count, (room / size) | 0, windowStart(count), rdlength);
      return;
    }
    this.truncated = count * size > room;
    const shown = this.truncated ? (room / size) | 0 : count;
    this.turned(from, count, shown, count > 1 ? this.rotate(count) : 0, rdlength);
  }

  /** `shown` of `count` records from number `start` on, and on from the first. */
  private turned(from: number, count: number, shown: number, start: number, rdlength: number): void {
    const first = Math.min(shown, count - start);
    this.addressRun(from + start * rdlength, first, rdlength, QUESTION_NAME);
    this.addressRun(from, shown - first, rdlength, QUESTION_NAME);
    this.answers = shown;
  }

  /** The records of the pods in a window that A and AAAA share: it is as wide as AAAA allows. */
  private podWindow(set: number, from: number, count: number, rdlength: number, room: number): void {
    const words = this.views.words;
    const pairs = words[set + 2]!;
    const skipped = words[set + 3]!;
    const pods = words[set + 4]!;
    const width = Math.min(pods, (room / (RECORD_FIXED_OCTETS + 16)) | 0);
    const start = windowStart(pods);
    this.podRun(from, start, Math.min(start + width, pods), pairs, skipped, count, rdlength);
    this.podRun(from, 0, start + width - pods, pairs, skipped, count, rdlength);
  }

  /** The records of the pods [first, end): those with both families, then those with only this one. */
  private podRun(
    from: number,
    first: number,
    end: number,
    pairs: number,
    skipped: number,
    count: number,
    rdlength: number,
  ): void {
    const both = Math.max(0, Math.min(end, pairs) - first);
    this.addressRun(from + first * rdlength, both, rdlength, QUESTION_NAME);
    const alone = Math.max(first, pairs + skipped) - skipped;
    const some = Math.max(0, Math.min(end - skipped, count) - alone);
    this.addressRun(from + alone * rdlength, some, rdlength, QUESTION_NAME);
    this.answers += both + some;
  }

  /** Records of RDATA that stand one behind another at octet `from` of the image; their owner is the pointer `owner`. */
  private addressRun(from: number, count: number, rdlength: number, owner: number): void {
    const message = this.message;
    const words = this.views.words;
    const typed = (owner << 16) | (rdlength === 4 ? type.A : type.AAAA);
    const classed = (classIN << 16) | (this.ttl >>> 16);
    const sized = (this.ttl << 16) | rdlength;
    let word = from >> 2;
    let p = this.end;
    for (let i = 0; i < count; i++) {
      message.setInt32(p, typed);
      message.setInt32(p + 4, classed);
      message.setInt32(p + 8, sized);
      message.setInt32(p + 12, words[word++]!, true);
      p += RECORD_FIXED_OCTETS + 4;
      if (rdlength === 4) continue;
      message.setInt32(p, words[word]!, true);
      message.setInt32(p + 4, words[word + 1]!, true);
      message.setInt32(p + 8, words[word + 2]!, true);
      word += 3;
      p += 12;
    }
    this.end = p;
  }

  /** Ready-made records: whole, else without (some of) the additional section, else cut. */
  private body(set: number, udp: boolean): void {
    const words = this.views.words;
    const octets = words[set + 1]! - 8;
    const counts = words[set + 2]!;
    const answerOctets = words[set + 3]!;
    const from = (set + 4) << 2;
    const room = this.limit - this.end;
    this.answers = counts & 0xffff;
    if (octets <= room) {
      this.copy(from, octets);
      this.additional = counts >>> 16;
    } else if (answerOctets <= room) {
      this.copy(from, answerOctets);
      this.wholeAdditional(from + answerOctets, from + octets);
    } else {
      this.truncated = udp;
      this.cutRecords(from, answerOctets, this.answers);
    }
  }

  /** Copies octets of the image, four at a time. */
  copy(from: number, count: number): void {
    const message = this.message;
    const image = this.views.view;
    const to = this.end;
    let k = 0;
    for (; k + 4 <= count; k += 4) message.setInt32(to + k, image.getInt32(from + k, true), true);
    for (; k < count; k++) message.setUint8(to + k, image.getUint8(from + k));
    this.end = to + count;
  }

  /** Additional records of [from, end) as whole RRsets while they fit (RFC 2181 9): an RRset is a run of one owner and type. */
  private wholeAdditional(from: number, end: number): void {
    while (from < end) {
      const first = from;
      let records = 0;
      do {
        from += this.recordOctets(from);
        records++;
      } while (from < end && this.sameOwnerAndType(first, from));
      if (from - first > this.limit - this.end) return;
      this.copy(first, from - first);
      this.additional += records;
    }
  }

  private sameOwnerAndType(a: number, b: number): boolean {
    const o = this.views.octets;
    return o[a] === o[b] && o[a + 1] === o[b + 1] && o[a + 2] === o[b + 2] && o[a + 3] === o[b + 3];
  }

  /** Octets of the record at `from` of the image; owners in bodies are pointers. */
  private recordOctets(from: number): number {
    const octets = this.views.octets;
    return RECORD_FIXED_OCTETS + (octets[from + 10]! << 8) + octets[from + 11]!;
  }

  /** As many whole records as fit, from a rotating start (so that all of them are seen in time). */
  private cutRecords(from: number, octets: number, count: number): void {
    let start = from;
    for (let skip = this.rotate(count); skip > 0; skip--) start += this.recordOctets(start);
    let p = start;
    this.answers = 0;
    for (let i = 0; i < count; i++) {
      const size = this.recordOctets(p);
      if (size > this.limit - this.end) return;
      this.copy(p, size);
      this.answers++;
      p += size;
      if (p === from + octets) p = from;
    }
  }

  /** An SRV set by reference: whole and in order, else from a rotating (UDP) or windowed (TCP) endpoint on. */
  private services(set: number, udp: boolean): void {
    const words = this.views.words;
    const endpoints = words[set + 3]!;
    const whole = words[set + 2]! <= this.limit - this.end;
    const start = whole ? 0 : udp ? this.rotate(endpoints) : windowStart(endpoints);
    this.truncated = udp && !whole;
    const last = set + 2 + (words[set + 1]! >> 2);
    const firstRecord = this.end;
    if (this.serviceRuns(set + 4, last, start, endpoints) && start > 0) this.serviceRuns(set + 4, last, 0, start);
    if (whole) this.serviceAdditional(set + 4, last, firstRecord);
  }

  /** Records of the endpoints `from` to `to` in the order of the runs; false when one did not fit. */
  private serviceRuns(run: number, last: number, from: number, to: number): boolean {
    const words = this.views.words;
    let number = 0;
    while (run < last && number < to) {
      const ports = words[run]!;
      const count = words[run + 1]!;
      const targets = run + 2 + ports;
      for (let i = Math.max(0, from - number); i < count && number + i < to; i++) {
        for (let p = 0; p < ports; p++) {
          if (!this.service(words[run + 2 + p]!, words[targets + i]! >> 2)) return false;
        }
      }
      number += count;
      run = targets + count;
    }
    return true;
  }

  /** One SRV record; its target is written out (RFC 2782). False when it does not fit. */
  private service(port: number, target: number): boolean {
    const nameOctets = this.views.words[target + entry.HEAD]! & 0xff;
    const rdlength = SRV_FIXED_OCTETS + nameOctets;
    const message = this.message;
    const p = this.end;
    if (RECORD_FIXED_OCTETS + rdlength > this.limit - p) return false;
    message.setInt32(p, (QUESTION_NAME << 16) | type.SRV);
    message.setInt32(p + 4, (classIN << 16) | (this.ttl >>> 16));
    message.setInt32(p + 8, (this.ttl << 16) | rdlength);
    message.setInt32(p + 12, (SRV_PRIORITY << 16) | SRV_WEIGHT);
    message.setInt16(p + 16, port);
    this.end = p + RECORD_FIXED_OCTETS + SRV_FIXED_OCTETS;
    this.copy((target + entry.NAME) << 2, nameOctets);
    this.answers++;
    return true;
  }

  /** Addresses of the targets, whole sets while they fit; owners point into the SRV records just written. */
  private serviceAdditional(run: number, last: number, record: number): void {
    const words = this.views.words;
    while (run < last) {
      const ports = words[run]!;
      const count = words[run + 1]!;
      for (let i = 0; i < count; i++) {
        const target = words[run + 2 + ports + i]! >> 2;
        const owner = record + RECORD_FIXED_OCTETS + SRV_FIXED_OCTETS - this.at;
        if (owner >= POINTER_LIMIT) return;
        this.targetAddresses(target, owner);
        record += ports * (RECORD_FIXED_OCTETS + SRV_FIXED_OCTETS + (words[target]! & 0xff));
      }
      run += 2 + ports + count;
    }
  }

  /** The sets of addresses of entry `target` (an endpoint's name: pattern 0, nothing but sets of addresses). */
  private targetAddresses(target: number, owner: number): void {
    const words = this.views.words;
    const head = words[target + entry.HEAD]!;
    let set = target + entry.NAME + (((head & 0xff) + 3) >> 2);
    for (let sets = head >>> 16; sets > 0; sets--) {
      const rdlength = (words[set]! & 0xffff) === type.A ? 4 : 16;
      const octets = words[set + 1]!;
      const count = octets / rdlength;
      if (count * (RECORD_FIXED_OCTETS + rdlength) <= this.limit - this.end) {
        this.addressRun((set + 2) << 2, count, rdlength, 0xc000 | owner);
        this.additional += count;
      }
      set += 2 + ((octets + 3) >> 2);
    }
  }

  /** The next start in a set of `count`: even over many answers, and two questions in turn do not see the same half. */
  private rotate(count: number): number {
    this.turn = (this.turn + GOLDEN) | 0;
    return ((this.turn >>> 0) * count * 2 ** -32) | 0;
  }
}

/** Start of the window over a set that no message holds: moves with the clock, so A and AAAA show the same endpoints. */
function windowStart(count: number): number {
  const turn = Math.imul(Math.floor(Date.now() / WINDOW_MILLIS), GOLDEN) >>> 0;
  return (turn * count * 2 ** -32) | 0;
}
