// Bench `change`: from a changed EndpointSlice in the store to the changed answer on the wire, at 1,000 changes a second
// and 20,000 queries a second; and what an event costs in a large fleet against a small one.

import type { ChangesTask } from './child/changes.ts';
import type { EventResult, EventsTask } from './child/events.ts';
import type { WatchResult, WatchTask } from './child/watch.ts';
import { LOAD_CORE } from './lib/loads.ts';
import { WrongAnswer, most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult, Row } from './lib/report.ts';
import { Stage } from './lib/stage.ts';
import { quantile, ratios } from './lib/stats.ts';

const SERVICES = 5_000;
const CHANGES_A_SECOND = 1_000;
const QUERIES_A_SECOND = 20_000;
const SIZES = [1_000, 100_000] as const;

export async function change({ quick }: BenchOptions): Promise<BenchResult> {
  const delays = await Stage.open((stage) => onTheWire(stage, quick));
  const cost = await Stage.open((stage) => eventCost(stage, quick));
  return {
    name: 'change',
    rows: [...delays, cost],
    notes: ['the client asks for the changed name without a pause; a delay ends with the reply that shows the change'],
  };
}

async function onTheWire(stage: Stage, quick: boolean): Promise<Row[]> {
  const changes = CHANGES_A_SECOND * (quick ? 3 : 10);
  const [p50, p99, worst, looks, running, left]: number[][] = [[], [], [], [], [], []];
  for (let round = 0; round < (quick ? 2 : 7); round++) {
    const task: ChangesTask = { services: SERVICES, changes, rate: CHANGES_A_SECOND };
    const server = stage.child('changes', task);
    const port = Number(await server.line());
    const watch: WatchTask = { port, services: SERVICES, changes, rate: QUERIES_A_SECOND };
    const watcher = stage.child('watch', watch, { core: LOAD_CORE });
    await watcher.line();
    server.tell('go');
    const puts = JSON.parse(await server.line()) as number[];
    const result = JSON.parse(await watcher.line()) as WatchResult;
    await Promise.all([server.end(), watcher.end()]);
    // The first tenth is warm-up.
    const from = changes / 10;
    const delays = puts.map((put, i) => result.seen[i]! - put).slice(from);
    const whileRunning = delays.filter((_, i) => !isPaused(result, puts[from + i]!, result.seen[from + i]!));
    if (delays.some((delay) => !(delay > 0))) throw new WrongAnswer('a change was seen before it was made');
    if (result.received < result.sent * 0.99) progress(`change: ${String(result.sent - result.received)} replies lost`);
    p50!.push(quantile(delays, 0.5));
    p99!.push(quantile(delays, 0.99));
    worst!.push(Math.max(...delays));
    looks!.push(result.asked / changes);
    running!.push(quantile(whileRunning, 0.99));
    left!.push(1 - whileRunning.length / delays.length);
    progress(`change: round ${String(round + 1)}, p99 ${number(p99!.at(-1)!)} ms`);
  }
  const beside = `${number(quantile(looks!, 0.5))} looks a change`;
  const leftOut = number(100 * quantile(left!, 0.5));
  return [
    row('changed slice to changed answer, p99', p99!, most(2), '', ' ms'),
    row('p99 of those during which the client always ran', running!, undefined, `${leftOut} % left out`, ' ms'),
    row('p50 of all', p50!, undefined, beside, ' ms'),
    row('longest of all', worst!, undefined, '', ' ms'),
  ];
}

/** Whether the client did not run for a part of the time between two moments. */
function isPaused({ pauses }: WatchResult, from: number, to: number): boolean {
  return pauses.some(([began, ended]) => began < to && ended > from);
}

async function eventCost(stage: Stage, quick: boolean): Promise<Row> {
  progress('change: cost of an event by the size of the fleet');
  const rounds = quick ? 3 : 9;
  const player = stage.child('events', { sizes: SIZES, rounds, events: quick ? 5_000 : 20_000 } satisfies EventsTask);
  const results: EventResult[] = [];
  while (results.length < rounds * SIZES.length) results.push(JSON.parse(await player.line()) as EventResult);
  const of = (size: number): number[] =>
    results.filter((result) => result.size === size).map(({ microsPerEvent }) => microsPerEvent);
  const [small, large] = [of(SIZES[0]), of(SIZES[1])];
  const beside = `${number(quantile(large, 0.5))} / ${number(quantile(small, 0.5))} µs`;
  return row('CPU an event: 100,000 / 1,000 services', ratios(large, small), most(1.25), beside);
}
