// The machine's monotonic clock in milliseconds: the same zero in every process and thread, unlike performance.now().

import process from 'node:process';

/** The two clocks are read one after the other; the pair that was least held up between has the largest difference. */
const TRIES = 1_000;

function findZero(): number {
  let zero = -Infinity;
  for (let tries = 0; tries < TRIES; tries++) {
    const monotonic = Number(process.hrtime.bigint()) / 1e6;
    zero = Math.max(zero, monotonic - performance.now());
  }
  return zero;
}

const zero = findZero();

export function monotonicMillis(): number {
  return zero + performance.now();
}
