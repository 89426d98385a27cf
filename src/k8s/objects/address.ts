// IP addresses as text: one strict reader that gives canonical text or the reason for a refusal.
// Not here: which networks a cluster may speak for (policy), octets of A and AAAA (compile.ts).
// RFC 5952 (IPv6 text), RFC 6052 2.1 (64:ff9b::/96), RFC 4291 2.5.5.2 (mapped); leading zeros: CVE-2021-28918 and kin.

/** Why an address is left out. Reasons are constants, so that a million refusals allocate nothing. */
export interface AddressRefusal {
  readonly refused: string;
}

export type AddressFamily = 4 | 6;

const NOT_AN_ADDRESS: AddressRefusal = { refused: 'is not an IP address' };
const LEADING_ZERO: AddressRefusal = { refused: 'has an octet with a leading zero' };
const NOT_IPV4: AddressRefusal = { refused: 'is not an IPv4 address' };
const NOT_IPV6: AddressRefusal = { refused: 'is not an IPv6 address' };
const UNSPECIFIED4: AddressRefusal = { refused: 'lies in 0.0.0.0/8' };
const LOOPBACK4: AddressRefusal = { refused: 'is a loopback address' };
const LINK_LOCAL: AddressRefusal = { refused: 'is a link-local address' };
const MULTICAST: AddressRefusal = { refused: 'is a multicast address' };
const BROADCAST: AddressRefusal = { refused: 'is the broadcast address' };
const UNSPECIFIED6: AddressRefusal = { refused: 'is the unspecified address' };
const LOOPBACK6: AddressRefusal = { refused: 'is a loopback address' };
const MAPPED: AddressRefusal = { refused: 'is an IPv4-mapped IPv6 address' };
const EMBEDDED: AddressRefusal = { refused: 'embeds (64:ff9b::/96) an IPv4 address that is refused' };

const DOT = 0x2e;
const COLON = 0x3a;
/** The longest text: six groups of four, and a dotted quad. */
const LONGEST_ADDRESS = 45;

/** Canonical text of an address, or why it is refused. With `family`, an address of the other one is refused. */
export function readAddress(text: string, family?: AddressFamily): string | AddressRefusal {
  if (text.length > LONGEST_ADDRESS) return NOT_AN_ADDRESS;
  if (text.includes(':')) {
    if (!readGroups(text)) return NOT_AN_ADDRESS;
    if (family === 4) return NOT_IPV4;
    const refusal = forbidden6();
    if (refusal !== undefined) return refusal;
    const canonical = writeGroups();
    return canonical === text ? text : canonical; // `text` is one string; what is put together is a rope of fifteen
  }
  const bits = readQuad(text, 0);
  if (bits === BAD_QUAD) return NOT_AN_ADDRESS;
  if (bits === ZERO_QUAD) return LEADING_ZERO;
  if (family === 6) return NOT_IPV6;
  return forbidden4(bits) ?? text;
}

/** The family of canonical text. */
export function familyOf(canonical: string): AddressFamily {
  return canonical.includes(':') ? 6 : 4;
}

const BAD_QUAD = -1;
const ZERO_QUAD = -2;

/** Four decimal octets from `at` to the end of `text` as an unsigned 32-bit number, or BAD_QUAD or ZERO_QUAD. */
function readQuad(text: string, at: number): number {
  let bits = 0;
  let octet = 0;
  let digits = 0;
  let dots = 0;
  let zero = false;
  for (let i = at; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === DOT) {
      if (digits === 0 || ++dots > 3) return BAD_QUAD;
      bits = bits * 256 + octet;
      octet = digits = 0;
      continue;
    }
    const digit = c - 0x30;
    if (digit < 0 || digit > 9) return BAD_QUAD;
    if (digits > 0 && octet === 0) zero = true;
    octet = octet * 10 + digit;
    digits++;
    if (octet > 255) return BAD_QUAD;
  }
  if (dots !== 3 || digits === 0) return BAD_QUAD;
  return zero ? ZERO_QUAD : bits * 256 + octet;
}

function forbidden4(bits: number): AddressRefusal | undefined {
  const first = bits >>> 24;
  if (first === 0) return UNSPECIFIED4;
  if (first === 127) return LOOPBACK4;
  if (bits >>> 16 === 0xa9fe) return LINK_LOCAL;
  if (first >= 224 && first < 240) return MULTICAST;
  return bits === 0xffffffff ? BROADCAST : undefined; // 240/4 is allowed: GKE gives it to pods
}

/**
 * The eight groups of the address that is being read. Shared scratch for speed; safe because `readAddress` is
 * synchronous, fills all of it before it reads it, and hands out text only.
 */
const groups = new Uint16Array(8);

function readGroups(text: string): boolean {
  let at = 0;
  let filled = 0;
  let gap = -1; // number of groups before `::`
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    if (filled === 8) return false;
    let value = 0;
    let end = at;
    for (; end < text.length; end++) {
      const digit = hexDigit(text.charCodeAt(end));
      if (digit < 0) break;
      value = value * 16 + digit;
    }
    if (text.charCodeAt(end) === DOT) {
      const bits = readQuad(text, at);
      if (bits < 0 || filled > 6) return false;
      groups[filled++] = bits >>> 16;
      groups[filled++] = bits & 0xffff;
      break;
    }
    if (end === at || end - at > 4) return false;
    groups[filled++] = value;
    if (end === text.length) break;
    if (text.charCodeAt(end) !== COLON) return false;
    at = end + 1;
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) return false;
      gap = filled;
      at++;
    } else if (at === text.length) return false;
  }
  if (gap < 0) return filled === 8;
  if (filled === 8) return false;
  groups.copyWithin(8 - (filled - gap), gap, filled);
  groups.fill(0, gap, 8 - (filled - gap));
  return true;
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function group(i: number): number {
  return groups[i]!;
}

function forbidden6(): AddressRefusal | undefined {
  const first = group(0);
  if (first >= 0xff00) return MULTICAST;
  if ((first & 0xffc0) === 0xfe80) return LINK_LOCAL;
  const low = ((group(6) << 16) | group(7)) >>> 0;
  if (first === 0x64 && group(1) === 0xff9b && zeros(2, 6)) return forbidden4(low) ? EMBEDDED : undefined;
  if (!zeros(0, 5)) return undefined;
  if (group(5) === 0xffff) return MAPPED;
  if (group(5) !== 0) return undefined;
  return low === 0 ? UNSPECIFIED6 : low === 1 ? LOOPBACK6 : undefined;
}

function zeros(from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (group(i) !== 0) return false;
  return true;
}

/** RFC 5952 4: lower case, no leading zeros, the first of the longest runs of two or more zero groups as `::`. */
function writeGroups(): string {
  let gap = -1;
  let gapLength = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && group(end) === 0) end++;
    if (end - i > gapLength) {
      gap = i;
      gapLength = end - i;
    }
    i = end;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === gap) {
      text += '::';
      i += gapLength - 1;
      continue;
    }
    if (i > 0 && i !== gap + gapLength) text += ':';
    text += group(i).toString(16);
  }
  return text;
}
