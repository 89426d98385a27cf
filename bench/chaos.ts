// Bench `chaos`: ten minutes of every fault that an API server can have, with changes, restarts and reloads, while all names
// are asked all the time. What it measures is how fast names heal, and that memory, descriptors and connections stay flat.
// What is right, and who says so: test/chaos/. A wrong answer, or a lost one, is no figure but a failure.

import process from 'node:process';
import { runChaos } from '../test/chaos/support-run.ts';
import type { ChaosReport } from '../test/chaos/support-run.ts';
import { WrongAnswer, most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult, Row } from './lib/report.ts';
import { quantile } from './lib/stats.ts';

const HEAL_MILLIS = 5_000;
/** Four watches a cluster, and one connection for lists. */
const CONNECTIONS = 5 * 5;
const MEBIOCTETS_PER_MINUTE = 2;
const DESCRIPTORS = 8;

export async function chaos({ quick }: BenchOptions): Promise<BenchResult> {
  const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1e6));
  progress(`chaos: CHAOS_SEED=${String(seed)} repeats this run`);
  const report = await runChaos({
    seed,
    seconds: quick ? 40 : 540,
    // A silent watch is found dead after 90 s, and what is forbidden is asked for again after 75 s at most.
    faultMillis: quick ? 5_000 : 20_000,
    settleMillis: quick ? 36_000 : 120_000,
    isSlow: !quick,
    restarts: quick ? 2 : 6,
    questionsPerSecond: 2_000,
    tell: (line) => progress(`chaos: ${line}`),
  });
  refuseWrong(report);
  return { name: 'chaos', rows: rowsOf(report, quick), notes: notesOf(report, seed) };
}

function refuseWrong({ checker, healing: { unhealed }, outOfTouch }: ChaosReport): void {
  const wrong = checker.first.slice(0, 5).map(({ name, type, got }) => `${name} ${type}: ${got}`);
  if (checker.violations > 0) throw new WrongAnswer(`${String(checker.violations)}: ${wrong.join('; ')}`);
  if (checker.lost > 0) throw new WrongAnswer(`lost: ${[...checker.lostNames.keys()].slice(0, 5).join(' ')}`);
  if (unhealed.length + outOfTouch.length > 0) throw new WrongAnswer([...unhealed, ...outOfTouch].join('; '));
}

function rowsOf({ checker, healing, starts, samples, ...report }: ChaosReport, quick: boolean): Row[] {
  const of = (q: number): number => quantile(healing.healed, q);
  const descriptors = samples.map((sample) => sample.descriptors);
  // Clusters in trouble have fewer sockets: what is compared is the most of either half.
  const middle = Math.floor(descriptors.length / 2);
  const grown = quantile(descriptors.slice(middle), 0.9) - quantile(descriptors.slice(0, middle), 0.9);
  const half = `p50 ${number(of(0.5))} ms, p99 ${number(of(0.99))} ms`;
  const patience = `p50 ${number(quantile(healing.reached, 0.5))} ms, worst ${number(Math.max(...healing.reached))} ms`;
  const rss = `${number(samples.at(-1)?.rssMebioctets ?? NaN)} MiB at the end`;
  return [
    row('healed after the first sound answers, worst', [of(1)], most(HEAL_MILLIS), half, ' ms'),
    row('end of a fault to the first sound answers', [quantile(healing.reached, 0.5)], undefined, patience, ' ms'),
    row('start of the server to the first answer', starts, undefined, 'from a snapshot', ' ms'),
    row('questions asked', [checker.sent], undefined, `slowest ${number(checker.slowestMillis)} ms`),
    row('wrong answers', [checker.violations], most(0)),
    row('lost answers', [checker.lost], most(0)),
    row('memory', [report.slopeMebioctetsPerMinute], quick ? undefined : most(MEBIOCTETS_PER_MINUTE), rss, ' MiB/min'),
    row('descriptors gained', [grown], most(DESCRIPTORS), `${String(descriptors.at(-1))} at the end`),
    row('connections to five API servers at the end', [report.connections], most(CONNECTIONS)),
  ];
}

function notesOf({ faults, changes, healing }: ChaosReport, seed: number): string[] {
  const kinds = [...faults].sort(([, a], [, b]) => b - a).map(([kind, count]) => `${kind} ${String(count)}`);
  return [
    `seed ${String(seed)}; ${String(changes)} changes; ${String(healing.healed.length)} times healed`,
    `faults: ${kinds.join(', ')}`,
  ];
}
