// Entry of a worker thread of the data plane: one UDP receiver, or the TCP listener. What it is, workerData says.
// It answers one message to its parent (bound, or why not), then serves until the image's stop flag is set.

import { parentPort, workerData } from 'node:worker_threads';
import { serveDgram } from './dgram.ts';
import { loadLibc } from './ffi.ts';
import { MAX_MESSAGE_OCTETS } from './iana.ts';
import { UdpLoop } from './mmsg.ts';
import { Responder, transport } from './respond.ts';
import { TcpListener, newTcpCounters } from './tcp.ts';
import { CLOSE } from './worker-task.ts';
import type { WorkerReport, WorkerTask } from './worker-task.ts';

const { image, reader, serve } = workerData as WorkerTask;

function report(message: WorkerReport): void {
  parentPort!.postMessage(message);
}

/** Why an address could not be bound, as Node names it. */
function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

switch (serve.engine) {
  case 'mmsg': {
    const libc = loadLibc();
    if (typeof libc === 'string') throw new Error(libc);
    const loop = new UdpLoop(libc, serve.sockets, image, reader);
    report({ bound: true });
    loop.run();
    break;
  }
  case 'dgram': {
    for (const address of serve.addresses) {
      try {
        await serveDgram([address], serve.shared, image, reader);
      } catch (error) {
        report({ bound: false, code: codeOf(error), where: address });
      }
    }
    report({ bound: true });
    break;
  }
  case 'tcp': {
    const buffer = new Uint8Array(MAX_MESSAGE_OCTETS + 1);
    const listener = new TcpListener(
      new Responder(image, reader, buffer),
      serve.limits,
      newTcpCounters(),
      transport.TCP,
    );
    for (const address of serve.addresses) {
      try {
        await listener.listen(address);
      } catch (error) {
        report({ bound: false, code: codeOf(error), where: address });
      }
    }
    parentPort!.on('message', (message) => {
      if (message === CLOSE) void listener.close().finally(() => parentPort!.close());
    });
    report({ bound: true });
    break;
  }
}
