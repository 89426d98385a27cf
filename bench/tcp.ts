// Bench `tcp`: CPU time a query over kept connections, saturated, against Knot and NSD. Correct before it is timed.

import { writeFile } from 'node:fs/promises';
import { compareServers } from './lib/ask.ts';
import { dnsperf } from './lib/dnsperf.ts';
import { allQuestions, dnsperfText, questionsOf } from './lib/fleet.ts';
import { startContest } from './lib/peers.ts';
import { most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult } from './lib/report.ts';
import { Stage } from './lib/stage.ts';
import { quantile, ratios } from './lib/stats.ts';

export async function tcp({ quick }: BenchOptions): Promise<BenchResult> {
  return Stage.open(async (stage) => {
    const { ours, knot, nsd } = await startContest(stage);
    const questions = allQuestions();
    await compareServers(ours.port, [knot, nsd], questions, 'tcp');
    progress(`tcp: ${String(questions.length)} answers are those of Knot and NSD`);
    const file = stage.file('mix.txt');
    await writeFile(file, dnsperfText(questionsOf('mix')));
    const servers = [ours, knot, nsd];
    const micros = new Map(servers.map(({ name }) => [name, [] as number[]]));
    const rates = new Map(servers.map(({ name }) => [name, [] as number[]]));
    const rounds = quick ? 3 : 9;
    // Round -1 is the warm-up.
    for (let round = -1; round < rounds; round++) {
      for (let i = 0; i < servers.length; i++) {
        const server = servers[(i + round + 1) % servers.length]!;
        const done = await dnsperf(server, { file, seconds: quick ? 1 : 3, rate: 0, over: 'tcp' });
        if (round < 0) continue;
        micros.get(server.name)!.push(done.microsPerQuery);
        rates.get(server.name)!.push(done.queriesPerSecond);
      }
    }
    const mine = micros.get('ours')!;
    const rows = [knot, nsd].map(({ name }) => {
      const others = micros.get(name)!;
      const beside = `${number(quantile(mine, 0.5))} / ${number(quantile(others, 0.5))} µs`;
      return row(
        `mix saturated: ours / ${name}`,
        ratios(mine, others),
        name === 'Knot' ? most(0.9) : undefined,
        beside,
      );
    });
    const perSecond = [...rates].map(([name, found]) => `${name} ${number(quantile(found, 0.5))}`).join(', ');
    return { name: 'tcp', rows, notes: [`answered a second: ${perSecond}`] };
  });
}
