// Times in milliseconds, counted by microsecond up to 200 ms; adding one allocates nothing.

const CELLS = 200_000;

export class Histogram {
  private readonly cells = new Uint32Array(CELLS);
  private count = 0;

  add(millis: number): void {
    const micros = millis * 1_000;
    const cell = micros <= 0 ? 0 : micros >= CELLS ? CELLS - 1 : micros | 0;
    this.cells[cell]!++;
    this.count++;
  }

  /** Microseconds that the share `q` did not exceed. */
  micros(q: number): number {
    let left = Math.ceil(this.count * q);
    for (let cell = 0; cell < CELLS; cell++) {
      left -= this.cells[cell]!;
      if (left <= 0) return cell;
    }
    return CELLS;
  }
}
