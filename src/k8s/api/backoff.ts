// How long to wait after trouble: full jitter in a window that doubles, or what the server asked for.
// Pure of clock and chance: both are given. Not here: waiting itself.

import type { limits } from '../../limits.ts';
import type { TroubleError } from './trouble.ts';

export type ReflectorLimits = { readonly [K in keyof typeof limits.reflector]: number };

/** No window's luck makes an attempt follow the last one at once. */
const LEAST_MILLIS = 20;

export class Backoff {
  readonly #limits: ReflectorLimits;
  readonly #random: () => number;
  #attempts = 0;
  /** Answers of 403 and 404 since the last health: a server that is still starting gives them too. */
  #refusals = 0;
  #healthySince: number | undefined;

  constructor(limits: ReflectorLimits, random: () => number) {
    this.#limits = limits;
    this.#random = random;
  }

  /** The server follows up what it promised, from now on. */
  healthy(nowMillis: number): void {
    this.#healthySince ??= nowMillis;
    this.#refusals = 0;
  }

  /** Milliseconds to wait before the next attempt. */
  next(trouble: TroubleError, nowMillis: number): number {
    if (this.#healthySince !== undefined && nowMillis - this.#healthySince >= this.#limits.healthyMillis) {
      this.#attempts = 0;
    }
    this.#healthySince = undefined;
    const { kind, retryAfterMillis } = trouble;
    const { slowPollMillis, confirmMillis, retryAfterLeastMillis, retryAfterMostMillis } = this.#limits;
    if (kind === 'forbidden' || kind === 'absent') {
      const poll = Math.min(slowPollMillis, this.#limits.backoffMillis * 2 ** Math.min(this.#refusals++, 20));
      return poll * (0.75 + 0.5 * this.#random());
    }
    if (kind === 'held') return confirmMillis * (0.75 + 0.5 * this.#random());
    const window = Math.min(this.#ceiling(kind), this.#limits.backoffMillis * 2 ** Math.min(this.#attempts++, 20));
    const jittered = Math.max(LEAST_MILLIS, window * this.#random());
    if (retryAfterMillis === undefined) return jittered;
    const asked = Math.min(retryAfterMostMillis, Math.max(retryAfterLeastMillis, retryAfterMillis));
    // Those who were told the same time do not come back in the same moment.
    return asked + Math.min(jittered, asked / 4);
  }

  #ceiling(kind: TroubleError['kind']): number {
    const isAnswer = kind === 'answer' || kind === 'unauthorized' || kind === 'invalid';
    return isAnswer ? this.#limits.backoffAnswerMillis : this.#limits.backoffConnectionMillis;
  }
}
