// A steady load that leaves the processors to others: one thread sends what is due and sleeps 50 µs at a time, another
// is blocked in recvmmsg and so sees each reply when it comes. A reply's time runs from the call that sent its query; the
// sender waits for nobody, so no slow reply holds back a later query. Each line of input is a LoadRun, of output a LoadResult.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { loadLibc } from '../../src/dns/ffi.ts';
import { openUdpSocket } from '../../src/dns/udp-socket.ts';
import { monotonicMillis } from '../lib/clock.ts';
import { BATCH, Datagrams } from '../lib/datagrams.ts';
import type { Question } from '../lib/fleet.ts';
import { Histogram } from '../lib/histogram.ts';
import { LATE_MILLIS, encodeAll } from '../lib/load.ts';
import type { LoadResult, LoadRun, LoadTask } from '../lib/loads.ts';

const IDS = 65_536;
const PAUSE_MILLIS = 0.05;
/** Cells that both threads see. */
const cell = { END: 0, PAUSE: 1, CELLS: 2 } as const;

interface Shared {
  readonly fd: number;
  readonly port: number;
  /** When the query with this id was sent; 0: none was, or its reply has come. */
  readonly sentAt: Float64Array;
  readonly cells: Int32Array;
}

const libc = loadLibc();
if (typeof libc === 'string') throw new Error(libc);
if (isMainThread) await send(libc);
else receive(libc, workerData as Shared);

async function send(calls: Exclude<typeof libc, string>): Promise<void> {
  const task = JSON.parse(process.argv[2]!) as LoadTask;
  const messages = encodeAll(JSON.parse(readFileSync(task.questions, 'utf8')) as Question[]);
  const { fd } = openUdpSocket(calls, '127.0.0.1', 0);
  const out = new Datagrams(calls, fd, task.port);
  for await (const line of createInterface(process.stdin)) {
    const run = JSON.parse(line) as LoadRun;
    const shared: Shared = {
      fd,
      port: task.port,
      sentAt: new Float64Array(new SharedArrayBuffer(IDS * 8)),
      cells: new Int32Array(new SharedArrayBuffer(cell.CELLS * 4)),
    };
    const receiver = new Worker(new URL(import.meta.url), { workerData: shared });
    await once(receiver, 'online');
    const report = once(receiver, 'message') as Promise<[Received]>;
    const { sent, lateness } = sendAll(out, messages, run, shared);
    await new Promise((resolve) => setTimeout(resolve, LATE_MILLIS));
    Atomics.store(shared.cells, cell.END, 1);
    const [received] = await report;
    const result: LoadResult = {
      sent,
      seconds: run.seconds,
      lateP50: lateness.micros(0.5),
      lateP99: lateness.micros(0.99),
      ...received,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
}

/** Sends at the rate asked for; only what is sent after the warm-up is counted. */
function sendAll(
  out: Datagrams,
  messages: readonly Uint8Array[],
  { rate, seconds, warmSeconds }: LoadRun,
  { sentAt, cells }: Shared,
): { sent: number; lateness: Histogram } {
  const lateness = new Histogram();
  const began = monotonicMillis();
  const warm = Math.floor(rate * warmSeconds);
  const total = warm + Math.floor(rate * seconds);
  for (let sent = 0; sent < total;) {
    const now = monotonicMillis();
    const due = Math.min(total - sent, BATCH, Math.floor(((now - began) * rate) / 1_000) + 1 - sent);
    for (let i = 0; i < due; i++) {
      const number = sent + i;
      // Below zero while nothing is counted: its reply then only clears the cell.
      sentAt[number % IDS] = number < warm ? -now : now;
      out.set(i, messages[number % messages.length]!, number % IDS);
      if (number >= warm) lateness.add(now - began - (number * 1_000) / rate);
    }
    if (due > 0) out.send(due);
    sent += Math.max(0, due);
    Atomics.wait(cells, cell.PAUSE, 0, PAUSE_MILLIS);
  }
  return { sent: total - warm, lateness };
}

interface Received {
  readonly received: number;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
}

function receive(calls: Exclude<typeof libc, string>, { fd, port, sentAt, cells }: Shared): void {
  const replies = new Datagrams(calls, fd, port);
  const latency = new Histogram();
  let received = 0;
  let failed = 0;
  while (Atomics.load(cells, cell.END) === 0) {
    const count = replies.wait();
    const now = monotonicMillis();
    for (let i = 0; i < count; i++) {
      const at = replies.at(i);
      const id = (replies.octets[at]! << 8) | replies.octets[at + 1]!;
      const sent = sentAt[id]!;
      sentAt[id] = 0;
      if (sent <= 0) continue;
      received++;
      if ((replies.octets[at + 3]! & 0x0f) !== 0) failed++;
      latency.add(now - sent);
    }
  }
  const report: Received = { received, failed, p50: latency.micros(0.5), p99: latency.micros(0.99) };
  parentPort!.postMessage(report);
}
