// Bench `stall`: the 99th percentile of a reply's time at 20,000/s while the server's own main thread is busy, against
// the same while a foreign process is as busy. What is left between the two is what the main thread does to the data
// plane beyond taking the processor. Nothing is pinned: the scheduler places all of it as it would anywhere.

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PlaneTask } from './child/plane.ts';
import { comparable, askAll } from './lib/ask.ts';
import { startGenerator } from './lib/loads.ts';
import type { Generator, LoadResult } from './lib/loads.ts';
import { addressOf, questionOf } from './lib/names.ts';
import { WrongAnswer, most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult } from './lib/report.ts';
import { Stage } from './lib/stage.ts';
import type { Player } from './lib/stage.ts';
import { quantile, ratios } from './lib/stats.ts';

const RATE = 20_000;
const NAMES = 1_600;
/** A process that was let go on takes up its work within this time. */
const SETTLE_MILLIS = 100;

export async function stall({ quick }: BenchOptions): Promise<BenchResult> {
  return Stage.open(async (stage) => {
    const questions = Array.from({ length: NAMES }, (_, i) => questionOf(i));
    const start = async (busy: boolean): Promise<{ player: Player; generator: Generator }> => {
      const player = stage.child('plane', { names: NAMES, busy } satisfies PlaneTask);
      const port = Number(await player.line());
      const replies = await askAll(port, questions, 'udp');
      replies.forEach((reply, i) => checkAddress(reply, i));
      return { player, generator: await startGenerator('steady', stage, port, questions) };
    };
    const ownBusy = await start(true);
    const idle = await start(false);
    const foreign = stage.child('busy', {});
    await foreign.line();
    ownBusy.player.tell('go');
    foreign.tell('go');
    // Only the side that is measured runs; SIGSTOP holds every thread of the other.
    const stop = (player: Player): boolean => process.kill(player.pid, 'SIGSTOP');
    const go = (player: Player): boolean => process.kill(player.pid, 'SIGCONT');
    await sleep(SETTLE_MILLIS);
    stop(ownBusy.player);
    stop(foreign);
    const run = async (generator: Generator, busy: Player | undefined): Promise<LoadResult> => {
      if (busy !== undefined) go(busy);
      await sleep(SETTLE_MILLIS);
      const result = await generator.run({ rate: RATE, seconds: quick ? 1 : 3, warmSeconds: 0.5 });
      if (busy !== undefined) stop(busy);
      if (result.failed > 0) throw new WrongAnswer(`${String(result.failed)} replies with an error`);
      return result;
    };
    const results = { own: [] as LoadResult[], foreign: [] as LoadResult[], idle: [] as LoadResult[] };
    const sides = [
      async (): Promise<unknown> => results.own.push(await run(ownBusy.generator, ownBusy.player)),
      async (): Promise<unknown> => results.foreign.push(await run(idle.generator, foreign)),
      async (): Promise<unknown> => results.idle.push(await run(idle.generator, undefined)),
    ];
    for (let round = 0; round < (quick ? 3 : 9); round++) {
      for (let i = 0; i < sides.length; i++) await sides[(i + round) % sides.length]!();
      progress(`stall: round ${String(round + 1)}`);
    }
    const of = (side: keyof typeof results, what: 'p50' | 'p99' | 'lateP99'): number[] =>
      results[side].map((result) => result[what]);
    const compare = (what: 'p50' | 'p99', against: 'foreign' | 'idle') => {
      const beside = `${number(quantile(of('own', what), 0.5))} / ${number(quantile(of(against, what), 0.5))} µs`;
      return [ratios(of('own', what), of(against, what)), beside] as const;
    };
    const [p99, p99Beside] = compare('p99', 'foreign');
    const [p50, p50Beside] = compare('p50', 'foreign');
    const [atRest, atRestBeside] = compare('p99', 'idle');
    const all = Object.values(results).flat();
    const lost = all.reduce((sum, { sent, received }) => sum + sent - received, 0);
    return {
      name: 'stall',
      rows: [
        row('p99 at 20,000/s: main thread busy / foreign process as busy', p99, most(1.2), p99Beside),
        row('p50 of the same', p50, undefined, p50Beside),
        row('p99: main thread busy / nothing busy', atRest, undefined, atRestBeside),
      ],
      notes: [
        'busy: JSON.parse without end, in the main thread of the server or in another process',
        `the generator sent late by ${number(
          quantile(
            all.map(({ lateP99 }) => lateP99),
            0.5,
          ),
        )} µs (p99, median of all runs)`,
        `queries lost in all runs: ${String(lost)}`,
      ],
    };
  });
}

function checkAddress(reply: Buffer, i: number): void {
  const { must } = comparable(reply);
  if (!must.includes(`A "${addressOf(10, i)}"`)) throw new WrongAnswer(`${questionOf(i).name}: ${must}`);
}
