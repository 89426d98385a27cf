// What a bench says: rows with a bar each, printed as one table. A row is a ratio of one run, or a bound that stands in
// the bar itself (seconds, MB); absolute figures of a side stand beside as context and are never compared with a bar.

import process from 'node:process';
import { quartiles } from './stats.ts';

/** How a bench is run. */
export interface BenchOptions {
  /** Fewer and shorter rounds: to see that all of it works, not to quote a figure. */
  readonly quick: boolean;
}

/** `most`: at most so much passes; `least`: at least so much. */
export interface Bar {
  readonly kind: 'most' | 'least';
  readonly value: number;
}

export interface Row {
  readonly what: string;
  /** One a round; the median is held against the bar. */
  readonly samples: readonly number[];
  readonly unit: string;
  /** Undefined: context only. */
  readonly bar: Bar | undefined;
  /** What else a reader should see of it, such as the medians of both sides. */
  readonly beside: string;
}

export interface BenchResult {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
}

/** A reply was not what it must be: the run is worth nothing. */
export class WrongAnswer extends Error {}

export const most = (value: number): Bar => ({ kind: 'most', value });
export const least = (value: number): Bar => ({ kind: 'least', value });

export function row(what: string, samples: readonly number[], bar?: Bar, beside = '', unit = ''): Row {
  return { what, samples, unit, bar, beside };
}

/** Whether the row's median is on the good side of its bar; undefined without one. */
export function verdict({ samples, bar }: Row): boolean | undefined {
  if (bar === undefined) return undefined;
  const { median } = quartiles(samples);
  return bar.kind === 'most' ? median <= bar.value : median >= bar.value;
}

/** Prints the table of a bench. */
export function printResult({ name, rows, notes }: BenchResult): void {
  const lines = rows.map((each) => {
    const { low, median, high } = quartiles(each.samples);
    const passed = verdict(each);
    const bar = each.bar === undefined ? '' : `${each.bar.kind === 'most' ? '<=' : '>='} ${String(each.bar.value)}`;
    const spread = each.samples.length > 1 ? `${number(low)} to ${number(high)}` : '';
    return [
      each.what,
      number(median) + each.unit,
      spread,
      String(each.samples.length),
      bar,
      passed === undefined ? '' : passed ? 'PASS' : 'MISS',
      each.beside,
    ];
  });
  const head = ['', 'median', 'quartiles', 'rounds', 'bar', '', ''];
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]!.length)));
  say(`\n== ${name}`);
  for (const line of [head, ...lines])
    say(
      line
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    );
  for (const note of notes) say(`- ${note}`);
}

/** Three significant digits, no exponent. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 4));
}

/** Progress goes to stderr, so that the tables alone can be kept. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
