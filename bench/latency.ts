// Bench `latency`: from an EndpointSlice's event, written on its watch by an API server, to the changed answer on the wire,
// at 1,000 events and 20,000 queries a second; and what a relist of 1,000,000 endpoints does to the answers of the `serve`
// that reads it, against the same answers while another `serve` beside it reads such a list.

import { setTimeout as sleep } from 'node:timers/promises';
import type { WatchResult, WatchTask } from './child/watch.ts';
import { memberId, startApis } from './lib/apis.ts';
import type { Apis } from './lib/apis.ts';
import { askAll, comparable } from './lib/ask.ts';
import { compile } from './lib/compiled.ts';
import type { Question } from './lib/fleet.ts';
import { LOAD_CORE, startGenerator } from './lib/loads.ts';
import type { Generator, LoadResult } from './lib/loads.ts';
import { endpointOf } from './lib/member.ts';
import type { MemberSize } from './lib/member.ts';
import { WrongAnswer, most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult, Row } from './lib/report.ts';
import { Served } from './lib/served.ts';
import { Stage, cpuNanos } from './lib/stage.ts';
import { quantile, ratios } from './lib/stats.ts';

const SMALL: MemberSize = { services: 5_000, endpoints: 3 };
const MILLION: MemberSize = { services: 10_000, endpoints: 100 };
/** With --quick. */
const QUICK: MemberSize = { services: 2_000, endpoints: 100 };
const CHANGES_A_SECOND = 1_000;
const QUERIES_A_SECOND = 20_000;
/** Names asked for while a list is read: of one endpoint each, as a headless service of 100 does not fit into UDP. */
const ASKED = 1_600;
/** A list is under way this long after its watch has ended. */
const LIST_MILLIS = 150;

export async function latency({ quick }: BenchOptions): Promise<BenchResult> {
  const rows: Row[] = [];
  for (const part of [onTheWire, underRelist]) rows.push(...(await Stage.open((stage) => part(stage, quick))));
  return {
    name: 'latency',
    rows,
    notes: [
      'an event’s time begins before the API server makes its JSON, and ends with the reply that shows the change',
      'relist: the same API server process works as hard on both sides; only who reads its list differs',
    ],
  };
}

/** Serves one member of `apis`. */
function serveMember(stage: Stage, compiled: string, apis: Apis, member: number): Promise<Served> {
  return Served.start(stage, { compiled, flags: ['--kubeconfig', apis.kubeconfig, '--context', memberId(member)] });
}

async function onTheWire(stage: Stage, quick: boolean): Promise<Row[]> {
  const compiled = await compile(stage);
  const changes = CHANGES_A_SECOND * (quick ? 3 : 10);
  const { services, endpoints } = SMALL;
  const [p50, p99, worst]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < (quick ? 1 : 7); round++) {
    const apis = await startApis(stage, [SMALL]);
    const served = await serveMember(stage, compiled, apis, 0);
    await served.ready();
    await served.check([0, 1, 2_500, services - 1], endpoints);
    const task: WatchTask = { port: served.port, services, changes, rate: QUERIES_A_SECOND };
    const watcher = stage.child('watch', task, { core: LOAD_CORE });
    await watcher.line();
    const written = await apis.change(changes, CHANGES_A_SECOND);
    const { seen, sent, received } = JSON.parse(await watcher.line()) as WatchResult;
    await Promise.all([apis.player.end(), served.player.end(), watcher.end()]);
    // The first tenth is warm-up.
    const delays = written.map((at, i) => seen[i]! - at).slice(changes / 10);
    if (delays.some((delay) => !(delay > 0))) throw new WrongAnswer('a change was seen before it was written');
    if (received < sent * 0.99) progress(`latency: ${String(sent - received)} replies lost`);
    p50.push(quantile(delays, 0.5));
    p99.push(quantile(delays, 0.99));
    worst.push(Math.max(...delays));
    progress(`latency: round ${String(round + 1)}, p99 ${number(p99.at(-1)!)} ms`);
  }
  return [
    row('event written to changed answer, p99', p99, most(5), '1,000 events/s, 20,000 queries/s', ' ms'),
    row('p50', p50, undefined, '', ' ms'),
    row('longest', worst, undefined, '', ' ms'),
  ];
}

/** One server that is asked, or the other one, reads a list meanwhile. */
async function underRelist(stage: Stage, quick: boolean): Promise<Row[]> {
  const compiled = await compile(stage);
  const size = quick ? QUICK : MILLION;
  progress(`latency: two servers of ${String(size.services * size.endpoints)} endpoints`);
  const apis = await startApis(stage, [size, size]);
  const asked = await serveMember(stage, compiled, apis, 0);
  await asked.ready();
  const other = await serveMember(stage, compiled, apis, 1);
  await other.ready();
  for (const served of [asked, other]) await served.check([0, 1, size.services - 1], size.endpoints);
  const endpoints = Array.from({ length: ASKED }, (_, i) => endpointOf(i, i % size.endpoints, size.endpoints));
  const questions = endpoints.map(({ name }): Question => ({ name, type: 'A' }));
  (await askAll(asked.port, questions, 'udp')).forEach((reply, i) => {
    const { must } = comparable(reply);
    if (!must.includes(` A "${endpoints[i]!.address}"`)) throw new WrongAnswer(`${questions[i]!.name}: ${must}`);
  });
  const generator = await startGenerator('steady', stage, asked.port, questions);
  const run: RelistRun = { apis, generator, seconds: await listSeconds(apis, other) };
  const results = { own: [] as LoadResult[], foreign: [] as LoadResult[] };
  const busy: number[] = [];
  const sides = [
    async (): Promise<unknown> => results.own.push(await measure(run, 0, asked, busy)),
    async (): Promise<unknown> => results.foreign.push(await measure(run, 1, other, busy)),
  ];
  // Round -1 is the warm-up.
  for (let round = -1; round < (quick ? 3 : 9); round++) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
    if (round >= 0) progress(`latency: relist round ${String(round + 1)}`);
  }
  const of = (side: keyof typeof results, what: 'p50' | 'p99'): number[] =>
    results[side].slice(1).map((result) => result[what]);
  const medians = (what: 'p50' | 'p99'): string =>
    `${number(quantile(of('own', what), 0.5))} / ${number(quantile(of('foreign', what), 0.5))} µs`;
  const lost = Object.values(results)
    .flat()
    .reduce((sum, { sent, received }) => sum + sent - received, 0);
  return [
    row(
      'p99 at 20,000/s: own relist / foreign relist',
      ratios(of('own', 'p99'), of('foreign', 'p99')),
      most(1.2),
      medians('p99'),
    ),
    row('p50 of the same', ratios(of('own', 'p50'), of('foreign', 'p50')), undefined, medians('p50')),
    row('processor of who relists, of one core', busy, undefined, `${String(lost)} queries lost in all runs`),
  ];
}

interface RelistRun {
  readonly apis: Apis;
  readonly generator: Generator;
  /** Less than a list takes. */
  readonly seconds: number;
}

async function listSeconds(apis: Apis, served: Served): Promise<number> {
  const began = performance.now();
  await relist(apis, 1, served);
  await served.followed(true);
  return Math.max(0.5, (0.8 * (performance.now() - began)) / 1_000);
}

async function relist(apis: Apis, member: number, served: Served): Promise<void> {
  await apis.expire(member, 'end');
  await served.followed(false);
}

async function measure(
  { apis, generator, seconds }: RelistRun,
  member: number,
  served: Served,
  busy: number[],
): Promise<LoadResult> {
  await apis.expire(member, 'end');
  await sleep(LIST_MILLIS);
  const before = cpuNanos(served.player.pid);
  const result = await generator.run({ rate: QUERIES_A_SECOND, seconds, warmSeconds: 0.1 });
  busy.push((cpuNanos(served.player.pid) - before) / 1e9 / (seconds + 0.1));
  if (result.failed > 0) throw new WrongAnswer(`${String(result.failed)} replies with an error`);
  await served.followed(true);
  return result;
}
