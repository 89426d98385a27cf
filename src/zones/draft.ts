// One entry of the zone image under construction: the owner name and its sets, in the layout of dns/image.ts.
// A draft is compared with what is published and copied into the arena only where it differs (image-writer.ts).
// One draft is used again for every entry: compiling a fleet makes no garbage here.

import { MAX_NAME_OCTETS, RECORD_FIXED_OCTETS, classIN, ednsOption, type } from '../dns/iana.ts';
import { entry, setKind, wordsOf } from '../dns/image.ts';

/** Sets an entry can hold: eight bits in a variant's word. */
const MAX_SETS = 255;

export class Draft {
  words = new Int32Array(16_384);
  octets = new Uint8Array(this.words.buffer);
  /** Words of the draft so far. */
  length = 0;
  /** Octet at which the next octet of the open set goes. */
  private at = 0;
  private openSet = 0;

  /** Begins an entry of zone `zone` whose records come from the numbered set of clusters. The name follows. */
  begin(zone: number, clusters: number): void {
    this.words[entry.HEAD] = zone << 8;
    this.words[entry.ORIGIN] = clusters;
    this.at = entry.NAME * 4;
  }

  /** Appends a label from lower-case ASCII text of 1 to 63 characters. */
  label(text: string): void {
    const octets = this.octets;
    let at = this.at;
    octets[at++] = text.length;
    for (let i = 0; i < text.length; i++) octets[at++] = text.charCodeAt(i);
    this.at = at;
  }

  /** Appends labels in wire form; the last piece ends with the root label. */
  wire(labels: Uint8Array): void {
    const octets = this.octets;
    let at = this.at;
    for (let i = 0; i < labels.length; i++) octets[at++] = labels[i]!;
    this.at = at;
  }

  /** Ends the name; false where it has more than 255 octets, and then the draft is void. */
  endName(): boolean {
    const octets = this.at - entry.NAME * 4;
    if (octets > MAX_NAME_OCTETS) return false;
    this.words[entry.HEAD]! |= octets;
    this.pad();
    this.length = this.at >> 2;
    return true;
  }

  get nameOctets(): number {
    return this.words[entry.HEAD]! & 0xff;
  }

  /** Opens a set; its payload follows octet by octet, then `endSet`. */
  beginSet(rrtype: number, kind: number, flags = 0): void {
    this.reserve(64);
    this.openSet = this.length;
    this.words[this.openSet] = rrtype | (kind << 16) | flags;
    this.at = (this.openSet + 2) << 2;
  }

  endSet(): void {
    this.words[this.openSet + 1] = this.at - ((this.openSet + 2) << 2);
    this.pad();
    this.length = this.at >> 2;
    const head = this.words[entry.HEAD]!;
    if (head >>> 16 === MAX_SETS) throw new RangeError('an entry has more than 255 sets');
    this.words[entry.HEAD] = head + (1 << 16);
  }

  /** Octets of the open set's payload so far. */
  get setOctets(): number {
    return this.at - ((this.openSet + 2) << 2);
  }

  byte(value: number): void {
    this.octets[this.at++] = value;
  }

  uint16(value: number): void {
    this.octets[this.at++] = value >>> 8;
    this.octets[this.at++] = value;
  }

  uint32(value: number): void {
    this.uint16(value >>> 16);
    this.uint16(value);
  }

  /** A word of a set's payload; the payload so far must be whole words. */
  word(value: number): void {
    this.reserve(64);
    this.words[this.at >> 2] = value;
    this.at += 4;
  }

  /** Sets a word of the open set's payload that was written before. */
  setWord(number: number, value: number): void {
    this.words[this.openSet + 2 + number] = value;
  }

  /** Appends RDATA of an IPv4 address given as a number. */
  ipv4(address: number): void {
    this.reserve(64);
    this.uint32(address);
  }

  /** Appends RDATA of an address: 4 octets of dotted decimal, or 16 of RFC 5952 text. Canonical text only. */
  address(text: string, family: 4 | 6): void {
    this.reserve(64);
    if (family === 6) this.ipv6(text);
    else for (const part of text.split('.')) this.byte(Number(part));
  }

  /** The fixed part of a record in a BODY; its RDATA follows. The owner is a pointer to `owner`. */
  record(owner: number, rrtype: number, ttlSeconds: number, rdlength: number): void {
    this.reserve(RECORD_FIXED_OCTETS + rdlength + 64);
    this.uint16(0xc000 | owner);
    this.uint16(rrtype);
    this.uint16(classIN);
    this.uint32(ttlSeconds);
    this.uint16(rdlength);
  }

  /** A whole set of addresses. */
  addressSet(addresses: readonly string[], family: 4 | 6): void {
    this.beginSet(family === 4 ? type.A : type.AAAA, setKind.ADDRESSES);
    for (const address of addresses) this.address(address, family);
    this.endSet();
  }

  /** A set that answers SERVFAIL with this Extended DNS Error text (RFC 8914 2, INFO-CODE 0). */
  failureSet(rrtype: number, infoCode: number, text: string): void {
    this.beginSet(rrtype, setKind.FAILURE);
    this.reserve(text.length + 16);
    this.uint16(ednsOption.EDE);
    this.uint16(2 + text.length);
    this.uint16(infoCode);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i) & 0x7f);
    this.endSet();
  }

  private ipv6(text: string): void {
    const gap = text.indexOf('::');
    const head = gap < 0 ? text.split(':') : gap === 0 ? [] : text.slice(0, gap).split(':');
    const rest = gap < 0 ? '' : text.slice(gap + 2);
    const tail = rest === '' ? [] : rest.split(':');
    for (const part of head) this.uint16(Number.parseInt(part, 16));
    for (let i = head.length + tail.length; i < 8; i++) this.uint16(0);
    for (const part of tail) this.uint16(Number.parseInt(part, 16));
  }

  /** Zeros up to the next word. */
  private pad(): void {
    while ((this.at & 3) !== 0) this.octets[this.at++] = 0;
  }

  /** Room for so many octets more. */
  private reserve(octets: number): void {
    if (this.at + octets <= this.octets.length) return;
    const larger = new Int32Array(Math.max(this.words.length * 2, wordsOf(this.at + octets)));
    larger.set(this.words);
    this.words = larger;
    this.octets = new Uint8Array(larger.buffer);
  }
}
