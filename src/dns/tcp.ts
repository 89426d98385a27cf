/**
 * DNS over TCP (RFC 7766, RFC 9210): framing, pipelining, half-close, and what a client may cost us.
 *
 * It runs in a worker thread of its own, on that thread's event loop. What a message means is the responder's business:
 * this file only finds where a message begins and ends, and sends the reply back whole. It is not TLS, and it holds no
 * zone. Everything a client can make grow has a bound in `TcpLimits`; a connection costs no timer.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { Connection, NO_INPUT, type TcpCounters, type TcpLimits } from './tcp-connection.ts';

/** Answers one message in place, in `buffer`. Never throws. */
export interface MessageResponder {
  readonly buffer: Uint8Array;
  /** The query stands at `buffer[at .. at + length)`; the reply overwrites it. Returns its length; 0 is silence. */
  respond(at: number, length: number, transport: number): number;
  /** Begins a synchronous stretch of `respond` calls (the image's reader epoch). */
  enter(): void;
  /** Ends it. */
  leave(): void;
}

/** Where to listen: an address, or a socket that already listens. */
export type TcpEndpoint = { readonly host: string; readonly port: number } | { readonly fd: number };

/** The number by which `respond` knows that the message came over TCP. */
export const TRANSPORT_TCP = 1;

/** RFC 1035 4.1.1: anything shorter has no id to answer to. */
const HEADER_OCTETS = 12;
/** RFC 1035 4.2.2: the length prefix, and the most it can announce. */
const PREFIX_OCTETS = 2;
const MESSAGE_OCTETS = 65_535;
/** Node reads up to 64 KiB at once, and after `pause()` goes on until the high-water mark is reached: one read more. */
const READ_OCTETS = 65_536;
const HIGH_WATER_OCTETS = 16_384;
/** A client that holds no more than this (any sane query, cut in two) is never closed for what the others hold. */
const SMALL_HOLD_OCTETS = 4_096;
/** Connections that wait in the kernel to be accepted. */
const ACCEPT_BACKLOG = 1_024;

/** What `#gather` says of a length that no message has. */
const NO_MESSAGE = -1;

/** Serves DNS over TCP on any number of addresses, within one set of limits. */
export class TcpListener {
  readonly #responder: MessageResponder;
  readonly #query: Buffer;
  readonly #limits: TcpLimits;
  readonly #counters: TcpCounters;
  readonly #transport: number;
  readonly #servers: Server[] = [];
  /** All open connections, the one longest without a whole message first to go. */
  readonly #connections: LRUCache<Connection, Connection>;
  /** Connections with input left over, in the order in which they get their turn. At most `connections`. */
  readonly #ready = new Set<Connection>();
  #turnIsSet = false;
  /** The replies to one read are gathered here, then copied into the one Buffer that is written. */
  readonly #replies: Buffer;
  /** Coarse time. It counts sweeps, so that a stalled or suspended process does not age its clients. */
  #tick = 0;
  #sweep: NodeJS.Timeout | undefined;
  /** Sum of the connections' `heldOctets`. */
  #heldOctets = 0;
  #draining = false;

  constructor(responder: MessageResponder, limits: TcpLimits, counters: TcpCounters, transport = TRANSPORT_TCP) {
    this.#responder = responder;
    const { buffer } = responder;
    this.#query = Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    this.#limits = limits;
    this.#counters = counters;
    this.#transport = transport;
    this.#replies = Buffer.allocUnsafeSlow(limits.unsentOctets + PREFIX_OCTETS + MESSAGE_OCTETS);
    this.#connections = new LRUCache({
      max: limits.connections,
      dispose: (c, _, reason) => {
        if (reason === 'evict') this.#drop(c, 'closedGaveWay');
      },
    });
  }

  /** Listens on one address more; rejects if it cannot. */
  listen(endpoint: TcpEndpoint): Promise<{ address: string; port: number }> {
    // noDelay: a reply must not wait for the client's ACK. allowHalfOpen: the client's FIN ends its queries, not ours.
    const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: HIGH_WATER_OCTETS });
    server.on('connection', (socket) => this.#accept(socket));
    const where =
      'fd' in endpoint
        ? { fd: endpoint.fd }
        : { host: endpoint.host, port: endpoint.port, ipv6Only: endpoint.host.includes(':') };
    return new Promise((resolve, reject) => {
      server.on('error', (error) => {
        if (this.#servers.includes(server)) this.#acceptFailed();
        else reject(error);
      });
      server.listen({ ...where, backlog: ACCEPT_BACKLOG }, () => {
        this.#servers.push(server);
        this.#sweep ??= setInterval(() => this.#sweepConnections(), this.#limits.sweepMillis).unref();
        const { address, port } = server.address() as AddressInfo;
        resolve({ address, port });
      });
    });
  }

  /** Accepts no more, sends the replies under way, closes the rest; done within `closeMillis`. */
  async close(): Promise<void> {
    this.#draining = true;
    const closed = this.#servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve)));
    // Queries the kernel already holds are read in these two turns: closing over unread octets would reset the
    // connection, and with it replies on their way.
    await nextTurn();
    await nextTurn();
    for (const c of this.#connections.values()) if (!c.paused) this.#settle(c);
    const late = setTimeout(() => {
      for (const c of this.#connections.values()) c.socket.destroy();
    }, this.#limits.closeMillis);
    await Promise.all(closed);
    clearTimeout(late);
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  #accept(socket: Socket): void {
    const c = new Connection(socket, this.#tick, this.#written);
    this.#counters.accepted++;
    this.#counters.open++;
    socket.on('error', () => {
      this.#counters.socketErrors++; // ECONNRESET, EPIPE, ETIMEDOUT: 'close' follows
    });
    socket.on('close', () => {
      this.#counters.open--;
      this.#connections.delete(c);
      this.#ready.delete(c);
      this.#heldOctets -= c.heldOctets;
      c.input = NO_INPUT;
      c.partial = null;
    });
    socket.on('data', (chunk: Buffer) => {
      if (c.closing) return;
      c.input = chunk;
      c.inputAt = 0;
      this.#serve(c);
    });
    socket.on('end', () => {
      c.ended = true;
      if (!c.paused) this.#settle(c);
    });
    // Not served here: a write the kernel takes at once drains in this very turn, which would have no end of messages.
    socket.on('drain', () => {
      if (c.paused && !c.closing) this.#makeReady(c);
    });
    this.#connections.set(c, c);
  }

  /**
   * Out of descriptors, whoever took them: the longest idle client gives one back. On Unix libuv does not come here: it
   * closes the new client itself, so `connections` must lie well under the limit of descriptors.
   */
  #acceptFailed(): void {
    this.#counters.acceptErrors++;
    this.#connections.pop();
  }

  #drop(c: Connection, why: 'closedIdle' | 'closedGaveWay' | 'closedPartial' | 'closedUnsent' | 'closedHeld'): void {
    if (c.socket.destroyed) return;
    this.#counters[why]++;
    c.closing = true;
    c.socket.destroy();
  }

  /** Answers messages of `c.input` within the limits of one go, writes the replies at once, and says what it cost. */
  #serve(c: Connection): number {
    const { messagesPerWrite, unsentOctets } = this.#limits;
    if (c.closing || c.socket.destroyed) return 1;
    const { input } = c;
    const end = input.length;
    const room = unsentOctets - c.socket.writableLength;
    let at = c.inputAt;
    let replies = 0;
    let messages = 0;
    this.#responder.enter();
    // Bounded: each round takes an octet or more of one read.
    while (at < end && messages < messagesPerWrite && replies < room) {
      if (!c.midMessage && end - at >= PREFIX_OCTETS) {
        const length = (octet(input, at) << 8) | octet(input, at + 1);
        const from = at + PREFIX_OCTETS;
        if (length >= HEADER_OCTETS && end - from >= length) {
          replies = this.#respond(input, from, length, replies);
          messages++;
          at = from + length;
          continue;
        }
      }
      at = this.#gather(c, at);
      if (at === NO_MESSAGE) {
        this.#counters.malformed++;
        c.closing = true; // where the next message begins cannot be known
        at = end;
        break;
      }
      if (c.partial !== null && c.partialLength === c.partial.length) {
        replies = this.#respond(c.partial, 0, c.partialLength, replies);
        messages++;
        c.partial = null;
      }
    }
    this.#responder.leave();
    if (at === end) c.input = NO_INPUT;
    else c.inputAt = at;
    if (messages > 0) {
      c.usedTick = this.#tick;
      this.#connections.get(c);
      this.#counters.messages += messages;
    }
    if (replies > 0) this.#write(c, replies);
    this.#settle(c);
    return 1 + messages + (replies >>> 10);
  }

  /** Takes octets of a message that the end of a read cuts. Linear however it is trickled: its buffer is made once. */
  #gather(c: Connection, at: number): number {
    const { input } = c;
    if (c.partial === null) {
      if (c.firstOctet < 0) {
        c.firstOctet = octet(input, at);
        c.partialTick = this.#tick;
        return at + 1;
      }
      const length = (c.firstOctet << 8) | octet(input, at++);
      c.firstOctet = -1;
      if (length < HEADER_OCTETS) return NO_MESSAGE;
      c.partial = Buffer.allocUnsafeSlow(length);
      c.partialLength = 0;
    }
    const taken = input.copy(c.partial, c.partialLength, at);
    c.partialLength += taken;
    return at + taken;
  }

  /** Answers one message; puts the reply, with its prefix, at `#replies[end]`. Returns the new end. */
  #respond(source: Buffer, from: number, length: number, end: number): number {
    source.copy(this.#query, 0, from, from + length);
    const replyLength = this.#responder.respond(0, length, this.#transport);
    if (replyLength === 0) return end;
    this.#replies[end] = replyLength >>> 8;
    this.#replies[end + 1] = replyLength & 0xff;
    this.#query.copy(this.#replies, end + PREFIX_OCTETS, 0, replyLength);
    return end + PREFIX_OCTETS + replyLength;
  }

  #write(c: Connection, length: number): void {
    if (c.socket.writableLength === 0) c.sentTick = this.#tick;
    const chunk = Buffer.allocUnsafe(length);
    this.#replies.copy(chunk, 0, 0, length);
    this.#counters.writes++;
    c.socket.write(chunk, c.written);
  }

  /** A write has finished: its client reads. */
  readonly #written = (c: Connection): void => {
    c.sentTick = this.#tick;
    if (c.heldOctets > 0) this.#hold(c);
  };

  /** Decides how a connection goes on: its turn later, wait for 'drain', close, or read. */
  #settle(c: Connection): void {
    const { socket } = c;
    const full = socket.writableLength >= this.#limits.unsentOctets;
    const hasInput = c.input !== NO_INPUT;
    if (!hasInput && (c.closing || c.ended || (this.#draining && !c.midMessage))) {
      c.closing = true;
      socket.pause();
      socket.destroySoon(); // FIN after the last reply, then gone
    } else if (hasInput || full) {
      c.paused = true;
      socket.pause();
      if (!full) this.#makeReady(c); // else 'drain' does
    } else if (c.paused) {
      c.paused = false;
      c.partialTick = this.#tick; // while we did not read, the client's time stood still
      socket.resume();
    }
    this.#hold(c);
  }

  /** Keeps account of the memory this client makes us hold. */
  #hold(c: Connection): void {
    if (c.socket.destroyed) return; // 'close' gives it all back
    let held = c.socket.writableLength;
    if (c.partial !== null) held += c.partial.length;
    if (c.paused) held += c.input.length + READ_OCTETS;
    if (held === c.heldOctets) return;
    this.#heldOctets += held - c.heldOctets;
    c.heldOctets = held;
    if (held > SMALL_HOLD_OCTETS && this.#heldOctets > this.#limits.heldOctets) this.#drop(c, 'closedHeld');
  }

  #makeReady(c: Connection): void {
    this.#ready.add(c);
    if (this.#turnIsSet) return;
    this.#turnIsSet = true;
    setImmediate(this.#serveReady);
  }

  /** One turn for input left over: round robin, since who is not done goes to the end of the set. */
  readonly #serveReady = (): void => {
    let work = this.#limits.workPerTurn;
    // Bounded: each round costs one or more.
    for (const c of this.#ready) {
      if (work <= 0) break;
      this.#ready.delete(c);
      work -= this.#serve(c);
    }
    this.#turnIsSet = this.#ready.size > 0;
    if (this.#turnIsSet) setImmediate(this.#serveReady);
  };

  #sweepConnections(): void {
    const now = ++this.#tick;
    const { idleMillis, messageMillis, unsentMillis, sweepMillis } = this.#limits;
    const isOver = (tick: number, ms: number): boolean => now - tick > Math.ceil(ms / sweepMillis);
    for (const c of this.#connections.values()) {
      const unsent = c.socket.writableLength > 0;
      if (unsent && isOver(c.sentTick, unsentMillis)) this.#drop(c, 'closedUnsent');
      else if (c.paused) continue;
      else if (c.midMessage && isOver(c.partialTick, messageMillis)) this.#drop(c, 'closedPartial');
      else if (!c.midMessage && !unsent && isOver(c.usedTick, idleMillis)) this.#drop(c, 'closedIdle');
    }
  }
}

/** In bounds by the caller's loop. */
function octet(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}
