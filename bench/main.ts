// `npm run bench [-- NAME… [--quick]]`: runs all benches or those named, each a table of ratios against their bars.
// Exit code 1: an answer was wrong, or a bench could not run. A bar that is missed is printed, and is no failure.

import process from 'node:process';
import { change } from './change.ts';
import { chaos } from './chaos.ts';
import { fleet } from './fleet.ts';
import { image } from './image.ts';
import { latency } from './latency.ts';
import { WrongAnswer, printResult, progress, verdict } from './lib/report.ts';
import type { BenchOptions, BenchResult } from './lib/report.ts';
import { queries } from './queries.ts';
import { stall } from './stall.ts';
import { tcp } from './tcp.ts';

const benches: Readonly<Record<string, (options: BenchOptions) => Promise<BenchResult>>> = {
  queries,
  tcp,
  image,
  stall,
  change,
  fleet,
  latency,
  chaos,
};

const words = process.argv.slice(2);
const flags = words.filter((word) => word.startsWith('-'));
const names = words.filter((word) => !word.startsWith('-'));
const unknown = [
  ...flags.filter((word) => word !== '--quick'),
  ...names.filter((name) => !Object.hasOwn(benches, name)),
];
if (unknown.length > 0) {
  progress(`bench: ${unknown.join(', ')} is none of ${Object.keys(benches).join(', ')}, nor --quick`);
  process.exit(2);
}

let missed = 0;
for (const name of names.length > 0 ? names : Object.keys(benches)) {
  try {
    const result = await benches[name]!({ quick: flags.includes('--quick') });
    printResult(result);
    missed += result.rows.filter((row) => verdict(row) === false).length;
  } catch (error) {
    process.exitCode = 1;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    progress(`bench ${name}: ${error instanceof WrongAnswer ? `wrong answer: ${error.message}` : text}`);
  }
}
if (missed > 0) progress(`\n${String(missed)} bars missed`);
