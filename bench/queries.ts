// Bench `queries`: CPU time a query of our server against Knot, NSD and the echo floor of the same engine, saturated and
// at 20,000/s; and the highest rate without loss against Knot. Each reply is compared with both peers' before a clock runs.

import { writeFile } from 'node:fs/promises';
import { compareServers } from './lib/ask.ts';
import { dnsperf } from './lib/dnsperf.ts';
import { allQuestions, dnsperfText, questionsOf } from './lib/fleet.ts';
import type { Mix } from './lib/fleet.ts';
import { highestRate } from './lib/highest-rate.ts';
import { startContest, startEcho } from './lib/peers.ts';
import type { Server } from './lib/peers.ts';
import { least, most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult, Row } from './lib/report.ts';
import { Stage, allCores, pin } from './lib/stage.ts';
import { quantile, ratios } from './lib/stats.ts';

const RATE = 20_000;
const KINDS = ['clustersetip', 'nxdomain', 'headless', 'srv'] as const;

/** Microseconds of CPU a query, a round each, by server. */
type Series = Map<string, number[]>;

export async function queries({ quick }: BenchOptions): Promise<BenchResult> {
  return Stage.open(async (stage) => {
    const { ours, knot, nsd } = await startContest(stage);
    const echo = await startEcho(stage);
    const questions = allQuestions();
    await compareServers(ours.port, [knot, nsd], questions, 'udp');
    progress(`queries: ${String(questions.length)} answers are those of Knot and NSD`);
    const files = new Map<Mix, string>();
    for (const mix of [...KINDS, 'mix'] as const) {
      const file = stage.file(`${mix}.txt`);
      await writeFile(file, dnsperfText(questionsOf(mix)));
      files.set(mix, file);
    }
    const seconds = quick ? 1 : 2;
    const servers = [ours, knot, nsd, echo];
    const rounds = { mix: quick ? 3 : 9, kind: quick ? 2 : 5 };
    const lost = new Map<string, number>();
    const measure = async (mix: Mix, rate: number, count: number, sides: readonly Server[]): Promise<Series> => {
      const series: Series = new Map(sides.map(({ name }) => [name, []]));
      for (let round = 0; round < count; round++) await oneRound(mix, rate, series, sides, round);
      return series;
    };
    const oneRound = async (mix: Mix, rate: number, series: Series, sides: readonly Server[], round: number) => {
      for (let i = 0; i < sides.length; i++) {
        // The first of one round is the last of the next, so that no side always runs on a machine just warmed.
        const server = sides[(i + round) % sides.length]!;
        const done = await dnsperf(server, { file: files.get(mix)!, seconds, rate, over: 'udp' });
        series.get(server.name)!.push(done.microsPerQuery);
        lost.set(server.name, (lost.get(server.name) ?? 0) + done.lost);
      }
    };
    await measure('mix', 0, 1, servers); // warm-up
    const rows: Row[] = [];
    progress('queries: mix, saturated');
    const saturated = await measure('mix', 0, rounds.mix, servers);
    rows.push(...peerRows('mix saturated', saturated, 0.9), floorRow('mix saturated', saturated, 1.25));
    progress('queries: mix, 20,000/s');
    const fixed = await measure('mix', RATE, rounds.mix, servers);
    rows.push(...peerRows('mix 20,000/s', fixed, 1.0), floorRow('mix 20,000/s', fixed, undefined));
    for (const [text, rate, bar] of [
      ['saturated', 0, 0.9],
      ['20,000/s', RATE, 1.0],
    ] as const) {
      progress(`queries: each kind, ${text}`);
      const byKind = new Map(KINDS.map((kind) => [kind, new Map(servers.map(({ name }) => [name, [] as number[]]))]));
      for (let round = 0; round < rounds.kind; round++) {
        for (const kind of KINDS) await oneRound(kind, rate, byKind.get(kind)!, servers, round);
      }
      for (const [kind, series] of byKind) rows.push(...peerRows(`${kind} ${text}`, series, bar));
    }
    progress('queries: NXDOMAIN against a hit');
    const [missing, hit]: [Series, Series] = [new Map([['ours', []]]), new Map([['ours', []]])];
    for (let round = 0; round < rounds.mix; round++) {
      const pair = [
        ['nxdomain', missing],
        ['clustersetip', hit],
      ] as const;
      for (const [kind, series] of round % 2 === 0 ? pair : pair.toReversed())
        await oneRound(kind, 0, series, [ours], 0);
    }
    const [cost, hitCost] = [missing.get('ours')!, hit.get('ours')!];
    rows.push(
      row('NXDOMAIN / hit (clustersetip), ours, saturated', ratios(cost, hitCost), most(1.0), sides(cost, hitCost)),
    );
    rows.push(await highest(stage, ours, knot, quick));
    const notes = ['CPU time of the server process, all threads, a query that was answered; µs are medians of one run'];
    const losses = [...lost].filter(([, count]) => count > 0).map(([name, count]) => `${name} ${String(count)}`);
    if (losses.length > 0) notes.push(`queries lost in all rounds: ${losses.join(', ')}`);
    return { name: 'queries', rows, notes };
  });
}

/** Against each peer, and the bar against the one that costs less. */
function peerRows(what: string, series: Series, bar: number): Row[] {
  const ours = series.get('ours')!;
  const better = median(series, 'Knot') <= median(series, 'NSD') ? 'Knot' : 'NSD';
  return ['Knot', 'NSD'].map((peer) =>
    row(
      `${what}: ours / ${peer}`,
      ratios(ours, series.get(peer)!),
      peer === better ? most(bar) : undefined,
      sides(ours, series.get(peer)!),
    ),
  );
}

function floorRow(what: string, series: Series, bar: number | undefined): Row {
  const [ours, echo] = [series.get('ours')!, series.get('echo')!];
  return row(
    `${what}: ours / echo floor`,
    ratios(ours, echo),
    bar === undefined ? undefined : most(bar),
    sides(ours, echo),
  );
}

function median(series: Series, name: string): number {
  return quantile(series.get(name)!, 0.5);
}

function sides(a: readonly number[], b: readonly number[]): string {
  return `${number(quantile(a, 0.5))} / ${number(quantile(b, 0.5))} µs`;
}

/** The highest rates without loss, each server alone on one core, the load generator on another. */
async function highest(stage: Stage, ours: Server, knot: Server, quick: boolean): Promise<Row> {
  const questions = questionsOf('mix').slice(0, 4_000);
  const rates = new Map<string, number[]>([
    ['ours', []],
    ['Knot', []],
  ]);
  for (const { player } of [ours, knot]) await pin(player.pid, '0');
  try {
    for (let round = 0; round < (quick ? 2 : 7); round++) {
      for (const server of round % 2 === 0 ? [ours, knot] : [knot, ours]) {
        const found = await highestRate(stage, server.port, questions, quick);
        rates.get(server.name)!.push(found);
        progress(`queries: highest rate, ${server.name} ${String(Math.round(found))}/s`);
      }
    }
  } finally {
    for (const { player } of [ours, knot]) await pin(player.pid, allCores);
  }
  const [mine, other] = [rates.get('ours')!, rates.get('Knot')!];
  const beside = `${number(quantile(mine, 0.5))} / ${number(quantile(other, 0.5))} a second`;
  return row('highest rate without loss, one core: ours / Knot', ratios(mine, other), least(1.0), beside);
}
