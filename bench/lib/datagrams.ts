// Many datagrams a system call, from the client's side: a block of 64 messages to one server, sent or received without
// waiting. The load generators are made of two such blocks. The layouts are those of src/dns/mmsg.ts.

import { socketCall as call } from '../../src/dns/ffi.ts';
import type { Libc, Pointer } from '../../src/dns/ffi.ts';

/** Datagrams a call. */
export const BATCH = 64;
const HEADER_OCTETS = 64;
const IOVEC_OCTETS = 16;
const NAME_OCTETS = 16;
const BUFFER_OCTETS = 4096;

const IOVECS = BATCH * HEADER_OCTETS;
const NAMES = IOVECS + BATCH * IOVEC_OCTETS;
const BUFFERS = NAMES + BATCH * NAME_OCTETS;
const BLOCK_OCTETS = BUFFERS + BATCH * BUFFER_OCTETS;

export class Datagrams {
  readonly octets: Uint8Array;
  private readonly libc: Libc;
  private readonly fd: number;
  private readonly words: Int32Array;
  private readonly first: Pointer;

  /** For a server on `port` of 127.0.0.1. */
  constructor(libc: Libc, fd: number, port: number) {
    this.libc = libc;
    this.fd = fd;
    const { memory, address } = libc.allocate(BLOCK_OCTETS);
    this.first = address;
    this.octets = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    const pointers = new BigInt64Array(memory, 0, NAMES / 8);
    for (let i = 0; i < BATCH; i++) {
      const message = (i * HEADER_OCTETS) / 8;
      const iovec = IOVECS + i * IOVEC_OCTETS;
      pointers[message] = address + BigInt(NAMES + i * NAME_OCTETS);
      pointers[message + 2] = address + BigInt(iovec);
      pointers[message + 3] = 1n;
      pointers[iovec / 8] = address + BigInt(this.at(i));
      // struct sockaddr_in: family, port, address.
      this.octets.set([call.AF_INET, 0, port >>> 8, port & 0xff, 127, 0, 0, 1], NAMES + i * NAME_OCTETS);
    }
  }

  /** Where the buffer of message `i` begins. */
  at(i: number): number {
    return BUFFERS + i * BUFFER_OCTETS;
  }

  /** Octets of message `i` as received. */
  length(i: number): number {
    return this.words[(i * HEADER_OCTETS + 56) >> 2]!;
  }

  /** Makes `message` the content of message `i`, under another id. */
  set(i: number, message: Uint8Array, id: number): void {
    const at = this.at(i);
    this.octets.set(message, at);
    this.octets[at] = id >>> 8;
    this.octets[at + 1] = id;
    this.prepare(i, message.length);
  }

  /** Sends the first `count` messages; returns how many the kernel took. */
  send(count: number): number {
    return Math.max(0, this.libc.sendmmsg(this.fd, this.first, count, call.MSG_DONTWAIT));
  }

  /** Receives what is there, at most a batch. Returns how many. */
  receive(): number {
    return this.take(call.MSG_DONTWAIT);
  }

  /** As `receive`, but sleeps until there is something, or the socket's time-out. */
  wait(): number {
    return this.take(call.MSG_WAITFORONE);
  }

  private take(flags: number): number {
    for (let i = 0; i < BATCH; i++) this.prepare(i, BUFFER_OCTETS);
    return Math.max(0, this.libc.recvmmsg(this.fd, this.first, BATCH, flags, null));
  }

  private prepare(i: number, octets: number): void {
    this.words[((i * HEADER_OCTETS) >> 2) + 2] = NAME_OCTETS;
    this.words[((IOVECS + i * IOVEC_OCTETS) >> 2) + 2] = octets;
  }
}
