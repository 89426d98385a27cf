// `clusterset-dns query`: asks a DNS server one question, with dig's words and dig's layout, for machines without dig.
// UDP first, TCP where the reply was truncated. Not here: reading and printing a reply (reply.ts); recursion, DNSSEC,
// zone transfers, several questions at once.

import packet from 'dns-packet';
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { connect, isIPv6 } from 'node:net';
import { UsageError } from '../usage.ts';
import { MORE_TYPES, readReply, replyText, type Reply } from './reply.ts';

/** What commander found beside the words. */
export interface QueryFlags {
  readonly port?: string | undefined;
  readonly output?: string | undefined;
}

interface Server {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

interface Request {
  readonly server: { readonly name: string; readonly port: number };
  readonly question: Buffer;
  readonly type: string;
  readonly short: boolean;
  readonly tcp: boolean;
  readonly recurse: boolean;
  /** Offered UDP payload; undefined: no OPT. */
  readonly bufsize: number | undefined;
  /** A truncated reply is shown as it is. */
  readonly ignore: boolean;
  readonly timeoutMillis: number;
  readonly tries: number;
}

const DEFAULT_SERVER = '127.0.0.1';
const DEFAULT_PORT = 1053;
const DEFAULT_BUFSIZE = 1232;

/** Asks as the words say, and prints. 0: a reply came, whatever it says; 1: none came. Throws UsageError. */
export async function query(words: string[], flags: QueryFlags, out: (text: string) => void): Promise<number> {
  const asJson = flags.output === 'json';
  if (!asJson && flags.output !== undefined && flags.output !== 'text') {
    throw new UsageError(`--output: ${JSON.stringify(flags.output)} is not one of text, json`);
  }
  const request = parseWords(words, flags.port);
  const trouble: string[] = [];
  const tell = (line: string): void => {
    trouble.push(line);
    if (!asJson) out(`;; ${line}\n`);
  };
  const server = await findServer(request.server);
  if (!asJson && !request.short) out(`\n; <<>> clusterset-dns query <<>> ${words.join(' ')}\n`);

  const outcome = server === undefined ? undefined : await ask(request, server, tell);
  if (server === undefined) tell(`couldn't get address for '${request.server.name}': not found`);
  if (outcome === undefined || server === undefined) {
    tell('no servers could be reached');
    if (asJson) out(JSON.stringify({ server: request.server, errors: trouble }, null, 2) + '\n');
    return 1;
  }

  let reply: Reply;
  try {
    reply = readReply(outcome.octets);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const hex = outcome.octets.toString('hex');
    if (asJson) out(JSON.stringify({ server, error: `bad packet: ${reason}`, octets: hex }, null, 2) + '\n');
    else out(`;; Got bad packet: ${reason}\n${outcome.octets.length} bytes\n${hex.replaceAll(/.{64}/g, '$&\n')}\n`);
    return 1;
  }
  const { transport, millis, octets } = outcome;
  if (asJson) {
    out(JSON.stringify({ server, transport, millis, size: octets.length, ...reply }, null, 2) + '\n');
  } else if (request.short) {
    out(reply.status === 'NOERROR' ? reply.answer.map(({ data }) => data + '\n').join('') : '');
  } else {
    out(`;; Got answer:\n${replyText(reply)}${footer(server, outcome)}`);
  }
  return 0;
}

function footer(server: Server, { transport, millis, octets }: Outcome): string {
  const [, day, date, month, year, time] = /^(\w+), (\d+) (\w+) (\d+) (\S+) /.exec(new Date().toUTCString()) ?? [];
  return (
    `;; Query time: ${millis} msec\n` +
    `;; SERVER: ${server.address}#${server.port}(${server.name}) (${transport})\n` +
    `;; WHEN: ${day} ${month} ${date} ${time} UTC ${year}\n` +
    `;; MSG SIZE  rcvd: ${octets.length}\n\n`
  );
}

// Words.

function parseWords(words: readonly string[], portFlag: string | undefined): Request {
  const port = portFlag === undefined ? DEFAULT_PORT : parseNumber('--port', portFlag, 1, 65_535);
  let server = { name: DEFAULT_SERVER, port };
  const operands: string[] = [];
  const request = {
    short: false,
    tcp: false,
    recurse: true,
    bufsize: DEFAULT_BUFSIZE as number | undefined,
    ignore: false,
    timeoutMillis: 5_000,
    tries: 3,
  };
  for (const word of words) {
    const [key, value] = splitOnce(word, '=');
    if (word.startsWith('@')) server = parseServer(word, port);
    else if (!word.startsWith('+')) operands.push(word);
    else if (key === '+bufsize') request.bufsize = parseNumber(key, value, 0, 65_535);
    else if (key === '+time' || key === '+timeout') request.timeoutMillis = 1000 * parseNumber(key, value, 1, 600);
    else if (key === '+tries') request.tries = parseNumber(key, value, 1, 100);
    else Object.assign(request, switchOf(word));
  }
  const [name, type = 'A', extra] = operands;
  if (name === undefined) throw new UsageError('a name to ask for is needed: clusterset-dns query NAME [TYPE]');
  if (extra !== undefined) throw new UsageError(`${JSON.stringify(extra)} is one word too many after NAME and TYPE`);
  return { ...request, server, question: encodeName(name), type: parseType(type) };
}

function switchOf(word: string): Partial<Request> {
  switch (word.slice(1)) {
    case 'short':
      return { short: true };
    case 'noshort':
      return { short: false };
    case 'tcp':
    case 'vc':
      return { tcp: true };
    case 'notcp':
    case 'novc':
      return { tcp: false };
    case 'rec':
    case 'recurse':
      return { recurse: true };
    case 'norec':
    case 'norecurse':
      return { recurse: false };
    case 'edns':
      return { bufsize: DEFAULT_BUFSIZE };
    case 'noedns':
      return { bufsize: undefined };
    case 'ignore':
      return { ignore: true };
    default:
      throw new UsageError(
        `${word}: not a word of query; it knows +short, +tcp, +norec, +noedns, +bufsize=N, +ignore, +time=N, +tries=N`,
      );
  }
}

function parseServer(word: string, defaultPort: number): { name: string; port: number } {
  const [text, digits] = splitOnce(word.slice(1), '#');
  const name = text.replace(/^\[(.*)\]$/, '$1');
  if (name === '' || (name.includes(':') && !isIPv6(name))) {
    throw new UsageError(`${word}: @SERVER is an address or a host name, with #PORT where the port differs`);
  }
  return { name, port: digits === undefined ? defaultPort : parseNumber(word, digits, 1, 65_535) };
}

function parseNumber(flag: string, text: string | undefined, lowest: number, highest: number): number {
  const value = /^\d{1,6}$/.test(text ?? '') ? Number(text) : -1;
  if (value >= lowest && value <= highest) return value;
  throw new UsageError(`${flag}: ${JSON.stringify(text ?? '')} is not a number from ${lowest} to ${highest}`);
}

/** dns-packet's name of a type. */
function parseType(word: string): string {
  const name = word.toUpperCase();
  const [, digits] = /^TYPE(\d{1,5})$/.exec(name) ?? [];
  const type = digits === undefined ? (MORE_TYPES[name] ?? name) : `UNKNOWN_${Number(digits)}`;
  if (Number(digits ?? 0) <= 65_535 && !name.startsWith('UNKNOWN_')) {
    // Where dns-packet does not know the name it writes type 0, behind the header and the root's one octet.
    const encoded = packet.encode({ questions: [{ name: '.', type: type as packet.RecordType }] });
    if (encoded.readUInt16BE(13) > 0) return type;
  }
  throw new UsageError(`${JSON.stringify(word)} is no record type; A, AAAA, SRV, TXT, SOA, NS and TYPE65 are some`);
}

/** A name's octets from presentation form, RFC 1035 5.1. dns-packet knows no escapes. */
function encodeName(text: string): Buffer {
  const refuse = (why: string): UsageError => new UsageError(`${JSON.stringify(text)} is no DNS name: ${why}`);
  const labels: number[][] = [[]];
  // One label octet in three forms: \DDD, \X, or as it stands.
  for (const [part, code, quoted] of text.matchAll(/\\(\d{3})|\\([^])|[^]/gu)) {
    if (part === '.') labels.push([]);
    else if (code === undefined) labels.at(-1)!.push(...Buffer.from(quoted ?? part));
    else if (Number(code) < 256) labels.at(-1)!.push(Number(code));
    else throw refuse(`${part} is no octet`);
  }
  if (labels.length > 1 && labels.at(-1)!.length === 0) labels.pop();
  if (text === '.') labels.pop();
  if (labels.some((label) => label.length === 0)) throw refuse('an empty label');
  if (labels.some((label) => label.length > 63)) throw refuse('a label over 63 octets');
  const octets = Buffer.from([...labels.flatMap((label) => [label.length, ...label]), 0]);
  if (octets.length > 255) throw refuse('over 255 octets');
  return octets;
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

// The wire.

interface Outcome {
  readonly octets: Buffer;
  readonly transport: 'UDP' | 'TCP';
  readonly millis: number;
}

async function findServer({ name, port }: { name: string; port: number }): Promise<Server | undefined> {
  try {
    return { name, address: (await lookup(name)).address, port };
  } catch {
    return undefined;
  }
}

async function ask(request: Request, server: Server, tell: (line: string) => void): Promise<Outcome | undefined> {
  let transport: 'UDP' | 'TCP' = request.tcp ? 'TCP' : 'UDP';
  for (let tries = 0; tries < request.tries; tries++) {
    const began = performance.now();
    const exchange = transport === 'TCP' ? exchangeTcp : exchangeUdp;
    const octets = await exchange(encodeQuery(request), server, request.timeoutMillis);
    if (typeof octets === 'string') {
      tell(`communications error to ${server.address}#${server.port}: ${octets}`);
    } else if (transport === 'UDP' && (octets[2]! & 0x02) !== 0 && !request.ignore) {
      tell('Truncated, retrying in TCP mode.');
      transport = 'TCP';
      tries = -1;
    } else {
      return { octets, transport, millis: Math.round(performance.now() - began) };
    }
  }
  return undefined;
}

function encodeQuery({ question, type, recurse, bufsize }: Request): Buffer {
  const octets = packet.encode({
    type: 'query',
    id: randomInt(65_536),
    flags: recurse ? packet.RECURSION_DESIRED : 0,
    questions: [{ name: '.', type: type as packet.RecordType }],
    additionals: bufsize === undefined ? [] : [optRecord(bufsize)],
  });
  // The name in its own octets, where dns-packet put the root: right behind the header.
  return Buffer.concat([octets.subarray(0, 12), question, octets.subarray(13)]);
}

function optRecord(udpPayloadSize: number): packet.OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}

/** A response to `asked`, of which more cannot be said before it is decoded. */
function isReplyTo(asked: Buffer, octets: Buffer): boolean {
  return octets.length >= 12 && octets.readUInt16BE(0) === asked.readUInt16BE(0) && (octets[2]! & 0x80) !== 0;
}

/** The reply's octets, or in words why none came. */
function exchangeUdp(asked: Buffer, { address, port }: Server, timeoutMillis: number): Promise<Buffer | string> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    let isOver = false;
    const end = (outcome: Buffer | string): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      socket.close();
      resolve(outcome);
    };
    const timer = setTimeout(() => end('timed out'), timeoutMillis);
    socket.on('error', (error) => end(errorWords(error)));
    // Connected, so that the kernel drops what comes from elsewhere and tells of a closed port.
    socket.connect(port, address, () => socket.send(asked));
    // Another id is a late reply to an earlier try, or a forger's.
    socket.on('message', (octets) => {
      if (isReplyTo(asked, octets)) end(octets);
    });
  });
}

/** As `exchangeUdp`, with the length before the message (RFC 1035 4.2.2). */
function exchangeTcp(asked: Buffer, { address, port }: Server, timeoutMillis: number): Promise<Buffer | string> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    let received: Buffer = Buffer.alloc(0);
    const end = (outcome: Buffer | string): void => {
      clearTimeout(timer);
      socket.removeAllListeners('data');
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end('timed out'), timeoutMillis);
    socket.on('error', (error) => end(errorWords(error)));
    socket.on('end', () => end('end of file'));
    const length = Buffer.alloc(2);
    length.writeUInt16BE(asked.length);
    socket.write(Buffer.concat([length, asked]));
    socket.on('data', (octets: Buffer) => {
      received = Buffer.concat([received, octets]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const reply = received.subarray(2, 2 + received.readUInt16BE(0));
      end(isReplyTo(asked, reply) ? reply : 'not a reply to this question');
    });
  });
}

function errorWords(error: NodeJS.ErrnoException): string {
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'connection refused',
    ECONNRESET: 'connection reset',
    EHOSTUNREACH: 'host unreachable',
    ENETUNREACH: 'network unreachable',
    ETIMEDOUT: 'timed out',
  };
  return words[error.code ?? ''] ?? error.message;
}
