// The real server as a child process, and the transports through which a packet reaches it.
// Replies keep the order of the queries here: the server runs with one UDP worker, and TCP is answered in order. So a
// sentinel behind each packet tells silence from slowness without a clock.

import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { isSentinelReply, sentinel, show } from './reply.ts';

const bin = path.join(import.meta.dirname, '../../bin/clusterset-dns.js');
const START_MILLIS = 30_000;
const REPLY_MILLIS = 10_000;
const STOP_MILLIS = 10_000;

/** A reply; or none, while what came after it was answered; or the connection's end. */
export type Outcome = Buffer | 'silence' | 'closed';

export interface Server {
  readonly port: number;
  readonly engine: string;
  /** Lines of its log. */
  readonly log: readonly string[];
  /** Exit code and signal once it has ended. */
  readonly ended: () => string | undefined;
  readonly rssOctets: () => number;
  /** SIGTERM to this child; resolves with its exit code. */
  stop(): Promise<number | null>;
}

/** Of a test: what is to be ended with it. */
export interface Ends {
  teardown(end: () => unknown): unknown;
}

/** Starts `serve --lab` on a port of the system's choice and waits until it is ready. One UDP worker. Stopped with the test. */
export async function startServer(t: Ends, lab: string, ...flags: string[]): Promise<Server> {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const fixed = ['--lab', lab, '--admin', 'off', '--lameduck', '0', '--log-format', 'json', '--workers', '1'];
  const listen = flags.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const child = spawn(process.execPath, [bin, 'serve', ...fixed, ...listen, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env,
  });
  const killOnExit = (): void => void child.kill('SIGKILL');
  process.once('exit', killOnExit);
  child.once('exit', () => process.off('exit', killOnExit));
  const log: string[] = [];
  const { port, engine } = await untilReady(child, log);
  const server: Server = {
    port,
    engine,
    log,
    ended: () =>
      child.exitCode === null && child.signalCode === null ? undefined : `${child.exitCode} ${child.signalCode}`,
    rssOctets: () => 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid!}/status`, 'utf8'))![1]),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_MILLIS);
      child.kill('SIGTERM');
      const [code] = (await once(child, 'exit')) as [number | null];
      clearTimeout(late);
      return code;
    },
  };
  t.teardown(() => server.stop());
  return server;
}

function untilReady(child: ChildProcess, log: string[]): Promise<{ port: number; engine: string }> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => fail('is not ready'), START_MILLIS);
    const fail = (why: string): void => {
      clearTimeout(late);
      child.kill('SIGKILL');
      reject(new Error(`the server ${why}:\n${log.join('\n')}`));
    };
    child.once('error', (error) => fail(String(error)));
    child.once('exit', (code) => fail(`ended with ${String(code)}`));
    let port = 0;
    let engine = '';
    createInterface({ input: child.stderr! }).on('line', (text) => {
      log.push(text);
      const fact = parseLine(text);
      if (fact['message'] === 'listening') {
        port = Number(/:(\d+)$/.exec(fact['dns'] ?? '')?.[1]);
        engine = fact['udp'] ?? '';
      }
      if (fact['message'] !== 'ready') return;
      clearTimeout(late);
      child.removeAllListeners('exit');
      resolve({ port, engine });
    });
  });
}

function parseLine(text: string): Partial<Record<string, string>> {
  try {
    return JSON.parse(text) as Partial<Record<string, string>>;
  } catch {
    return {};
  }
}

/** Octets to the server and back. */
export interface Transport {
  readonly name: string;
  readonly isUdp: boolean;
  ask(packet: Buffer): Promise<Outcome>;
  close(): void;
}

/** UDP from one socket. */
export async function udpTransport(port: number, name = 'UDP', host?: string): Promise<Transport> {
  const socket = await openUdp(port, host);
  return {
    name,
    isUdp: true,
    async ask(packet) {
      const replies = await exchangeUdp(socket, [packet]);
      if (replies.length > 1) throw new Error(`${replies.length} replies to one query`);
      return replies[0] ?? 'silence';
    },
    close: () => socket.close(),
  };
}

/** A connected socket: it takes no reply from another address than the one asked. */
export async function openUdp(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
  socket.connect(port, host);
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  // One that a failed test left open must not keep its process.
  return socket.unref();
}

/** Sends the packets and then the sentinel; resolves with what came before the sentinel's reply. */
export function exchangeUdp(socket: Socket, packets: readonly Buffer[]): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const replies: Buffer[] = [];
    const end = (): void => {
      clearTimeout(late);
      clearInterval(again);
      socket.off('message', read);
    };
    const read = (reply: Buffer): void => {
      if (!isSentinelReply(reply)) return void replies.push(reply);
      end();
      resolve(replies);
    };
    // A full receive buffer loses datagrams, the sentinel too.
    const again = setInterval(() => socket.send(sentinel), REPLY_MILLIS / 4);
    const late = setTimeout(() => {
      end();
      reject(new Error('no reply to the query that followed'));
    }, REPLY_MILLIS);
    socket.on('message', read);
    for (const packet of packets) socket.send(packet);
    socket.send(sentinel);
  });
}

/** A message with its length (RFC 1035 4.2.2). */
export function framed(packet: Buffer): Buffer {
  const prefix = Buffer.alloc(2);
  prefix.writeUInt16BE(packet.length);
  return Buffer.concat([prefix, packet]);
}

/** TCP, a connection a query. */
export function tcpTransport(port: number): Transport {
  return {
    name: 'TCP',
    isUdp: false,
    async ask(packet) {
      const { replies, isOpen } = await exchangeTcp(port, Buffer.concat([framed(packet), framed(sentinel)]));
      const answers = replies.filter((reply) => !isSentinelReply(reply));
      if (answers.length > 1) throw new Error(`${answers.length} replies to one query`);
      return answers[0] ?? (isOpen ? 'silence' : 'closed');
    },
    close: () => undefined,
  };
}

/** Writes the octets on a connection of their own and reads replies until the sentinel's, or the end. */
export function exchangeTcp(port: number, octets: Buffer): Promise<{ replies: Buffer[]; isOpen: boolean }> {
  return new Promise((resolve, reject) => {
    const replies: Buffer[] = [];
    let rest: Buffer = Buffer.alloc(0);
    const socket = connect(port, '127.0.0.1');
    const late = setTimeout(() => {
      socket.destroy();
      reject(new Error('no reply over TCP'));
    }, REPLY_MILLIS);
    const end = (isOpen: boolean): void => {
      clearTimeout(late);
      socket.destroy();
      resolve({ replies, isOpen });
    };
    socket.on('error', () => undefined);
    socket.on('close', () => end(false));
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const next = 2 + rest.readUInt16BE(0);
        replies.push(rest.subarray(2, next));
        rest = rest.subarray(next);
        if (isSentinelReply(replies.at(-1)!)) return end(true);
      }
    });
    socket.write(octets);
  });
}

/** One fleet, served by both UDP engines and over TCP. */
export interface Fleet {
  readonly servers: readonly Server[];
  readonly transports: readonly Transport[];
  /** What a transport answers to a packet, as text. */
  ask(transport: Transport, packet: Buffer): Promise<string>;
}

/** Starts the servers of a lab for every transport; `teardown` stops them and says whether they ended well. */
export async function serveFleet(t: Ends, lab: string, ...flags: string[]): Promise<Fleet> {
  const servers = await Promise.all([
    startServer(t, lab, '--udp', 'mmsg', ...flags),
    startServer(t, lab, '--udp', 'dgram', ...flags),
  ]);
  const [mmsg, dgram] = servers;
  const transports = [
    await udpTransport(mmsg.port, 'UDP'),
    await udpTransport(dgram.port, 'UDP by dgram'),
    tcpTransport(mmsg.port),
  ];
  t.teardown(async () => {
    for (const transport of transports) transport.close();
    const codes = await Promise.all(servers.map((server) => server.stop()));
    if (codes.some((code) => code !== 0)) throw new Error(`a server ended with ${codes.join(' and ')}`);
  });
  return {
    servers,
    transports,
    async ask(transport, packet) {
      const outcome = await transport.ask(packet);
      return typeof outcome === 'string' ? outcome : show(packet, outcome, transport.isUdp ? udpLimit(packet) : 65_535);
    },
  };
}

/** Octets that a UDP reply may have: 512, or up to 1,232 with EDNS (whatever is asked for). */
function udpLimit(packet: Buffer): number {
  return packet.length >= 12 && packet.readUInt16BE(10) > 0 ? 1232 : 512;
}
