// The endpoints of a slice as one string of octets, and back. Equal endpoints give equal strings, and only they do.
// An endpoint: flags; its addresses; its hostname and its uid where it has them. One IPv4 address is its four octets, a
// uid in the form of RFC 9562 its sixteen; all else is text: a length, then an octet or two a code unit. Snapshots hold
// it, so that a change of it is a new format there (snapshot-format.ts).

import type { Endpoint } from '../../zones/objects.ts';

const READY = 1;
const HAS_HOSTNAME = 2;
const ONE_IPV4 = 4;
const UUID = 8;
const TEXT_UID = 16;
const KNOWN_FLAGS = 31;

const UUID_CHARACTERS = 36;
const UUID_OCTETS = 16;
const DASH = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;

const NO_ENDPOINTS: readonly Endpoint[] = Object.freeze([]);

// Packing

const FIRST_SCRATCH_OCTETS = 64 * 1_024;
/**
 * The octets that are being packed, or of the uid that is being unpacked. Shared scratch for speed; safe because both
 * are synchronous and hand out strings only.
 */
let scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH_OCTETS);

/** The endpoints as one-octet characters: an octet of memory each. */
export function packEndpoints(endpoints: readonly Endpoint[]): string {
  let at = 0;
  for (const endpoint of endpoints) at = packEndpoint(endpoint, at);
  const packed = scratch.toString('latin1', 0, at);
  // One slice with endless texts must not leave its size behind.
  if (scratch.length > 16 * FIRST_SCRATCH_OCTETS) scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH_OCTETS);
  return packed;
}

function packEndpoint({ addresses, hostname, ready, uid }: Endpoint, from: number): number {
  let at = from + 1;
  reserve(at + 2 * UUID_OCTETS);
  let flags = ready ? READY : 0;
  const end = addresses.length === 1 ? packIPv4(addresses[0]!, at) : 0;
  if (end > 0) {
    flags |= ONE_IPV4;
    at = end;
  } else {
    at = packNumber(addresses.length, at);
    for (const address of addresses) at = packText(address, at);
  }
  if (hostname !== '') {
    flags |= HAS_HOSTNAME;
    at = packText(hostname, at);
  }
  if (uid !== '') {
    reserve(at + UUID_OCTETS);
    const isUuid = packUuid(uid, at);
    flags |= isUuid ? UUID : TEXT_UID;
    at = isUuid ? at + UUID_OCTETS : packText(uid, at);
  }
  scratch[from] = flags;
  return at;
}

function reserve(octets: number): void {
  if (octets <= scratch.length) return;
  const larger = Buffer.allocUnsafeSlow(2 * octets);
  larger.set(scratch);
  scratch = larger;
}

/** Seven bits an octet, the lowest first; the eighth says that more come. */
function packNumber(value: number, from: number): number {
  let at = from;
  let left = value;
  reserve(at + 5);
  for (; left > 0x7f; left >>>= 7) scratch[at++] = 0x80 | (left & 0x7f);
  scratch[at++] = left;
  return at;
}

function packText(text: string, from: number): number {
  let isWide = false;
  for (let i = 0; i < text.length && !isWide; i++) isWide = text.charCodeAt(i) > 0xff;
  let at = packNumber(2 * text.length + (isWide ? 1 : 0), from);
  reserve(at + 2 * text.length);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (isWide) scratch[at++] = unit >>> 8;
    scratch[at++] = unit & 0xff;
  }
  return at;
}

/** The offset after the octets of a dotted quad without leading zeros; 0: it is none. */
function packIPv4(text: string, from: number): number {
  let at = from;
  let octet = 0;
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit === DOT - ZERO) {
      if (digits === 0 || at - from === 3) return 0;
      scratch[at++] = octet;
      octet = digits = 0;
      continue;
    }
    if (digit < 0 || digit > 9 || (digits > 0 && octet === 0)) return 0;
    octet = octet * 10 + digit;
    if (octet > 255) return 0;
    digits++;
  }
  if (digits === 0 || at - from !== 3) return 0;
  scratch[at] = octet;
  return at + 1;
}

/** False: it is no uid in lower-case hex with its four dashes. */
function packUuid(uid: string, from: number): boolean {
  if (uid.length !== UUID_CHARACTERS) return false;
  let at = from;
  for (let i = 0; i < UUID_CHARACTERS; i += 2) {
    if (isDashPlace(at - from) && uid.charCodeAt(i++) !== DASH) return false;
    const high = hexDigit(uid.charCodeAt(i));
    const low = hexDigit(uid.charCodeAt(i + 1));
    if (high < 0 || low < 0) return false;
    scratch[at++] = (high << 4) | low;
  }
  return true;
}

/** Before which octets a dash stands. */
function isDashPlace(octet: number): boolean {
  return octet === 4 || octet === 6 || octet === 8 || octet === 10;
}

function hexDigit(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  return unit >= 0x61 && unit <= 0x66 ? unit - 0x57 : -1;
}

// Unpacking

const OCTET_TEXT: readonly string[] = Array.from({ length: 256 }, (_, octet) => String(octet));
const OCTET_AND_DOT: readonly string[] = OCTET_TEXT.map((text) => text + '.');
/** The digits of an octet in hex, the high one in the high eight bits. */
const HEX_PAIR = Uint16Array.from({ length: 256 }, (_, octet) => {
  const text = octet.toString(16).padStart(2, '0');
  return (text.charCodeAt(0) << 8) | text.charCodeAt(1);
});

/** Reads what `packEndpoints` wrote. */
export function unpackEndpoints(packed: string): readonly Endpoint[] {
  if (packed === '') return NO_ENDPOINTS;
  const reader = new PackedReader(packed);
  const endpoints: Endpoint[] = [];
  while (reader.at < packed.length) endpoints.push(reader.endpoint());
  return endpoints;
}

/** Whether text of one-octet characters can be unpacked: for text from a disk. */
export function isPacked(text: string): boolean {
  const reader = new PackedReader(text);
  while (reader.at < text.length) if (!reader.skipEndpoint()) return false;
  return reader.at === text.length;
}

/** The addresses of one slice as numbers, while they are compared: nothing is awaited between. */
const numbers = new Uint32Array(1_024);

/** Whether every endpoint has one IPv4 address that no other has: told without unpacking. */
export function hasDistinctIPv4(packed: string): boolean {
  const reader = new PackedReader(packed);
  let count = 0;
  while (reader.at < packed.length) {
    if (count === numbers.length || (packed.charCodeAt(reader.at) & ONE_IPV4) === 0) return false;
    const at = reader.at + 1;
    numbers[count++] =
      (packed.charCodeAt(at) << 24) |
      (packed.charCodeAt(at + 1) << 16) |
      (packed.charCodeAt(at + 2) << 8) |
      packed.charCodeAt(at + 3);
    reader.skipEndpoint();
  }
  const sorted = numbers.subarray(0, count).sort();
  for (let i = 1; i < count; i++) if (sorted[i] === sorted[i - 1]) return false;
  return true;
}

class PackedReader {
  readonly #packed: string;
  at = 0;

  constructor(packed: string) {
    this.#packed = packed;
  }

  endpoint(): Endpoint {
    const flags = this.#octet();
    const addresses: string[] = [];
    if ((flags & ONE_IPV4) !== 0) addresses.push(this.#ipv4());
    else for (let left = this.#number(); left > 0; left--) addresses.push(this.#text());
    const hostname = (flags & HAS_HOSTNAME) !== 0 ? this.#text() : '';
    const uid = (flags & UUID) !== 0 ? this.#uuid() : (flags & TEXT_UID) !== 0 ? this.#text() : '';
    return { addresses, hostname, ready: (flags & READY) !== 0, uid };
  }

  /** False: it is no endpoint. Past the end everything reads as zero, so that `at` tells. */
  skipEndpoint(): boolean {
    const flags = this.#octet();
    if (!(flags <= KNOWN_FLAGS)) return false;
    if ((flags & ONE_IPV4) !== 0) this.at += 4;
    else for (let left = this.#number(); left > 0 && this.at < this.#packed.length; left--) this.#skipText();
    if ((flags & HAS_HOSTNAME) !== 0) this.#skipText();
    if ((flags & UUID) !== 0) this.at += UUID_OCTETS;
    else if ((flags & TEXT_UID) !== 0) this.#skipText();
    return this.at <= this.#packed.length;
  }

  #octet(): number {
    return this.#packed.charCodeAt(this.at++);
  }

  #number(): number {
    let value = 0;
    for (let shift = 0; shift < 32; shift += 7) {
      const octet = this.#octet();
      value |= (octet & 0x7f) << shift;
      if (!(octet > 0x7f)) break;
    }
    return value >>> 0;
  }

  #text(): string {
    const length = this.#number();
    const from = this.at;
    this.at += textOctets(length);
    if ((length & 1) === 0) return this.#packed.substring(from, this.at);
    let text = '';
    for (let i = from; i < this.at; i += 2) {
      text += String.fromCharCode((this.#packed.charCodeAt(i) << 8) | this.#packed.charCodeAt(i + 1));
    }
    return text;
  }

  #skipText(): void {
    const length = this.#number();
    this.at += textOctets(length);
  }

  #ipv4(): string {
    return (
      OCTET_AND_DOT[this.#octet()]! +
      OCTET_AND_DOT[this.#octet()]! +
      OCTET_AND_DOT[this.#octet()]! +
      OCTET_TEXT[this.#octet()]!
    );
  }

  #uuid(): string {
    let to = 0;
    for (let octet = 0; octet < UUID_OCTETS; octet++) {
      if (isDashPlace(octet)) scratch[to++] = DASH;
      const pair = HEX_PAIR[this.#octet()]!;
      scratch[to++] = pair >>> 8;
      scratch[to++] = pair & 0xff;
    }
    return scratch.toString('latin1', 0, to);
  }
}

function textOctets(length: number): number {
  return (length & 1) === 0 ? length >>> 1 : 2 * (length >>> 1);
}
