// Work on the store that is longer than the main thread should be held up: in slices of its time, one piece of work after
// the other. Not here: what is done.

export class Turns {
  readonly #sliceMillis: number;
  #busy: Promise<void> | undefined;
  #isOver = false;

  constructor(sliceMillis: number) {
    this.#sliceMillis = sliceMillis;
  }

  /** While work runs, its end. */
  get busy(): Promise<void> | undefined {
    return this.#busy;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Work that runs ends where it is. */
  end(): void {
    this.#isOver = true;
  }

  /** Runs `work` when no other work runs; it begins at once where none does. */
  async alone(work: () => Promise<void>): Promise<void> {
    while (this.#busy !== undefined) await this.#busy;
    this.#busy = work().finally(() => (this.#busy = undefined));
    await this.#busy;
  }

  /** Applies to all, unless it is over before: whoever goes on must ask. */
  async each<T>(items: Iterable<T>, apply: (item: T) => void): Promise<void> {
    let end = performance.now() + this.#sliceMillis;
    for (const item of items) {
      if (this.#isOver) return;
      apply(item);
      if (performance.now() < end) continue;
      await new Promise((resolve) => setImmediate(resolve));
      end = performance.now() + this.#sliceMillis;
    }
  }
}
