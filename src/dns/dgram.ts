// UDP through node:dgram: the same answers where recvmmsg cannot be called (no koffi, gVisor, another system).
// It costs twice the CPU a query (bench `queries`), and it cannot choose a reply's source address, so it is never
// bound to a wildcard: the caller gives one socket a local address.

import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { counter, stopRequested } from './image.ts';
import type { BoundAddress } from './listen-error.ts';
import { Responder, transport } from './respond.ts';
import { RECEIVE_BUFFER_OCTETS } from './udp-socket.ts';

const BUFFER_OCTETS = 65_536;
/** Replies waiting in the kernel's and libuv's queues; beyond, they are dropped, as the network would. */
const MOST_QUEUED_OCTETS = 1 << 20;
const STOP_CHECK_MILLIS = 200;

/** Serves on these addresses until the stop flag is set. Resolves once all are bound, with the ports. */
export async function serveDgram(
  addresses: readonly BoundAddress[],
  shared: boolean,
  image: SharedArrayBuffer,
  reader: number,
): Promise<BoundAddress[]> {
  const responder = new Responder(image, reader, new Uint8Array(BUFFER_OCTETS));
  const sockets: Socket[] = [];
  const bound: BoundAddress[] = [];
  try {
    for (const { host, port } of addresses) {
      const socket = await bind(host, port, shared);
      sockets.push(socket);
      socket.on('message', (message, from) => {
        answer(socket, responder, message, from);
      });
      bound.push({ host, port: socket.address().port });
    }
  } catch (error) {
    for (const socket of sockets) socket.close();
    throw error;
  }
  const stop = new Int32Array(image, 0, 16);
  const timer = setInterval(() => {
    if (!stopRequested(stop)) return;
    clearInterval(timer);
    for (const socket of sockets) socket.close();
  }, STOP_CHECK_MILLIS);
  return bound;
}

function bind(host: string, port: number, shared: boolean): Promise<Socket> {
  const socket = createSocket({
    type: isIPv6(host) ? 'udp6' : 'udp4',
    ipv6Only: isIPv6(host),
    reusePort: shared,
    recvBufferSize: RECEIVE_BUFFER_OCTETS,
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, host, () => {
      socket.off('error', reject);
      // Errors of a bound UDP socket are about one peer (ICMP) and end nothing.
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

function answer(socket: Socket, responder: Responder, message: Buffer, from: RemoteInfo): void {
  const { counters } = responder;
  // send() throws for port 0: one forged datagram must not end the process.
  if (from.port === 0) {
    counters[counter.PORT_ZERO]!++;
    return;
  }
  responder.buffer.set(message);
  responder.enter();
  const length = responder.respond(0, message.length, transport.UDP);
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
