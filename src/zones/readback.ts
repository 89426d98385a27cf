// The zone as RRsets, read back from its image: what `dump` prints and what a zone transfer will send.
// It reads what readers are given, never the objects behind it, so a dump shows what is answered.

import { RECORD_FIXED_OCTETS, SRV_FIXED_OCTETS, SRV_PRIORITY, SRV_WEIGHT, type, typeNames } from '../dns/iana.ts';
import { MAX_VIEWS, SET_WINDOWED, WINDOW_OCTETS, entry, header, setKind, wordsOf } from '../dns/image.ts';
import type { ImageWriter } from './image-writer.ts';
import { wireToText } from './wire.ts';

/** One RRset; RDATA in wire form, names in it uncompressed. */
export interface RRset {
  /** Presentation form, lower case, with the last dot. */
  readonly owner: string;
  readonly type: number;
  readonly ttlSeconds: number;
  readonly rdata: readonly Uint8Array[];
  /** Not empty: this type answers SERVFAIL with this text, and there is no RDATA. */
  readonly failure: string;
}

/** INFO-CODE and option header before an EDE text (RFC 8914 2). */
const EDE_FIXED_OCTETS = 6;

/** Every RRset of view `view`, in no order. Names without records (empty non-terminals) are not among them. */
export function* rrsets(writer: ImageWriter, ttlSeconds: number, view = 0): Generator<RRset> {
  for (const reference of writer.index.references()) yield* rrsetsOf(writer, reference >> 2, ttlSeconds, view);
}

function* rrsetsOf(writer: ImageWriter, at: number, ttlSeconds: number, view: number): Generator<RRset> {
  const { words, octets } = writer.arena.views;
  const head = words[at + entry.HEAD]!;
  const owner = wireToText(octets, (at + entry.NAME) * 4);
  let set = at + entry.NAME + wordsOf(head & 0xff);
  let sets = head >>> 16;
  const pattern = words[at + entry.ORIGIN]! >>> 16;
  if (pattern !== 0) {
    const variant = octets[words[header.PATTERNS]! + pattern * MAX_VIEWS + view]!;
    if (variant === 0) return;
    const first = words[set + variant - 1]!;
    set = at + (first & 0xffffff);
    sets = first >>> 24;
  }
  for (; sets > 0; sets--) {
    yield readSet(words, octets, set, owner, ttlSeconds);
    set += 2 + wordsOf(words[set + 1]!);
  }
}

function readSet(words: Int32Array, octets: Uint8Array, set: number, owner: string, ttlSeconds: number): RRset {
  const rrtype = words[set]! & 0xffff;
  const from = (set + 2) * 4;
  const length = words[set + 1]!;
  const base = { owner, type: rrtype, ttlSeconds, failure: '' };
  switch ((words[set]! >>> 16) & 0xff) {
    case setKind.ADDRESSES: {
      const skip = (words[set]! & SET_WINDOWED) === 0 ? 0 : WINDOW_OCTETS;
      return { ...base, rdata: slices(octets, from + skip, length - skip, rrtype === type.A ? 4 : 16) };
    }
    case setKind.BODY:
      return { ...base, ...readBody(octets, from + 8, words[set + 3]!) };
    case setKind.SERVICES:
      return { ...base, rdata: readServices(words, octets, set) };
    default: {
      const text = octets.subarray(from + EDE_FIXED_OCTETS, from + length);
      return { ...base, rdata: [], failure: String.fromCharCode(...text) };
    }
  }
}

function slices(octets: Uint8Array, from: number, length: number, size: number): Uint8Array[] {
  return Array.from({ length: length / size }, (_, i) => octets.slice(from + i * size, from + (i + 1) * size));
}

function readBody(octets: Uint8Array, from: number, length: number): { ttlSeconds: number; rdata: Uint8Array[] } {
  const rdata: Uint8Array[] = [];
  let ttlSeconds = 0;
  for (let p = from; p < from + length;) {
    ttlSeconds = ((octets[p + 6]! << 24) | (octets[p + 7]! << 16) | (octets[p + 8]! << 8) | octets[p + 9]!) >>> 0;
    const rdlength = (octets[p + 10]! << 8) | octets[p + 11]!;
    rdata.push(octets.slice(p + RECORD_FIXED_OCTETS, p + RECORD_FIXED_OCTETS + rdlength));
    p += RECORD_FIXED_OCTETS + rdlength;
  }
  return { ttlSeconds, rdata };
}

function readServices(words: Int32Array, octets: Uint8Array, set: number): Uint8Array[] {
  const rdata: Uint8Array[] = [];
  const last = set + 2 + wordsOf(words[set + 1]!);
  for (let run = set + 4; run < last;) {
    const ports = words[run]!;
    const targets = words[run + 1]!;
    for (let i = 0; i < targets; i++) {
      const target = words[run + 2 + ports + i]! >> 2;
      const nameOctets = words[target + entry.HEAD]! & 0xff;
      for (let p = 0; p < ports; p++) {
        const port = words[run + 2 + p]!;
        const record = new Uint8Array(SRV_FIXED_OCTETS + nameOctets);
        record.set([0, SRV_PRIORITY, 0, SRV_WEIGHT, port >>> 8, port & 0xff]);
        const name = (target + entry.NAME) * 4;
        record.set(octets.subarray(name, name + nameOctets), SRV_FIXED_OCTETS);
        rdata.push(record);
      }
    }
    run += 2 + ports + targets;
  }
  return rdata;
}

/** RDATA in presentation form (RFC 1035 5.1, RFC 3596, RFC 2782), for the types this zone holds. */
export function rdataToText(rrtype: number, rdata: Uint8Array): string {
  const view = new DataView(rdata.buffer, rdata.byteOffset, rdata.length);
  switch (rrtype) {
    case type.A:
      return rdata.join('.');
    case type.AAAA:
      return ipv6ToText(view);
    case type.SRV:
      return `${[0, 2, 4].map((at) => view.getUint16(at)).join(' ')} ${wireToText(rdata, 6)}`;
    case type.NS:
      return wireToText(rdata, 0);
    case type.TXT:
      return `"${String.fromCharCode(...rdata.subarray(1)).replace(/["\\]/g, '\\$&')}"`;
    case type.SOA: {
      const timers = rdata.length - 20;
      const fields = [0, 4, 8, 12, 16].map((at) => view.getUint32(timers + at));
      return `${wireToText(rdata, 0)} ${wireToText(rdata, nameEnd(rdata, 0))} ${fields.join(' ')}`;
    }
    default:
      throw new RangeError(`no such type in this zone: ${typeNames.get(rrtype) ?? String(rrtype)}`);
  }
}

function nameEnd(octets: Uint8Array, from: number): number {
  let p = from;
  while (octets[p] !== 0) p += octets[p]! + 1;
  return p + 1;
}

function ipv6ToText(view: DataView): string {
  const groups = Array.from({ length: 8 }, (_, i) => view.getUint16(i * 2).toString(16));
  // The URL parser writes RFC 5952's form.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
