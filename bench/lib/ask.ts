// A small DNS client that asks many questions once, over UDP or one TCP connection, and brings replies into a form in
// which two servers can be compared: sections as sets, TTLs included, the SOA's serial left out. Decoding is
// dns-packet's, so that our own reader never judges our own writer.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { decode, encode } from 'dns-packet';
import type { Answer } from 'dns-packet';
import type { Question } from './fleet.ts';
import { WrongAnswer } from './report.ts';

const WINDOW = 64;
const TRIES = 5;
const TRY_MILLIS = 400;

export type Transport = 'udp' | 'tcp';

/** The replies to `questions`, in their order. */
export async function askAll(port: number, questions: readonly Question[], over: Transport): Promise<Buffer[]> {
  const replies: Buffer[] = [];
  for (let from = 0; from < questions.length; from += WINDOW) {
    const batch = questions.slice(from, from + WINDOW);
    replies.push(...(await (over === 'udp' ? askUdp(port, batch) : askTcp(port, batch))));
  }
  return replies;
}

function query({ name, type }: Question, id: number): Buffer {
  return encode({ type: 'query', id, flags: 0, questions: [{ name, type, class: 'IN' }] });
}

async function askUdp(port: number, questions: readonly Question[]): Promise<Buffer[]> {
  const socket = createSocket('udp4');
  const replies = new Map<number, Buffer>();
  try {
    socket.connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => undefined);
    const all = new Promise<void>((resolve) => {
      socket.on('message', (message) => {
        replies.set(message.readUInt16BE(0), message);
        if (replies.size === questions.length) resolve();
      });
    });
    for (let tries = 0; tries < TRIES && replies.size < questions.length; tries++) {
      questions.forEach((question, id) => {
        if (!replies.has(id)) socket.send(query(question, id));
      });
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([all, new Promise((resolve) => (timer = setTimeout(resolve, TRY_MILLIS)))]);
      clearTimeout(timer);
    }
  } finally {
    socket.close();
  }
  return questions.map((question, id) => replies.get(id) ?? noReply(question));
}

async function askTcp(port: number, questions: readonly Question[]): Promise<Buffer[]> {
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(TRIES * TRY_MILLIS, () => socket.destroy());
  const messages = questions.map((question, id) => query(question, id));
  socket.write(Buffer.concat(messages.flatMap(framed)));
  const replies = new Map<number, Buffer>();
  let held: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of socket) {
      held = Buffer.concat([held, chunk as Buffer]);
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        const end = 2 + held.readUInt16BE(0);
        const message = held.subarray(2, end);
        replies.set(message.readUInt16BE(0), message);
        held = held.subarray(end);
      }
      if (replies.size === questions.length) break;
    }
  } finally {
    socket.destroy();
  }
  return questions.map((question, id) => replies.get(id) ?? noReply(question));
}

/** A message behind its length, RFC 1035 4.2.2. */
function framed(message: Buffer): Buffer[] {
  return [Buffer.from([message.length >>> 8, message.length & 0xff]), message];
}

function noReply({ name, type }: Question): never {
  throw new WrongAnswer(`no reply to ${name} ${type}`);
}

/** Until the server gives this RCODE to a question. */
export async function untilAnswered(port: number, question: Question, code: number, millis = 30_000): Promise<void> {
  const end = performance.now() + millis;
  for (;;) {
    const [reply] = await askUdp(port, [question]).catch(() => []);
    if (reply !== undefined && (reply[3]! & 0x0f) === code) return;
    if (performance.now() > end) throw new Error(`port ${String(port)} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A reply in a form that can be compared. */
export interface Comparable {
  /** What must be the same everywhere: RCODE, flags, answers, authority. */
  readonly must: string;
  readonly additional: readonly string[];
}

export function comparable(reply: Buffer): Comparable {
  const packet = decode(reply);
  const flags = `rcode ${String(reply[3]! & 0x0f)}${packet.flag_aa ? ' aa' : ''}${packet.flag_tc ? ' tc' : ''}`;
  const [answers, authority, additional] = [packet.answers, packet.authorities, packet.additionals].map((records) =>
    (records ?? []).map(recordText).sort(),
  ) as [string[], string[], string[]];
  return { must: [flags, ...answers, 'authority', ...authority].join('\n  '), additional };
}

function recordText(record: Answer): string {
  if (record.type === 'OPT') return 'OPT';
  const data = record.type === 'SOA' ? { ...record.data, serial: 0 } : record.data;
  return `${record.name.toLowerCase()} ${String(record.ttl)} ${record.type} ${JSON.stringify(data)}`;
}

/**
 * Throws WrongAnswer at the first question that two servers answer differently. A peer may leave additional records out
 * (NSD does, with minimal responses), but has none that we lack.
 */
export async function compareServers(
  ours: number,
  peers: readonly { readonly name: string; readonly port: number }[],
  questions: readonly Question[],
  over: Transport,
): Promise<void> {
  const replies = (await askAll(ours, questions, over)).map(comparable);
  for (const { name, port } of peers) {
    const others = await askAll(port, questions, over);
    questions.forEach((question, i) => {
      const mine = replies[i]!;
      const other = comparable(others[i]!);
      if (mine.must === other.must && other.additional.every((record) => mine.additional.includes(record))) return;
      const sides = [mine, other].map(({ must, additional }) => [must, 'additional', ...additional].join('\n  '));
      throw new WrongAnswer(`${question.name} ${question.type} over ${over}:\nours ${sides[0]!}\n${name} ${sides[1]!}`);
    });
  }
}
