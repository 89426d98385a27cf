// One client of the TCP listener, and what all of them may use: state, limits and counters. What is done with them is
// tcp.ts's. Sources: RFC 7766 6.2.3 (idle), 6.2.4 (half-close), RFC 9210 (limits).

import type { Socket } from 'node:net';

/** What clients may use. Every time is kept to within two sweeps, never short of it. */
export interface TcpLimits {
  /** Connections open at once; one more closes the one whose last whole message is longest ago. */
  readonly connections: number;
  /** A connection without a message under way is closed after this (RFC 7766 6.2.3). */
  readonly idleMillis: number;
  /** A message must be whole this long after its first octet. */
  readonly messageMillis: number;
  /** A connection that has unsent replies must finish one write in this time. */
  readonly unsentMillis: number;
  /** Unsent replies of one connection: past it we neither answer nor read. One reply may come on top. At least 16 KiB. */
  readonly unsentOctets: number;
  /** Partial messages, unread input and unsent replies of all connections: who would pass it is closed. */
  readonly heldOctets: number;
  /** Messages answered in one go, hence in one write. */
  readonly messagesPerWrite: number;
  /** Work on input left over from earlier reads in one turn of the event loop: a message, or a KiB of reply, is one. */
  readonly workPerTurn: number;
  /** `close()` waits this long for replies under way. */
  readonly closeMillis: number;
  /** Between two looks at all connections for those out of time. */
  readonly sweepMillis: number;
}

/** What happened, for metrics; `open` is the only one that also falls. */
export interface TcpCounters {
  open: number;
  accepted: number;
  acceptErrors: number;
  messages: number;
  writes: number;
  malformed: number;
  closedIdle: number;
  closedGaveWay: number;
  closedPartial: number;
  closedUnsent: number;
  closedHeld: number;
  socketErrors: number;
}

/** All counters at zero. */
export function newTcpCounters(): TcpCounters {
  return {
    open: 0,
    accepted: 0,
    acceptErrors: 0,
    messages: 0,
    writes: 0,
    malformed: 0,
    closedIdle: 0,
    closedGaveWay: 0,
    closedPartial: 0,
    closedUnsent: 0,
    closedHeld: 0,
    socketErrors: 0,
  };
}

/** No input: shared, and never written. */
export const NO_INPUT: Buffer = Buffer.alloc(0);

/** One client. `input` is a chunk as read, answered up to `inputAt`; a message cut by its end is gathered in `partial`. */
export class Connection {
  readonly socket: Socket;
  /** The write's callback, made once: a write that finished is progress. */
  readonly written: () => void;
  input: Buffer = NO_INPUT;
  inputAt = 0;
  /** The prefix's first octet when the second has not come, else -1. Never 0 or more while `partial` is set. */
  firstOctet = -1;
  /** As long as its prefix said; the first `partialLength` octets are here. */
  partial: Buffer | null = null;
  partialLength = 0;
  /** The ticks of the last whole message, of the partial's first octet, and of the last write that finished. */
  usedTick: number;
  partialTick: number;
  sentTick: number;
  /** Invariant: while there is `input`, `paused` is true outside `#serve`, so no chunk comes on top of another. */
  paused = false;
  /** The client has sent FIN: answer what there is, then FIN (RFC 7766 6.2.4). */
  ended = false;
  /** No further octet is read; what is written is sent, then the socket goes. */
  closing = false;
  /** This connection's part in the listener's sum. */
  heldOctets = 0;

  constructor(socket: Socket, tick: number, written: (c: Connection) => void) {
    this.socket = socket;
    this.usedTick = tick;
    this.partialTick = tick;
    this.sentTick = tick;
    this.written = () => written(this);
  }

  get midMessage(): boolean {
    return this.partial !== null || this.firstOctet >= 0;
  }
}
