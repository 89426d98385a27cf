// UDP through node:dgram: the same answers where recvmmsg cannot be called (no koffi, gVisor, another system).
// It makes a system call each way for every datagram, and it cannot choose a reply's source address, so it is never
// bound to a wildcard: the caller gives one socket a local address.

import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { LONGEST_QUERY_OCTETS } from './iana.ts';
import { counter, stopRequested } from './image.ts';
import type { BoundAddress } from './listen-error.ts';
import { Responder, transport } from './respond.ts';
import { RECEIVE_BUFFER_OCTETS } from './udp-socket.ts';

const BUFFER_OCTETS = 8_192;
/** Replies waiting in the kernel's and libuv's queues; beyond, they are dropped, as the network would. */
const MOST_QUEUED_OCTETS = 1 << 20;
const STOP_CHECK_MILLIS = 200;

/** Serves on the addresses bound, until the stop flag is set; with `shared` other threads may bind the same ones. */
export class DgramServer {
  private readonly responder: Responder;
  private readonly shared: boolean;
  private readonly sockets: Socket[] = [];

  constructor(image: SharedArrayBuffer, reader: number, shared: boolean) {
    this.responder = new Responder(image, reader, new Uint8Array(BUFFER_OCTETS));
    this.shared = shared;
    const stop = new Int32Array(image, 0, 16);
    const timer = setInterval(() => {
      if (!stopRequested(stop)) return;
      clearInterval(timer);
      for (const socket of this.sockets) socket.close();
    }, STOP_CHECK_MILLIS);
  }

  /** Resolves once the socket is bound; rejects with Node's error. */
  bind({ host, port }: BoundAddress): Promise<void> {
    const type = isIPv6(host) ? 'udp6' : 'udp4';
    const socket = createSocket({
      type,
      ipv6Only: type === 'udp6',
      reusePort: this.shared,
      recvBufferSize: RECEIVE_BUFFER_OCTETS,
    });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, host, () => {
        socket.off('error', reject);
        // Errors of a bound UDP socket are about one peer (ICMP) and end nothing.
        socket.on('error', () => undefined);
        socket.on('message', (message, from) => {
          this.answer(socket, message, from);
        });
        this.sockets.push(socket);
        resolve();
      });
    });
  }

  private answer(socket: Socket, message: Buffer, from: RemoteInfo): void {
    const { responder } = this;
    const { counters } = responder;
    // send() throws for port 0: one forged datagram must not end the process.
    if (from.port === 0) {
      counters[counter.PORT_ZERO]!++;
      return;
    }
    const query = message.length > LONGEST_QUERY_OCTETS ? message.subarray(0, LONGEST_QUERY_OCTETS) : message;
    responder.buffer.set(query);
    responder.enter();
    const length = responder.respond(0, query.length, transport.UDP);
    responder.leave();
    counters[counter.BATCHES]!++;
    if (length === 0) return;
    if (socket.getSendQueueSize() > MOST_QUEUED_OCTETS) {
      counters[counter.SEND_REFUSED]!++;
      return;
    }
    socket.send(Buffer.from(responder.buffer.subarray(0, length)), from.port, from.address, (error) => {
      if (error !== null) counters[counter.SEND_REFUSED]!++;
    });
  }
}
