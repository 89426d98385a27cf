// Medians and quartiles of paired samples. Nothing here knows what was measured.

/** The three quartiles of some samples. */
export interface Quartiles {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/** The value below which the share `q` of the samples lies, between neighbours by weight. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const place = (sorted.length - 1) * q;
  const below = Math.floor(place);
  const low = sorted[below] ?? NaN;
  const high = sorted[Math.ceil(place)] ?? NaN;
  return low + (high - low) * (place - below);
}

export function quartiles(samples: readonly number[]): Quartiles {
  return { low: quantile(samples, 0.25), median: quantile(samples, 0.5), high: quantile(samples, 0.75) };
}

/** Pair by pair: what was measured in one round is divided by what was measured in the same round. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((value, round) => value / theirs[round]!);
}

/** A seeded source of numbers in [0, 1) (mulberry32), so that every run asks the same. */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
