// Asks an image as a client would: questions are written and replies are read by dns-packet, never by our own code.
import { decode, encode, type Answer, type DecodedPacket, type RecordType } from 'dns-packet';
import { Responder, transport } from '../../src/dns/respond.ts';

/** Room for a reply over TCP behind any question. */
const BUFFER_OCTETS = 65_536 + 1_024;
const EDE_OPTION = 15;

export interface Reply {
  readonly octets: number;
  readonly rcode: string;
  readonly aa: boolean;
  readonly tc: boolean;
  /** `owner TYPE rdata` of the answer section, sorted; owners in lower case. */
  readonly answers: readonly string[];
  readonly additional: readonly string[];
  /** The types in the authority section. */
  readonly authority: readonly string[];
  readonly ttls: readonly number[];
  /** INFO-CODEs of Extended DNS Errors, and their text. */
  readonly ede: readonly number[];
  readonly edeText: string;
  readonly packet: DecodedPacket;
}

export type Over = 'udp' | 'tcp';

/** One reader of an image. `online: false` leaves entering and leaving to the test. */
export class Asker {
  readonly responder: Responder;
  private readonly buffer = new Uint8Array(BUFFER_OCTETS);
  private readonly online: boolean;

  constructor(image: SharedArrayBuffer, reader = 0, options: { online?: boolean } = {}) {
    this.responder = new Responder(image, reader, this.buffer);
    this.online = options.online ?? true;
  }

  /** The reply to one question, decoded. With `edns` false no OPT goes along. */
  ask(name: string, type: string, over: Over = 'tcp', edns = true): Reply {
    const question = questionOf(name, type, edns);
    this.buffer.set(question);
    if (this.online) this.responder.enter();
    const octets = this.responder.respond(0, question.length, over === 'udp' ? transport.UDP : transport.TCP);
    if (this.online) this.responder.leave();
    return readReply(Buffer.from(this.buffer.subarray(0, octets)));
  }
}

/** A query in wire form. */
export function questionOf(name: string, type: string, edns = true, id = 4242): Buffer {
  return encode({
    type: 'query',
    id,
    flags: 0,
    questions: [{ name, type: type as RecordType }],
    ...(edns
      ? { additionals: [{ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [] } as never] }
      : {}),
  });
}

export function readReply(message: Buffer): Reply {
  const packet = decode(message);
  const additional = (packet.additionals ?? []).filter((record) => record.type !== 'OPT');
  const opt = (packet.additionals ?? []).find((record) => record.type === 'OPT');
  const options = (opt as { options?: { code: number; data: Buffer }[] } | undefined)?.options ?? [];
  const errors = options.filter((option) => option.code === EDE_OPTION).map((option) => option.data);
  const answers = packet.answers ?? [];
  return {
    octets: message.length,
    rcode: (packet as unknown as { rcode: string }).rcode,
    aa: packet.flag_aa,
    tc: packet.flag_tc,
    answers: answers.map(recordText).sort(),
    additional: additional.map(recordText).sort(),
    authority: (packet.authorities ?? []).map((record) => record.type),
    ttls: [...new Set(answers.map((record) => (record as { ttl?: number }).ttl ?? -1))],
    ede: errors.map((data) => data.readUInt16BE(0)),
    edeText: errors.map((data) => data.toString('latin1', 2)).join(' '),
    packet,
  };
}

function recordText(record: Answer): string {
  return `${record.name.toLowerCase()} ${record.type} ${rdataText(record)}`;
}

/** RDATA in presentation form, names in lower case without the last dot. */
export function rdataText(record: Answer): string {
  switch (record.type) {
    case 'A':
    case 'AAAA':
    case 'NS':
      return record.data.toLowerCase();
    case 'SRV': {
      const { priority, weight, port, target } = record.data;
      return `${String(priority)} ${String(weight)} ${String(port)} ${target.toLowerCase()}`;
    }
    case 'TXT':
      return [record.data].flat().map(String).join('');
    case 'SOA':
      return `${record.data.mname} ${record.data.rname} ${String(record.data.serial)}`;
    default:
      return '?';
  }
}
