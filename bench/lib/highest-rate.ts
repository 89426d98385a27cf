// The highest rate that a server answers without loss: halving between a rate that it holds and one that it does not.
// The generator sends 64 queries a system call, so that it is not what ends first (dnsperf, one core, is).

import type { Question } from './fleet.ts';
import { startGenerator } from './loads.ts';
import type { Stage } from './stage.ts';

/** A share of loss that counts as none: a machine shared with others takes the core away for longer than any buffer lasts. */
const NO_LOSS = 0.001;
/** A rate is held when it was held in one of so many tries, for the same reason. */
const TRIES = 3;
const LOWEST_RATE = 40_000;
const HIGHEST_RATE = 1_000_000;
const STEPS = 5;

/** Replies a second at the highest rate held. */
export async function highestRate(
  stage: Stage,
  port: number,
  questions: readonly Question[],
  quick: boolean,
): Promise<number> {
  const generator = await startGenerator('load', stage, port, questions);
  const seconds = quick ? 0.3 : 0.6;
  /** Replies a second, 0 where the rate is not held. */
  const holds = async (rate: number): Promise<number> => {
    for (let tries = 0; tries < TRIES; tries++) {
      const { sent, received } = await generator.run({ rate, seconds, warmSeconds: 0.1 });
      // A generator that is itself too slow sends less, which shows as a lower rate and never as a loss.
      if (received >= sent * (1 - NO_LOSS)) return received / seconds;
    }
    return 0;
  };
  try {
    let low = LOWEST_RATE;
    let high = LOWEST_RATE;
    let best = 0;
    for (let held = await holds(high); held > 0 && high < HIGHEST_RATE; held = await holds(high)) {
      best = Math.max(best, held);
      low = high;
      high *= 2;
    }
    for (let step = 0; step < STEPS; step++) {
      const middle = Math.sqrt(low * high);
      const held = await holds(middle);
      if (held > 0) low = middle;
      else high = middle;
      best = Math.max(best, held);
    }
    return best;
  } finally {
    await generator.end();
  }
}
