// What a reply says, as lines of text, and what no reply may ever do. dns-packet decodes; the walk beside it looks at
// what a decoder forgives: pointers, octets behind the last record, repeats. Nothing of src/ is used here.
// Sources: RFC 1035 4.1, RFC 2181 5 and 9, RFC 2782, RFC 6891 6.1.1, RFC 8914.

import dnsPacket from 'dns-packet';
import { uint16 } from './packet.ts';

const flagNames = ['qr', 'aa', 'tc', 'rd', 'ra', 'z', 'ad', 'cd'];
const flagBits = [0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010];
const rcodes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];
const rcodeNames = new Map([...rcodes.entries(), [9, 'NOTAUTH'], [16, 'BADVERS']]);
const SRV = 33;
const OPT = 41;

/** A record as it stands in the message. */
export interface WireRecord {
  readonly section: 'answer' | 'authority' | 'additional';
  /** Labels of the owner as latin1, dots inside a label not told apart. */
  readonly owner: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly rdata: Buffer;
}

export interface WireReply {
  readonly id: number;
  readonly flags: number;
  readonly questionEnd: number;
  readonly records: readonly WireRecord[];
  /** Rules broken, in words. */
  readonly faults: readonly string[];
}

/** Walks a reply to the last octet. */
export function walk(reply: Buffer): WireReply {
  const faults: string[] = [];
  const records: WireRecord[] = [];
  if (reply.length < 12) return { id: 0, flags: 0, questionEnd: 0, records, faults: ['shorter than a header'] };
  const [id, flags, questions, ...counts] = [0, 2, 4, 6, 8, 10].map((at) => reply.readUInt16BE(at));
  let p = 12;
  const name = (): string => {
    let text = '';
    let end = -1;
    for (let at = p; ;) {
      const label = reply[at];
      if (label === undefined) throw new RangeError('a name goes past the end');
      if (label >= 0xc0) {
        const target = reply.readUInt16BE(at) & 0x3fff;
        if (target >= at || target < 12) faults.push(`pointer at ${at} leads to ${target}`);
        if (target >= at) throw new RangeError('a pointer leads forward');
        if (end < 0) end = at + 2;
        at = target;
        continue;
      }
      if (label > 63) throw new RangeError(`label type ${label}`);
      at++;
      if (label === 0) {
        p = end < 0 ? at : end;
        return text === '' ? '.' : text;
      }
      if (at + label > reply.length) throw new RangeError('a label goes past the end');
      text += reply.toString('latin1', at, at + label) + '.';
      at += label;
    }
  };
  let questionEnd = 12;
  try {
    if (questions! > 1) faults.push(`QDCOUNT ${questions!}`);
    for (let i = 0; i < questions!; i++) {
      name();
      p += 4;
    }
    questionEnd = p;
    for (const [i, section] of (['answer', 'authority', 'additional'] as const).entries()) {
      for (let left = counts[i]!; left > 0; left--) {
        const owner = name();
        const [type, rrclass, high, low, rdlength] = [0, 2, 4, 6, 8].map((at) => reply.readUInt16BE(p + at));
        p += 10;
        if (p + rdlength! > reply.length) throw new RangeError('RDATA goes past the end');
        const rdata = reply.subarray(p, p + rdlength!);
        records.push({ section, owner, type: type!, class: rrclass!, ttl: high! * 65_536 + low!, rdata });
        p += rdlength!;
      }
    }
    if (p !== reply.length) faults.push(`${reply.length - p} octets behind the last record`);
  } catch (error) {
    faults.push(`cannot be walked: ${String(error)}`);
  }
  return { id: id!, flags: flags!, questionEnd, records, faults };
}

/** Rules that every reply keeps, whatever the query was. `most`: octets that the transport allows. */
export function faultsOf(query: Buffer, reply: Buffer, most: number): string[] {
  const { id, flags, questionEnd, records, faults: walked } = walk(reply);
  const faults = [...walked];
  if (reply.length > most) faults.push(`${reply.length} octets, more than ${most}`);
  if (id !== query.readUInt16BE(0)) faults.push('another id');
  if ((flags & 0x8000) === 0) faults.push('QR=0');
  if (((flags ^ query.readUInt16BE(2)) & 0x7800) !== 0) faults.push('another opcode');
  if ((flags & 0x00e0) !== 0) faults.push('RA, Z or AD');
  if (!query.subarray(12, questionEnd).equals(reply.subarray(12, questionEnd))) faults.push('another question');
  const sets = new Map<string, { ttl: number; seen: Set<string> }>();
  for (const { section, owner, type, class: rrclass, ttl, rdata } of records) {
    if (type === OPT) {
      if (section !== 'additional' || owner !== '.') faults.push('an OPT out of place');
      if (query.length < 12 || query.readUInt16BE(10) === 0) faults.push('an OPT that was not asked for');
      continue;
    }
    if (ttl > 0x7fff_ffff) faults.push(`TTL ${ttl}`);
    if (type === SRV && rdata.subarray(6).some((octet, at) => octet >= 0xc0 && isLabelStart(rdata.subarray(6), at))) {
      faults.push('a compressed SRV target');
    }
    const key = `${section === 'additional' ? '+' : ''}${owner.toLowerCase()} ${rrclass} ${type}`;
    const set = sets.get(key) ?? { ttl, seen: new Set() };
    sets.set(key, set);
    if (set.ttl !== ttl) faults.push(`${key}: two TTLs`);
    const text = rdata.toString('latin1');
    if (set.seen.has(text)) faults.push(`${key}: a record twice`);
    set.seen.add(text);
  }
  if (records.filter(({ type }) => type === OPT).length > 1) faults.push('two OPT');
  const error = [1, 4, 5, 9].includes(flags & 15) || records.some(({ type, ttl }) => type === OPT && ttl >>> 24 !== 0);
  const options = records.find(({ type }) => type === OPT)?.rdata.length ?? 0;
  if (error && reply.length > query.length + 11 + options) faults.push(`an error of ${reply.length} octets`);
  return faults;
}

/** Whether octet `at` of an uncompressed name is a length. */
function isLabelStart(name: Buffer, at: number): boolean {
  let p = 0;
  while (p < at && name[p] !== 0 && name[p]! < 0xc0) p += name[p]! + 1;
  return p === at;
}

/** RCODE, extended bits included. */
export function rcodeOf(reply: Buffer): string {
  const { flags, records } = walk(reply);
  const extended = records.find(({ type }) => type === OPT)?.ttl ?? 0;
  const code = (flags & 15) | ((extended >>> 24) << 4);
  return rcodeNames.get(code) ?? `RCODE${code}`;
}

interface Decoded {
  readonly name: string;
  readonly type: string;
  readonly class: string;
  readonly ttl: number;
  readonly data: unknown;
}

/** A record as a line of a master file: `owner TTL class type RDATA`. The SOA's serial is written SERIAL. */
function line(record: Decoded): string {
  const owner = absolute(record.name);
  return `${owner} ${record.ttl} ${record.class} ${record.type} ${rdataText(record.type, record.data)}`;
}

function absolute(name: string): string {
  return name === '.' ? '.' : name + '.';
}

function rdataText(type: string, data: unknown): string {
  const fields = data as Record<string, string>;
  switch (type) {
    case 'SRV':
      return `${fields['priority']!} ${fields['weight']!} ${fields['port']!} ${absolute(fields['target']!)}`;
    case 'SOA':
      return [
        absolute(fields['mname']!),
        absolute(fields['rname']!),
        'SERIAL',
        ...['refresh', 'retry', 'expire', 'minimum'].map((name) => fields[name]!),
      ].join(' ');
    case 'TXT':
      return (data as Buffer[]).map((text) => JSON.stringify(text.toString('latin1'))).join(' ');
    case 'NS':
      return absolute(data as string);
    default:
      return String(data);
  }
}

/** The lines of one section; addresses, whose order rotates, are sorted within their run of one owner and type. */
export function sectionLines(reply: Buffer, section: 'answers' | 'authorities' | 'additionals'): string[] {
  const records = (dnsPacket.decode(reply)[section] as unknown as Decoded[]).filter(({ type }) => type !== 'OPT');
  const runs: string[][] = [];
  let before = '';
  for (const record of records) {
    const isAddress = record.type === 'A' || record.type === 'AAAA';
    const key = isAddress ? `${record.name} ${record.type}` : '';
    if (key === '' || key !== before) runs.push([]);
    before = key;
    runs.at(-1)!.push(line(record));
  }
  return runs.flatMap((run) => run.sort(byNumbers));
}

const byNumbers = new Intl.Collator('en', { numeric: true }).compare;

function optLine(opt: WireRecord): string {
  const words = [`opt: ${opt.class}`];
  if ((opt.ttl & 0x8000) !== 0) words.push('do');
  if (((opt.ttl >>> 16) & 0xff) !== 0) words.push(`version ${(opt.ttl >>> 16) & 0xff}`);
  if ((opt.ttl & 0x7fff) !== 0) words.push(`flags ${opt.ttl & 0x7fff}`);
  for (let p = 0; p < opt.rdata.length;) {
    const [code, length] = [opt.rdata.readUInt16BE(p), opt.rdata.readUInt16BE(p + 2)];
    const payload = opt.rdata.subarray(p + 4, p + 4 + length);
    const text = code === 15 && length > 2 ? ` ${JSON.stringify(payload.toString('latin1', 2))}` : '';
    words.push(code === 15 ? `ede ${payload.readUInt16BE(0)}${text}` : `option ${code}`);
    p += 4 + length;
  }
  return words.join(' ');
}

/**
 * The whole reply as lines: RCODE and flags (QR left out, it must be set), then the answers, `auth:`, `add:` and `opt:`;
 * and a line `FAULT: …` for each rule it breaks.
 */
export function show(query: Buffer, reply: Buffer, most: number): string {
  const faults = faultsOf(query, reply, most);
  const lines: string[] = [];
  try {
    const { flags, records } = walk(reply);
    const words = [rcodeOf(reply)];
    const opcode = (flags >>> 11) & 15;
    if (opcode !== 0) words.push(`opcode ${opcode}`);
    flagNames.forEach((name, i) => {
      if (name !== 'qr' && (flags & flagBits[i]!) !== 0) words.push(name);
    });
    if (reply.readUInt16BE(4) === 0) words.push('no question');
    lines.push(words.join(' '), ...sectionLines(reply, 'answers'));
    lines.push(...sectionLines(reply, 'authorities').map((text) => `auth: ${text}`));
    lines.push(...sectionLines(reply, 'additionals').map((text) => `add: ${text}`));
    lines.push(...records.filter(({ type }) => type === OPT).map(optLine));
    if (dnsPacket.decode.bytes !== reply.length) faults.push(`dns-packet read ${dnsPacket.decode.bytes} octets`);
  } catch (error) {
    faults.push(`dns-packet: ${String(error)}`);
  }
  return [...lines, ...faults.map((fault) => `FAULT: ${fault}`)].join('\n');
}

/** The question that follows a packet under test, so that silence needs no waiting; its id and name are its own. */
export const SENTINEL_ID = 0xa5c3;
export const sentinel = Buffer.concat([
  uint16(SENTINEL_ID, 0, 1, 0, 0, 0),
  Buffer.from('\x08sentinel\x07invalid\0', 'latin1'),
  uint16(1, 1),
]);

export function isSentinelReply(reply: Buffer): boolean {
  return reply.length === sentinel.length && reply.subarray(12).equals(sentinel.subarray(12));
}
