// Queries octet by octet, so that a test can send what no library would. It writes only; replies are read in reply.ts.
// Sources: RFC 1035 4.1 (message), RFC 6891 6.1.2 (OPT).

/** Header bits as one 16-bit word, RFC 1035 4.1.1 and RFC 4035 3. */
export const bit = { QR: 0x8000, AA: 0x0400, TC: 0x0200, RD: 0x0100, RA: 0x0080, Z: 0x0040, AD: 0x0020, CD: 0x0010 };

const types: Readonly<Record<string, number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  DS: 43,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  SVCB: 64,
  HTTPS: 65,
  TKEY: 249,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  MAILB: 253,
  MAILA: 254,
  ANY: 255,
  CAA: 257,
};

/** The number of a type: a mnemonic, or `TYPE666` (RFC 3597 5). */
export function typeNumber(type: string | number): number {
  if (typeof type === 'number') return type;
  return types[type] ?? Number(/^TYPE(\d+)$/.exec(type)?.[1] ?? Number.NaN);
}

/** A name in wire form from presentation form, `\.` and `\DDD` included (RFC 1035 5.1). No length is checked. */
export function wireName(text: string): Buffer {
  const labels: number[][] = [[]];
  const bytes = Buffer.from(text, 'latin1');
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i]!;
    if (c === 0x2e) labels.push([]);
    else if (c !== 0x5c) labels.at(-1)!.push(c);
    else if (/^\d{3}$/.test(text.slice(i + 1, i + 4))) {
      labels.at(-1)!.push(Number(text.slice(i + 1, i + 4)));
      i += 3;
    } else labels.at(-1)!.push(bytes[++i]!);
  }
  if (labels.at(-1)!.length === 0) labels.pop();
  return Buffer.from([...labels.filter((label) => label.length > 0).flatMap((label) => [label.length, ...label]), 0]);
}

export function uint16(...values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [(value >>> 8) & 0xff, value & 0xff]));
}

/** A record; `rdlength` may lie. */
export function record(
  owner: string | Buffer,
  type: string | number,
  rrclass: number,
  ttl: number,
  rdata: Buffer = Buffer.alloc(0),
  rdlength = rdata.length,
): Buffer {
  const name = typeof owner === 'string' ? wireName(owner) : owner;
  return Buffer.concat([name, uint16(typeNumber(type), rrclass, ttl >>> 16, ttl & 0xffff, rdlength), rdata]);
}

/** An EDNS option; `length` may lie. */
export function option(code: number, payload: Buffer = Buffer.alloc(0), length = payload.length): Buffer {
  return Buffer.concat([uint16(code, length), payload]);
}

export interface OptParts {
  readonly owner?: string;
  readonly size?: number;
  readonly extendedRcode?: number;
  readonly version?: number;
  /** DO is 0x8000. */
  readonly flags?: number;
  readonly rdata?: Buffer;
  readonly rdlength?: number;
}

/** An OPT record, RFC 6891 6.1.2. */
export function opt(parts: OptParts = {}): Buffer {
  const { owner = '.', size = 1232, extendedRcode = 0, version = 0, flags = 0, rdata = Buffer.alloc(0) } = parts;
  return record(owner, 'OPT', size, extendedRcode * 2 ** 24 + (version << 16) + flags, rdata, parts.rdlength);
}

export interface QueryParts {
  readonly id?: number;
  /** The flags word; bits of the opcode and RCODE included. */
  readonly flags?: number;
  readonly class?: number;
  /** Whole records by section. */
  readonly answer?: readonly Buffer[];
  readonly authority?: readonly Buffer[];
  readonly additional?: readonly Buffer[];
  /** Counts of the header where they are not those of what follows: question, answer, authority, additional. */
  readonly counts?: readonly [number, number, number, number];
  /** Octets behind the message. */
  readonly tail?: Buffer;
}

/** A message of these parts; `question` are the octets behind the header. */
export function message(question: Buffer, parts: QueryParts = {}): Buffer {
  const { id = 0x1234, flags = 0, answer = [], authority = [], additional = [] } = parts;
  const counts = parts.counts ?? [question.length > 0 ? 1 : 0, answer.length, authority.length, additional.length];
  const tail = parts.tail ?? Buffer.alloc(0);
  return Buffer.concat([uint16(id, flags, ...counts), question, ...answer, ...authority, ...additional, tail]);
}

/** The question's octets. */
export function question(name: string | Buffer, type: string | number = 'A', qclass = 1): Buffer {
  return Buffer.concat([typeof name === 'string' ? wireName(name) : name, uint16(typeNumber(type), qclass)]);
}

/** A query for one name and type. */
export function query(name: string | Buffer, type: string | number = 'A', parts: QueryParts = {}): Buffer {
  return message(question(name, type, parts.class ?? 1), parts);
}

/** A query with an OPT. */
export function ednsQuery(
  name: string | Buffer,
  type: string | number = 'A',
  edns: OptParts = {},
  parts: QueryParts = {},
): Buffer {
  return query(name, type, { ...parts, additional: [opt(edns)] });
}
