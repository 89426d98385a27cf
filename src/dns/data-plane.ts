// The data plane as its owner sees it: sockets bound, one thread a UDP receiver and one for TCP, over one image.
// It knows nothing of where the image's content comes from. A thread that ends by itself is a bug: `onDeath` is told.
// Exit: a thread blocked in recvmmsg hangs process.exit, an uncaught exception and terminate() alike, so the stop flag
// is set in an exit listener, before Node waits for its threads.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import process from 'node:process';
import { Worker } from 'node:worker_threads';
import { loadLibc } from './ffi.ts';
import type { Libc } from './ffi.ts';
import { requestStop } from './image.ts';
import { ListenError } from './listen-error.ts';
import type { BoundAddress } from './listen-error.ts';
import { isWildcard, localAddresses } from './local-address.ts';
import type { TcpLimits } from './tcp-connection.ts';
import { RECEIVE_BUFFER_OCTETS, SocketError, canReceiveMany, openUdpSocket } from './udp-socket.ts';
import type { UdpSocket } from './udp-socket.ts';
import { CLOSE } from './worker-task.ts';
import type { WorkerReport, WorkerTask } from './worker-task.ts';

export interface DataPlaneOptions {
  readonly image: SharedArrayBuffer;
  readonly listen: readonly BoundAddress[];
  /** UDP threads in total. */
  readonly workers: number;
  readonly udp: 'auto' | 'mmsg' | 'dgram';
  readonly tcpLimits: TcpLimits;
  /** Told once of what a person should know: the reason for dgram, a receive buffer that is smaller than asked. */
  readonly onHint: (message: string) => void;
  /** A thread ended by itself. Nothing may be served by the rest: the process is to exit. */
  readonly onDeath: (reason: Error) => void;
}

export class DataPlane {
  /** What is listened on, port numbers filled in. */
  readonly listening: readonly BoundAddress[];
  readonly engine: 'mmsg' | 'dgram';
  private readonly image: SharedArrayBuffer;
  private readonly threads: readonly Thread[];
  private readonly state: { closing: boolean };
  private readonly release: () => void;

  private constructor(
    image: SharedArrayBuffer,
    listening: readonly BoundAddress[],
    engine: 'mmsg' | 'dgram',
    threads: readonly Thread[],
    state: { closing: boolean },
    release: () => void,
  ) {
    this.image = image;
    this.listening = listening;
    this.engine = engine;
    this.threads = threads;
    this.state = state;
    this.release = release;
  }

  /** Binds every address over UDP and TCP and starts the threads. Throws ListenError when an address cannot be had. */
  static async start(options: DataPlaneOptions): Promise<DataPlane> {
    const { image, tcpLimits } = options;
    const onExit = (): void => {
      requestStop(image);
    };
    process.on('exit', onExit);
    let closeSockets = (): void => undefined;
    const release = (): void => {
      closeSockets();
      process.off('exit', onExit);
    };
    const state = { closing: false };
    const threads: Thread[] = [];
    try {
      const listen = await Promise.all(options.listen.map(chooseNumber));
      const udp = planUdp(options, listen);
      closeSockets = udp.close;
      const tasks: WorkerTask[] = udp.serve.map((serve, reader) => ({ image, reader, serve }));
      const tcp = { engine: 'tcp', addresses: listen, limits: tcpLimits } as const;
      tasks.push({ image, reader: tasks.length, serve: tcp });
      for (const task of tasks) threads.push(await startThread(task, state, options.onDeath));
      return new DataPlane(image, listen, udp.engine, threads, state, release);
    } catch (error) {
      state.closing = true;
      await stopThreads(image, threads);
      release();
      throw error;
    }
  }

  /** Stops answering: TCP finishes the replies under way, UDP the batch in hand. Resolves when every thread has ended. */
  async close(): Promise<void> {
    if (this.state.closing) return;
    this.state.closing = true;
    await stopThreads(this.image, this.threads);
    this.release();
  }
}

async function stopThreads(image: SharedArrayBuffer, threads: readonly Thread[]): Promise<void> {
  for (const { worker } of threads) worker.postMessage(CLOSE);
  requestStop(image);
  await Promise.all(threads.map(({ ended }) => ended));
}

/** A thread, and when it ended, which may be before anybody asks. */
interface Thread {
  readonly worker: Worker;
  readonly ended: Promise<void>;
}

interface UdpPlan {
  readonly engine: 'mmsg' | 'dgram';
  readonly serve: WorkerTask['serve'][];
  /** Closes what was opened here, once no thread uses it. */
  readonly close: () => void;
}

/** Which engine serves UDP, and what each of its threads does. With mmsg the sockets are open when this returns. */
function planUdp(options: DataPlaneOptions, listen: readonly BoundAddress[]): UdpPlan {
  const { udp, workers, onHint } = options;
  if (udp !== 'dgram') {
    const plan = planMmsg(workers, listen, onHint);
    if (typeof plan !== 'string') return plan;
    if (udp === 'mmsg') throw new ListenError(`--udp mmsg: ${plan}`);
    onHint(`UDP by node:dgram, at a higher cost a query: ${plan}`);
  }
  const addresses = listen.flatMap(expandWildcard);
  const shared = workers > 1;
  const serve = Array.from({ length: workers }, () => ({ engine: 'dgram', addresses, shared }) as const);
  return { engine: 'dgram', serve, close: () => undefined };
}

/** The plan with recvmmsg, or why it is out of reach. */
function planMmsg(workers: number, listen: readonly BoundAddress[], onHint: (hint: string) => void): UdpPlan | string {
  const libc = loadLibc();
  if (typeof libc === 'string') return libc;
  const sockets = openAll(libc, listen, onHint);
  if (typeof sockets === 'string') return sockets;
  return {
    engine: 'mmsg',
    serve: Array.from({ length: workers }, () => ({ engine: 'mmsg', sockets }) as const),
    close() {
      for (const { fd } of sockets) libc.close(fd);
    },
  };
}

/** A socket for every address, or why recvmmsg is out of reach. */
function openAll(libc: Libc, listen: readonly BoundAddress[], onHint: (message: string) => void): UdpSocket[] | string {
  const sockets: UdpSocket[] = [];
  const closeAll = (): void => {
    for (const { fd } of sockets) libc.close(fd);
  };
  for (const { host, port } of listen) {
    try {
      sockets.push(openUdpSocket(libc, host, port));
    } catch (error) {
      closeAll();
      if (error instanceof SocketError) throw ListenError.of('--listen', { host, port }, error.code, 'UDP');
      throw error;
    }
  }
  const [first] = sockets;
  if (first !== undefined && !canReceiveMany(libc, first.fd)) {
    closeAll();
    return 'the kernel refuses recvmmsg';
  }
  if (first !== undefined && first.receiveBuffer < RECEIVE_BUFFER_OCTETS) {
    onHint(
      `the UDP receive buffer is ${String(first.receiveBuffer)} octets of ${String(RECEIVE_BUFFER_OCTETS)} asked for: ` +
        'raise it with sysctl net.core.rmem_max, or bursts are lost',
    );
  }
  return sockets;
}

async function startThread(
  task: WorkerTask,
  state: { closing: boolean },
  onDeath: (reason: Error) => void,
): Promise<Thread> {
  // The same file name in the source tree and in the compiled one.
  const file = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
  const worker = new Worker(file, { workerData: task });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  let reason = new Error(`the ${task.serve.engine} thread ended by itself`);
  worker.on('error', (error) => {
    reason = error instanceof Error ? error : new Error(String(error));
  });
  const report = await Promise.race([
    new Promise<WorkerReport>((resolve) => worker.once('message', resolve)),
    ended.then(() => Promise.reject(reason)),
  ]);
  if (!report.bound) {
    await worker.terminate();
    throw ListenError.of('--listen', report.where, report.code, task.serve.engine === 'tcp' ? 'TCP' : 'UDP');
  }
  void ended.then(() => {
    if (!state.closing) onDeath(reason);
  });
  return { worker, ended };
}

/** Port 0 becomes one number that is free over UDP and TCP. */
async function chooseNumber(address: BoundAddress): Promise<BoundAddress> {
  if (address.port !== 0) return address;
  for (let tries = 0; tries < 16; tries++) {
    const server = createServer();
    server.listen(0, address.host);
    try {
      await once(server, 'listening');
    } catch (error) {
      throw ListenError.of('--listen', address, (error as NodeJS.ErrnoException).code ?? String(error));
    }
    const { port } = server.address() as AddressInfo;
    const socket = createSocket(address.host.includes(':') ? 'udp6' : 'udp4');
    const free = await new Promise<boolean>((resolve) => {
      socket.once('error', () => {
        resolve(false);
      });
      socket.bind(port, address.host, () => {
        resolve(true);
      });
    });
    socket.close();
    server.close();
    await once(server, 'close');
    if (free) return { host: address.host, port };
  }
  throw ListenError.of('--listen', address, 'no number is free over UDP and TCP');
}

/** dgram cannot choose a reply's source, so a wildcard becomes every address of this machine in its family. */
function expandWildcard({ host, port }: BoundAddress): BoundAddress[] {
  return isWildcard(host) ? localAddresses(host).map((local) => ({ host: local, port })) : [{ host, port }];
}
