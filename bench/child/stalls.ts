// Loaded into a server by `node --import`, so that the server itself has no door for benches: on SIGUSR2 it prints how long
// the main thread's event loop stood still at most since the last time, and begins anew.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

export interface Stalls {
  readonly longestMillis: number;
}

/** The timer that is late when the loop stands still; its own period is no delay. */
const PERIOD_MILLIS = 5;

if (isMainThread) {
  const delays = monitorEventLoopDelay({ resolution: PERIOD_MILLIS });
  delays.enable();
  process.on('SIGUSR2', () => {
    const stalls: Stalls = { longestMillis: Math.max(0, delays.max / 1e6 - PERIOD_MILLIS) };
    delays.reset();
    process.stdout.write(`${JSON.stringify(stalls)}\n`);
  });
}
