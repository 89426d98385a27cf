// The echo floor: the UDP engine of the server (src/dns/mmsg.ts), its socket and its batches, with a responder that only
// sets QR. Prints its port; ends by SIGTERM, whose default ends a thread that sleeps in recvmmsg too.

import process from 'node:process';
import { COUNTER_CELLS, createImageBuffer } from '../../src/dns/image.ts';
import { loadLibc } from '../../src/dns/ffi.ts';
import { flag } from '../../src/dns/iana.ts';
import { UdpLoop } from '../../src/dns/mmsg.ts';
import { openUdpSocket } from '../../src/dns/udp-socket.ts';

class Echo {
  readonly counters = new Float64Array(COUNTER_CELLS);
  private readonly buffer: Uint8Array;

  constructor(buffer: Uint8Array) {
    this.buffer = buffer;
  }

  enter(): void {
    // No image is read.
  }

  leave(): void {
    // No image is read.
  }

  respond(at: number, length: number): number {
    this.buffer[at + 2] = this.buffer[at + 2]! | flag.QR;
    return length;
  }
}

const libc = loadLibc();
if (typeof libc === 'string') throw new Error(libc);
const socket = openUdpSocket(libc, '127.0.0.1', 0);
const loop = new UdpLoop(libc, [socket], createImageBuffer(1 << 20), 0);
// The engine makes its own responder and offers no way in; `private` and `readonly` are the type checker's only.
const { octets } = loop as unknown as { octets: Uint8Array };
Reflect.set(loop, 'responder', new Echo(octets));
process.stdout.write(`${String(socket.port)}\n`);
loop.run();
