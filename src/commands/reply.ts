// A reply read by dns-packet, and printed in dig's layout. Read by somebody else's decoder on purpose: `query` must show
// what went over the wire, not what this server believes it wrote.
// Not here: asking (query.ts).

import packet from 'dns-packet';

export interface Question {
  readonly name: string;
  readonly class: string;
  readonly type: string;
}

/** Name and data are in presentation form (RFC 1035 5.1). */
export interface RecordText {
  readonly name: string;
  readonly ttl: number;
  readonly class: string;
  readonly type: string;
  readonly data: string;
}

export interface Edns {
  readonly version: number;
  readonly udpPayloadSize: number;
  readonly flags: readonly string[];
  /** Extended DNS Errors, RFC 8914. */
  readonly errors: readonly { readonly code: number; readonly name: string; readonly text: string }[];
  /** The other options, as dig prints them. */
  readonly options: readonly string[];
}

export interface Reply {
  readonly id: number;
  readonly opcode: string;
  readonly status: string;
  readonly flags: readonly string[];
  readonly edns: Edns | undefined;
  readonly question: readonly Question[];
  readonly answer: readonly RecordText[];
  readonly authority: readonly RecordText[];
  readonly additional: readonly RecordText[];
  /** Octets behind the last record; 0 in a sound message. */
  readonly extraOctets: number;
}

/** Info codes of Extended DNS Errors, RFC 8914 4 and its registry up to 24. */
const EDE_NAMES = (
  'Other|Unsupported DNSKEY Algorithm|Unsupported DS Digest Type|Stale Answer|Forged Answer|DNSSEC Indeterminate|' +
  'DNSSEC Bogus|Signature Expired|Signature Not Yet Valid|DNSKEY Missing|RRSIGs Missing|No Zone Key Bit Set|' +
  'NSEC Missing|Cached Error|Not Ready|Blocked|Censored|Filtered|Prohibited|Stale NXDOMAIN Answer|' +
  'Not Authoritative|Not Supported|No Reachable Authority|Network Error|Invalid Data'
).split('|');

/** RCODEs that need an OPT, RFC 6891 9 and RFC 7873 8. */
const EXTENDED_RCODES: Readonly<Record<number, string>> = { 16: 'BADVERS', 23: 'BADCOOKIE' };

/** Types that dns-packet has no name for. */
export const MORE_TYPES: Readonly<Record<string, string>> = {
  SVCB: 'UNKNOWN_64',
  HTTPS: 'UNKNOWN_65',
  URI: 'UNKNOWN_256',
};

/** What dns-packet 5.6.1 gives, where its types say less. */
interface Decoded {
  readonly id: number;
  readonly opcode: string;
  readonly rcode: string;
  readonly questions: readonly Question[];
  readonly answers: readonly DecodedRecord[];
  readonly authorities: readonly DecodedRecord[];
  readonly additionals: readonly DecodedRecord[];
}

interface DecodedRecord {
  readonly name: string;
  readonly type: string;
  readonly class: string;
  readonly ttl: number;
  readonly data: unknown;
}

type DecodedOpt = Omit<packet.OptAnswer, 'options'> & {
  readonly options: readonly { readonly code: number; readonly data: Buffer }[];
};

/** Reads a message; throws what dns-packet throws where it is malformed. */
export function readReply(octets: Uint8Array): Reply {
  const message = Buffer.from(octets);
  // dns-packet takes labels and character strings for UTF-8 and joins labels with dots, so that octets are lost. It
  // reads them through `toString` of this one buffer: here every octet that means something else comes out as \DDD.
  message.toString = (_encoding, start, end) => escapeOctets(message.subarray(start, end));
  const decoded = packet.decode(message);
  // It reads an address beyond the end, and calls what it finds undefined.
  const extraOctets = octets.length - packet.decode.bytes;
  if (extraOctets < 0) throw new Error('the message ends inside a record');
  const { id, opcode, rcode, questions, answers, authorities, additionals } = decoded as unknown as Decoded;
  const opt = (additionals as readonly (DecodedRecord | DecodedOpt)[]).find((record) => record.type === 'OPT');
  const extended = opt === undefined ? 0 : (opt as DecodedOpt).extendedRcode << 4;
  const code = extended | (octets[3]! & 0x0f);
  return {
    id,
    opcode,
    status: extended === 0 ? rcode : (EXTENDED_RCODES[code] ?? `RESERVED${code}`),
    flags: (['qr', 'aa', 'tc', 'rd', 'ra', 'ad', 'cd'] as const).filter((flag) => decoded[`flag_${flag}`]),
    edns: opt === undefined ? undefined : readEdns(opt as DecodedOpt),
    question: questions.map((question) => ({
      name: absolute(question.name),
      class: className(question.class),
      type: typeName(question.type),
    })),
    answer: answers.map(readRecord),
    authority: authorities.map(readRecord),
    additional: additionals.filter((record) => record.type !== 'OPT').map(readRecord),
    extraOctets,
  };
}

function readEdns(opt: DecodedOpt): Edns {
  const isError = ({ code, data }: { code: number; data: Buffer }): boolean => code === 15 && data.length >= 2;
  return {
    version: opt.ednsVersion,
    udpPayloadSize: opt.udpPayloadSize,
    flags: opt.flag_do ? ['do'] : [],
    errors: opt.options.filter(isError).map(({ data }) => {
      const code = data.readUInt16BE(0);
      return { code, name: EDE_NAMES[code] ?? '', text: printable(data.toString('utf8', 2)) };
    }),
    options: opt.options.filter((option) => !isError(option)).map(({ code, data }) => optionText(code, data)),
  };
}

function optionText(code: number, data: Buffer): string {
  const hex = [...data].map((octet) => octet.toString(16).padStart(2, '0'));
  if (code === 10) return `COOKIE: ${hex.join('')}`;
  if (code === 11 && data.length === 2) return `TCP KEEPALIVE: ${(data.readUInt16BE(0) / 10).toFixed(1)} secs`;
  if (code === 12) return `PAD: (${data.length} bytes)`;
  const name = code === 3 ? 'NSID' : `OPT=${code}`;
  const ascii = data.toString('latin1').replaceAll(/[^ -~]/g, '.');
  return data.length === 0 ? `${name}:` : `${name}: ${hex.join(' ')} ("${ascii}")`;
}

function readRecord(record: DecodedRecord): RecordText {
  return {
    name: absolute(record.name),
    ttl: record.ttl,
    class: className(record.class),
    type: typeName(record.type),
    data: recordData(record.type, record.data),
  };
}

function recordData(type: string, data: unknown): string {
  if (Buffer.isBuffer(data)) {
    // RFC 3597 5, as dig writes it.
    return data.length === 0 ? '\\# 0' : `\\# ${data.length} ${data.toString('hex').toUpperCase()}`;
  }
  switch (type) {
    case 'A':
      return data as string;
    case 'AAAA':
      return compressIPv6(data as string);
    case 'NS':
    case 'CNAME':
    case 'DNAME':
    case 'PTR':
      return absolute(data as string);
    case 'SRV': {
      const { priority, weight, port, target } = data as Required<packet.SrvData>;
      return `${priority} ${weight} ${port} ${absolute(target)}`;
    }
    case 'MX': {
      const { preference, exchange } = data as Required<packet.MxData>;
      return `${preference} ${absolute(exchange)}`;
    }
    case 'SOA': {
      const { mname, rname, serial, refresh, retry, expire, minimum } = data as Required<packet.SoaData>;
      return [absolute(mname), absolute(rname), serial, refresh, retry, expire, minimum].join(' ');
    }
    case 'TXT':
    case 'SPF':
      return (data as readonly Buffer[]).map(quote).join(' ');
    case 'HINFO': {
      const { cpu, os } = data as packet.HInfoData;
      return `${quote(octetsOf(cpu))} ${quote(octetsOf(os))}`;
    }
    case 'CAA': {
      const { flags, tag, value } = data as packet.CaaData;
      return `${flags ?? 0} ${tag} ${quote(octetsOf(value))}`;
    }
    default: {
      // Types that this server never sends: the fields that dns-packet found, in its order.
      const fields = Object.values(data as Record<string, unknown>);
      return fields.map((field) => (Buffer.isBuffer(field) ? field.toString('hex') : String(field))).join(' ');
    }
  }
}

function escapeOctets(octets: Uint8Array): string {
  return Buffer.from(octets)
    .toString('latin1')
    .replaceAll(/[^!-~]|["().;\\@$]/g, (octet) => '\\' + String(octet.charCodeAt(0)).padStart(3, '0'));
}

function octetsOf(escaped: string): Buffer {
  const text = escaped.replaceAll(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(Number(code)));
  return Buffer.from(text, 'latin1');
}

/** A name out of `escapeOctets`: absolute, and printable octets by a backslash alone, as dig writes them. */
function absolute(name: string): string {
  const text = name.replaceAll(/\\(\d{3})/g, (escaped, code: string) => {
    const octet = Number(code);
    return octet > 0x20 && octet < 0x7f ? '\\' + String.fromCharCode(octet) : escaped;
  });
  return text === '.' ? text : text + '.';
}

/** A character string, RFC 1035 5.1. */
function quote(octets: Uint8Array): string {
  const text = Buffer.from(octets).toString('latin1');
  const escaped = text.replaceAll(/[^ -~]|["\\]/g, (octet) =>
    octet === '"' || octet === '\\' ? '\\' + octet : '\\' + String(octet.charCodeAt(0)).padStart(3, '0'),
  );
  return `"${escaped}"`;
}

/** RFC 5952 from dns-packet's text, which shortens the first run of zeros, not the longest; mapped IPv4 as dig has it. */
function compressIPv6(text: string): string {
  const compressed = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(compressed) ?? [];
  if (high === undefined || low === undefined) return compressed;
  const [h, l] = [parseInt(high, 16), parseInt(low, 16)];
  return `::ffff:${h >> 8}.${h & 255}.${l >> 8}.${l & 255}`;
}

function typeName(type: string): string {
  const more = Object.entries(MORE_TYPES).find(([, unknown]) => unknown === type);
  return more?.[0] ?? type.replace(/^UNKNOWN_/, 'TYPE');
}

function className(name: string): string {
  return name.replace(/^UNKNOWN_/, 'CLASS');
}

/** Nothing that a terminal acts on. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '.');
}

/** A reply from its header to its last section, in dig's layout; it ends with an empty line. */
export function replyText(reply: Reply): string {
  const { edns, question, answer, authority, additional } = reply;
  const lines = [
    `;; ->>HEADER<<- opcode: ${reply.opcode}, status: ${reply.status}, id: ${reply.id}`,
    `;; flags: ${reply.flags.join(' ')}; QUERY: ${question.length}, ANSWER: ${answer.length}, ` +
      `AUTHORITY: ${authority.length}, ADDITIONAL: ${additional.length + (edns === undefined ? 0 : 1)}`,
  ];
  if (reply.flags.includes('rd') && !reply.flags.includes('ra')) {
    lines.push(';; WARNING: recursion requested but not available');
  }
  if (reply.extraOctets > 0) lines.push(`;; WARNING: Message has ${reply.extraOctets} extra bytes at end`);
  lines.push('');
  if (edns !== undefined) {
    const flags = edns.flags.map((flag) => ' ' + flag).join('');
    lines.push(';; OPT PSEUDOSECTION:');
    lines.push(`; EDNS: version: ${edns.version}, flags:${flags}; udp: ${edns.udpPayloadSize}`);
    for (const { code, name, text } of edns.errors) {
      lines.push(`; EDE: ${code}${name === '' ? '' : ` (${name})`}${text === '' ? '' : `: (${text})`}`);
    }
    lines.push(...edns.options.map((option) => `; ${option}`));
  }
  if (question.length > 0) {
    lines.push(';; QUESTION SECTION:');
    lines.push(
      ...question.map(
        (asked) =>
          ';' +
          columns([
            [asked.name, 32],
            [asked.class, 40],
            [asked.type, 0],
          ]),
      ),
      '',
    );
  }
  for (const [title, records] of [
    ['ANSWER', answer],
    ['AUTHORITY', authority],
    ['ADDITIONAL', additional],
  ] as const) {
    if (records.length > 0) lines.push(`;; ${title} SECTION:`, ...records.map(recordLine), '');
  }
  return lines.join('\n') + '\n';
}

function recordLine({ name, ttl, class: klass, type, data }: RecordText): string {
  return columns([
    [name, 24],
    [String(ttl), 32],
    [klass, 40],
    [type, 48],
    [data, 0],
  ]);
}

/** Fields with tabs up to the column where the next one begins, as dig sets them: one that is too long costs a space. */
function columns(fields: readonly (readonly [text: string, next: number])[]): string {
  let line = '';
  let column = 0;
  fields.forEach(([text, next], i) => {
    line += text;
    column += text.length;
    if (i === fields.length - 1) return;
    const to = Math.max(next, column + 1);
    const tabs = Math.floor(to / 8) - Math.floor(column / 8);
    line += '\t'.repeat(tabs) + ' '.repeat(tabs > 0 ? to % 8 : to - column);
    column = to;
  });
  return line;
}
