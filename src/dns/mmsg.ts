// The UDP loop of a worker: up to 64 datagrams a system call in, answered in place, out again with one call.
// The thread has no event loop meanwhile: it sleeps in the kernel and wakes five times a second to see the stop flag.
// Everything lies in one block of the C heap; after the constructor nothing is allocated.
// Layouts (x86-64 and arm64, checked by test against the kernel's behaviour): struct mmsghdr = msghdr (name 0,
// namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48), len 56; iovec 16; cmsghdr len 0, level 8, type 12.

import { socketCall as call, errno } from './ffi.ts';
import type { Libc, Pointer } from './ffi.ts';
import { LONGEST_QUERY_OCTETS } from './iana.ts';
import { counter, stopRequested } from './image.ts';
import { Responder, transport } from './respond.ts';
import type { UdpSocket } from './udp-socket.ts';

/** Datagrams a call. */
const BATCH = 64;
const HEADER_OCTETS = 64;
const IOVEC_OCTETS = 16;
const NAME_OCTETS = 32;
const CONTROL_OCTETS = 64;
const BUFFER_OCTETS = LONGEST_QUERY_OCTETS;
/** From one buffer to the next: no multiple of a page, so that all 64 do not fall into one set of the L1 cache. */
const BUFFER_STRIDE = BUFFER_OCTETS + 576;
const SOCKADDR_IN6_OCTETS = 28;
/** An epoll wait ends this often to look at the stop flag. */
const WAIT_MILLIS = 200;
/** struct epoll_event is packed on x86-64 only. */
const EVENT_OCTETS = 16;

/**
 * At this rate and above the thread naps after a batch that was small, so that the next one is larger: fewer system
 * calls and switches a query (no bench isolates it yet). The nap is the kernel's shortest, its timer slack of 50 µs.
 */
const COALESCE_PER_MILLI = 80;
const COALESCE_BATCH = 16;
const NAP_MICROS = 1;
/** Datagrams between two looks at the clock. */
const RATE_SAMPLE = 256;

/** Errors of a receive that no waiting mends. */
const fatal: ReadonlySet<number> = new Set([
  errno.ENOSYS,
  errno.EPERM,
  errno.EBADF,
  errno.EFAULT,
  errno.EINVAL,
  errno.ENOTSOCK,
]);
const RECEIVE_PAUSE_MICROS = 1_000;

/** Offset of the n-th part in a block. */
const NAMES = BATCH * (HEADER_OCTETS + IOVEC_OCTETS);
const CONTROLS = NAMES + BATCH * NAME_OCTETS;
const BUFFERS = CONTROLS + BATCH * CONTROL_OCTETS;
const BLOCK_OCTETS = BUFFERS + BATCH * BUFFER_STRIDE;

export class UdpLoop {
  private readonly libc: Libc;
  private readonly sockets: readonly UdpSocket[];
  /** Where the n-th message header stands, for a send that begins there. */
  private readonly headers: readonly Pointer[];
  private readonly octets: Uint8Array;
  private readonly words: Int32Array;
  private readonly responder: Responder;
  private readonly stop: Int32Array;
  /** Datagrams since `sampleStart`, and whether the sample before them came at a rate to coalesce. */
  private sampled = 0;
  private sampleStart = 0;
  private isFast = false;

  constructor(libc: Libc, sockets: readonly UdpSocket[], image: SharedArrayBuffer, reader: number) {
    this.libc = libc;
    this.sockets = sockets;
    const { memory, address } = libc.allocate(BLOCK_OCTETS);
    this.headers = Array.from({ length: BATCH }, (_, i) => address + BigInt(i * HEADER_OCTETS));
    this.octets = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.responder = new Responder(image, reader, this.octets);
    this.stop = new Int32Array(image, 0, 16);
    const pointers = new BigInt64Array(memory, 0, (BATCH * (HEADER_OCTETS + IOVEC_OCTETS)) / 8);
    for (let i = 0; i < BATCH; i++) {
      const message = (i * HEADER_OCTETS) / 8;
      const iovec = BATCH * HEADER_OCTETS + i * IOVEC_OCTETS;
      pointers[message] = address + BigInt(NAMES + i * NAME_OCTETS);
      pointers[message + 2] = address + BigInt(iovec);
      pointers[message + 3] = 1n;
      pointers[message + 4] = address + BigInt(CONTROLS + i * CONTROL_OCTETS);
      pointers[iovec / 8] = address + BigInt(BUFFERS + i * BUFFER_STRIDE);
    }
  }

  /** Serves until the stop flag is set. Throws only what is a bug, or a socket that is gone. */
  run(): void {
    const [first] = this.sockets;
    if (first === undefined) return;
    if (this.sockets.length > 1) this.runMany();
    else while (!stopRequested(this.stop)) this.coalesce(this.serve(first, call.MSG_WAITFORONE));
  }

  /** Several sockets: all are drained without blocking, then the worker sleeps in an epoll of its own. */
  private runMany(): void {
    const { libc, sockets } = this;
    const epoll = libc.epollCreate(call.EPOLL_CLOEXEC);
    if (epoll < 0) throw new Error(`epoll_create1: errno ${String(libc.errno())}`);
    const event = new Uint8Array(EVENT_OCTETS);
    // One waiting worker is woken a datagram, not all of them.
    new DataView(event.buffer).setUint32(0, call.EPOLLIN | call.EPOLLEXCLUSIVE, true);
    for (const { fd } of sockets) {
      if (libc.epollControl(epoll, call.EPOLL_CTL_ADD, fd, event) < 0)
        throw new Error(`epoll_ctl: errno ${String(libc.errno())}`);
    }
    const events = new Uint8Array(EVENT_OCTETS * sockets.length);
    while (!stopRequested(this.stop)) {
      let served = 0;
      for (const socket of sockets) served += this.serve(socket, call.MSG_DONTWAIT);
      this.coalesce(served);
      if (served === 0) libc.epollWait(epoll, events, sockets.length, WAIT_MILLIS);
    }
    libc.close(epoll);
  }

  /** Receives a batch, answers it, sends the answers. Returns the datagrams received. */
  private serve(socket: UdpSocket, flags: number): number {
    const { libc, words } = this;
    const control = socket.wildcard ? CONTROL_OCTETS : 0;
    for (let i = 0; i < BATCH; i++) {
      const message = (i * HEADER_OCTETS) >> 2;
      words[message + 2] = SOCKADDR_IN6_OCTETS;
      words[message + 10] = control;
      words[((BATCH * HEADER_OCTETS + i * IOVEC_OCTETS) >> 2) + 2] = BUFFER_OCTETS;
    }
    const received = libc.recvmmsg(socket.fd, this.headers[0]!, BATCH, flags, null);
    if (received <= 0) {
      this.checkReceive(received);
      return 0;
    }
    const { responder } = this;
    responder.enter();
    let sendFrom = 0;
    for (let i = 0; i < received; i++) {
      if (this.answer(i, socket.wildcard)) continue;
      this.send(socket.fd, sendFrom, i);
      sendFrom = i + 1;
    }
    responder.leave();
    this.send(socket.fd, sendFrom, received);
    responder.counters[counter.BATCHES]!++;
    return received;
  }

  /** Naps where many small batches come fast. */
  private coalesce(received: number): void {
    this.sampled += received;
    if (this.sampled >= RATE_SAMPLE) {
      const now = performance.now();
      this.isFast = this.sampled >= (now - this.sampleStart) * COALESCE_PER_MILLI;
      this.sampled = 0;
      this.sampleStart = now;
    }
    if (this.isFast && received > 0 && received < COALESCE_BATCH) this.libc.usleep(NAP_MICROS);
  }

  /** Answers datagram `i` in place; false for silence. */
  private answer(i: number, wildcard: boolean): boolean {
    const { octets, words, responder } = this;
    const name = NAMES + i * NAME_OCTETS;
    // Port 0 cannot be answered: sent by nobody but a forger.
    if (octets[name + 2] === 0 && octets[name + 3] === 0) {
      responder.counters[counter.PORT_ZERO]!++;
      return false;
    }
    const message = (i * HEADER_OCTETS) >> 2;
    const length = responder.respond(BUFFERS + i * BUFFER_STRIDE, words[message + 14]!, transport.UDP);
    if (length === 0) return false;
    words[((BATCH * HEADER_OCTETS + i * IOVEC_OCTETS) >> 2) + 2] = length;
    if (wildcard) this.clearInterface(CONTROLS + i * CONTROL_OCTETS);
    return true;
  }

  /**
   * The control message that came (IP_PKTINFO or IPV6_PKTINFO) is sent back: the source is the address that was asked.
   * The interface is left to routing, but for link-local addresses, which mean nothing without it.
   */
  private clearInterface(control: number): void {
    const { octets, words } = this;
    if (words[(control >> 2) + 2] === call.IPPROTO_IP) words[(control >> 2) + 4] = 0;
    else if (octets[control + 16] !== 0xfe || (octets[control + 17]! & 0xc0) !== 0x80) words[(control >> 2) + 8] = 0;
  }

  /** Sends the replies [from, end). The kernel stops at the first one it refuses: that one is counted and left out. */
  private send(fd: number, from: number, end: number): void {
    const { libc, responder } = this;
    while (from < end) {
      const sent = libc.sendmmsg(fd, this.headers[from]!, end - from, 0);
      if (sent === end - from) return;
      if (sent < 0 && libc.errno() === errno.EINTR) continue;
      if (sent <= 0) responder.counters[counter.SEND_REFUSED]!++;
      from += Math.max(sent, 0) + (sent <= 0 ? 1 : 0);
    }
  }

  /** Time-outs and interrupted calls are nothing; an error queued on the socket (ICMP) is gone once it was reported. */
  private checkReceive(received: number): void {
    if (received === 0) return;
    const number = this.libc.errno();
    if (number === errno.EAGAIN || number === errno.EINTR) return;
    if (fatal.has(number)) throw new Error(`recvmmsg: errno ${String(number)}`);
    // Whatever else the socket has to say (memory, ICMP) is about a moment: counted, and not asked again at once.
    this.responder.counters[counter.RECEIVE_FAILED]!++;
    this.libc.usleep(RECEIVE_PAUSE_MICROS);
  }
}
