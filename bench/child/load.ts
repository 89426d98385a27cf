// A load generator as a process: each line of its input is a LoadRun, each line of its output a LoadResult.

import { readFileSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Question } from '../lib/fleet.ts';
import { Histogram } from '../lib/histogram.ts';
import { LATE_MILLIS, LoadGenerator, encodeAll } from '../lib/load.ts';
import type { LoadResult, LoadRun, LoadTask } from '../lib/loads.ts';

const task = JSON.parse(process.argv[2]!) as LoadTask;
const messages = encodeAll(JSON.parse(readFileSync(task.questions, 'utf8')) as Question[]);
const clock = (): number => performance.now();

function run({ rate, seconds, warmSeconds }: LoadRun): LoadResult {
  const began = clock();
  const load = new LoadGenerator(task.port, messages, rate, began);
  const [latency, lateness] = [new Histogram(), new Histogram()];
  const countFrom = began + warmSeconds * 1_000;
  const end = countFrom + seconds * 1_000;
  let [sentBefore, receivedBefore] = [0, 0];
  let isCounting = false;
  let now = began;
  while (now < end) {
    if (!isCounting && now >= countFrom) {
      isCounting = true;
      [sentBefore, receivedBefore] = [load.sent, load.received];
    }
    load.send(now, isCounting ? lateness : undefined);
    load.receive(clock, isCounting ? latency : undefined);
    now = clock();
  }
  // Replies under way when counting began are counted with those that were when it ended.
  const late = end + LATE_MILLIS;
  while (load.received < load.sent && now < late) {
    load.receive(clock, latency);
    now = clock();
  }
  const sent = load.sent - sentBefore;
  return {
    sent,
    received: Math.min(sent, load.received - receivedBefore),
    failed: load.failed,
    seconds,
    p50: latency.micros(0.5),
    p99: latency.micros(0.99),
    lateP50: lateness.micros(0.5),
    lateP99: lateness.micros(0.99),
  };
}

for await (const line of createInterface(process.stdin)) {
  process.stdout.write(`${JSON.stringify(run(JSON.parse(line) as LoadRun))}\n`);
}
