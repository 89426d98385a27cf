// A load generator that knows when each reply came: it never sleeps, so its clock is as good as the machine's, and it
// counts a reply's time from the moment at which its query was due, not from when it was sent (no coordinated omission:
// a server that holds up the generator is not thereby excused). One to a process, on a core of its own.

import { Datagrams, BATCH } from './datagrams.ts';
import { encode } from 'dns-packet';
import { loadLibc } from '../../src/dns/ffi.ts';
import { openUdpSocket } from '../../src/dns/udp-socket.ts';
import type { Question } from './fleet.ts';
import type { Histogram } from './histogram.ts';

const IDS = 65_536;
/** A reply that is this late is lost. */
export const LATE_MILLIS = 500;

/** Sends questions at a steady rate over one socket, and takes the replies; `turn` is called in a loop. */
export class LoadGenerator {
  sent = 0;
  received = 0;
  /** Replies with QR that have an RCODE other than NOERROR and NXDOMAIN. */
  failed = 0;
  private readonly out: Datagrams;
  private readonly in: Datagrams;
  private readonly messages: readonly Uint8Array[];
  private readonly millisPerQuery: number;
  private readonly began: number;
  /** When the query with this id was due; 0: none is. */
  private readonly due = new Float64Array(IDS);
  private next = 0;

  /** `rate` queries a second to a port of 127.0.0.1, from `began` on (milliseconds of performance.now()). */
  constructor(port: number, messages: readonly Uint8Array[], rate: number, began: number) {
    const libc = loadLibc();
    if (typeof libc === 'string') throw new Error(libc);
    const { fd } = openUdpSocket(libc, '127.0.0.1', 0);
    this.out = new Datagrams(libc, fd, port);
    this.in = new Datagrams(libc, fd, port);
    this.messages = messages;
    this.millisPerQuery = 1_000 / rate;
    this.began = began;
  }

  /** Sends what is due at `now`, at most a batch; `lateness` gets how late that was. */
  send(now: number, lateness: Histogram | undefined): void {
    const due = Math.min(BATCH, Math.floor((now - this.began) / this.millisPerQuery) + 1 - this.sent);
    if (due <= 0) return;
    for (let i = 0; i < due; i++) {
      const number = this.sent + i;
      const id = number % IDS;
      this.out.set(i, this.messages[this.next]!, id);
      this.next = this.next + 1 === this.messages.length ? 0 : this.next + 1;
      const when = this.began + number * this.millisPerQuery;
      this.due[id] = when;
      lateness?.add(now - when);
    }
    // What the kernel did not take is counted as sent, and will be lost.
    this.out.send(due);
    this.sent += due;
  }

  /** Takes what has come; `latency` gets how long each took. `clock` is read after the call that took it. */
  receive(clock: () => number, latency: Histogram | undefined): void {
    const count = this.in.receive();
    if (count === 0) return;
    const now = clock();
    const { octets } = this.in;
    for (let i = 0; i < count; i++) {
      const at = this.in.at(i);
      const id = (octets[at]! << 8) | octets[at + 1]!;
      const due = this.due[id]!;
      if (due === 0 || (octets[at + 2]! & 0x80) === 0) continue;
      this.due[id] = 0;
      this.received++;
      const code = octets[at + 3]! & 0x0f;
      if (code !== 0 && code !== 3) this.failed++;
      latency?.add(now - due);
    }
  }
}

/** Queries as they go on the wire; their ids are set when they are sent. */
export function encodeAll(questions: readonly Question[]): Uint8Array[] {
  return questions.map(({ name, type }) => encode({ type: 'query', id: 0, questions: [{ name, type, class: 'IN' }] }));
}
