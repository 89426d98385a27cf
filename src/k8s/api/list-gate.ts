// How many lists run at once over all clusters, so that hundreds of them start without a stampede, and so that those
// which are slow do not hold up the others: a list that is longer than its turn goes on, and the next may begin.

export class ListGate {
  readonly #atOnce: number;
  readonly #turnMillis: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number, turnMillis: number) {
    this.#atOnce = atOnce;
    this.#turnMillis = turnMillis;
  }

  /**
   * Resolves when a list may begin, first come, first served; what it gives is called when the list has ended. Rejects
   * at the signal.
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#running >= this.#atOnce) await this.#turn(signal);
    else this.#running++;
    let isOver = false;
    const leave = (): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(turn);
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    };
    const turn = setTimeout(leave, this.#turnMillis).unref();
    return leave;
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const begin = (): void => {
        signal.removeEventListener('abort', end);
        resolve();
      };
      const end = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(signal.reason as Error);
      };
      this.#waiting.push(begin);
      signal.addEventListener('abort', end, { once: true });
    });
  }
}
