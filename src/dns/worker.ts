// Entry of a worker thread of the data plane: one UDP receiver, or the TCP listener. What it is, workerData says.
// Each loads only what it needs: a thread's heap is its own.
// It answers one message to its parent (bound, or why not), then serves until the image's stop flag is set.

import { parentPort, workerData } from 'node:worker_threads';
import { MAX_MESSAGE_OCTETS } from './iana.ts';
import type { BoundAddress } from './listen-error.ts';
import { Responder, transport } from './respond.ts';
import { CLOSE } from './worker-task.ts';
import type { WorkerReport, WorkerTask } from './worker-task.ts';

const { image, reader, serve } = workerData as WorkerTask;

function report(message: WorkerReport): void {
  parentPort!.postMessage(message);
}

/** Binds one address after the other, and reports once: all bound, or the first that was not. */
async function bindAll(
  addresses: readonly BoundAddress[],
  bind: (address: BoundAddress) => Promise<unknown>,
): Promise<void> {
  for (const address of addresses) {
    try {
      await bind(address);
    } catch (error) {
      report({ bound: false, code: (error as NodeJS.ErrnoException).code ?? String(error), where: address });
      return;
    }
  }
  report({ bound: true });
}

switch (serve.engine) {
  case 'mmsg': {
    const [{ loadLibc }, { UdpLoop }] = await Promise.all([import('./ffi.ts'), import('./mmsg.ts')]);
    const libc = loadLibc();
    if (typeof libc === 'string') throw new Error(libc);
    const loop = new UdpLoop(libc, serve.sockets, image, reader);
    report({ bound: true });
    loop.run();
    break;
  }
  case 'dgram': {
    const { DgramServer } = await import('./dgram.ts');
    const server = new DgramServer(image, reader, serve.shared);
    await bindAll(serve.addresses, (address) => server.bind(address));
    break;
  }
  case 'tcp': {
    const [{ newTcpCounters }, { TcpListener }] = await Promise.all([
      import('./tcp-connection.ts'),
      import('./tcp.ts'),
    ]);
    const buffer = new Uint8Array(MAX_MESSAGE_OCTETS + 1);
    const listener = new TcpListener(
      new Responder(image, reader, buffer),
      serve.limits,
      newTcpCounters(),
      transport.TCP,
    );
    parentPort!.on('message', (message) => {
      if (message === CLOSE) void listener.close().finally(() => parentPort!.close());
    });
    await bindAll(serve.addresses, (address) => listener.listen(address));
    break;
  }
}
