// Registries of the DNS wire format that this server speaks of: opcodes, RCODEs, types, classes, EDNS options.
// Source: IANA "Domain Name System (DNS) Parameters"; each group names its RFC. Plain numbers: they index and compare.

/** Opcodes, RFC 1035 4.1.1. */
export const opcode = { QUERY: 0 } as const;

/** RCODEs, RFC 1035 4.1.1, RFC 2136 2.2, RFC 6891 9. BADVERS is an extended RCODE (needs an OPT). */
export const rcode = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  NOTAUTH: 9,
  BADVERS: 16,
} as const;

/** Record and query types, RFC 1035 3.2.2, RFC 3596, RFC 2782, RFC 6891, RFC 8945, RFC 1995, RFC 5936, RFC 8482. */
export const type = {
  A: 1,
  NS: 2,
  SOA: 6,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;

/** Mnemonics of the types that this zone can hold, for presentation form. */
export const typeNames: ReadonlyMap<number, string> = new Map([
  [type.A, 'A'],
  [type.NS, 'NS'],
  [type.SOA, 'SOA'],
  [type.TXT, 'TXT'],
  [type.AAAA, 'AAAA'],
  [type.SRV, 'SRV'],
]);

/** The Internet class, RFC 1035 3.2.4: the only one answered. */
export const classIN = 1;

/** EDNS option codes, RFC 6891 and its registry. */
export const ednsOption = { EDE: 15 } as const;

/** Extended DNS Errors, RFC 8914 4. */
export const ede = { OTHER: 0, STALE_ANSWER: 3, NOT_READY: 14, NOT_AUTHORITATIVE: 20 } as const;

/** Header flags as they stand in octets 2 and 3 of a message, RFC 1035 4.1.1 and RFC 4035 3.1.6. */
export const flag = { QR: 0x80, AA: 0x04, TC: 0x02, RD: 0x01, CD: 0x10 } as const;

/** RDATA of an SRV record before its target: priority, weight, port (RFC 2782). */
export const SRV_FIXED_OCTETS = 6;
/** Every SRV record's: endpoints are equals (KEP-1645 specification 2.4). */
export const SRV_PRIORITY = 0;
export const SRV_WEIGHT = 100;

/** Octets of a message header, RFC 1035 4.1.1; the question's name follows, so every name pointer to it is 0xc00c. */
export const HEADER_OCTETS = 12;
/** A name's octets with the root label, RFC 1035 3.1. */
export const MAX_NAME_OCTETS = 255;
/** A label's octets, RFC 1035 3.1. */
export const MAX_LABEL_OCTETS = 63;
/** UDP payload without EDNS, RFC 1035 4.2.1. */
export const PLAIN_UDP_OCTETS = 512;
/** UDP payload that this server offers and never exceeds, DNS flag day 2020 and RFC 9715. */
export const EDNS_UDP_OCTETS = 1232;
/** A message over TCP, RFC 1035 4.2.2. */
export const MAX_MESSAGE_OCTETS = 65_535;
/** A query over UDP is read so far; what a longer one has behind that counts as not sent, and so it is no well-formed query. */
export const LONGEST_QUERY_OCTETS = 4_608;
/** An OPT record without options, RFC 6891 6.1.2. */
export const OPT_OCTETS = 11;
/** A record before its RDATA when the owner is a pointer: owner 2, type 2, class 2, TTL 4, RDLENGTH 2. */
export const RECORD_FIXED_OCTETS = 12;
