// Bench `image`: the zone image from 1,000 to 1,000,000 names: build, replacement, look-up, chains, memory; the cost of
// a whole query on the wire at both ends; and a million random replacements under readers, after which memory is as
// before. Every part runs in a process of its own.

import { writeFile } from 'node:fs/promises';
import type { BuildResult, BuildTask } from './child/build.ts';
import type { PlaneTask } from './child/plane.ts';
import type { ReplaceResult, ReplaceTask } from './child/replace.ts';
import type { SizeResult, SizesTask } from './child/sizes.ts';
import { askAll, comparable } from './lib/ask.ts';
import { compile } from './lib/compiled.ts';
import { dnsperf } from './lib/dnsperf.ts';
import { dnsperfText } from './lib/fleet.ts';
import { addressOf, questionOf } from './lib/names.ts';
import type { Server } from './lib/peers.ts';
import { WrongAnswer, most, number, progress, row } from './lib/report.ts';
import type { BenchOptions, BenchResult, Row } from './lib/report.ts';
import { Stage } from './lib/stage.ts';
import { quantile, randomNumbers, ratios } from './lib/stats.ts';

const MB = 1_000_000;
const SIZES = [1_000, 10_000, 100_000, 1_000_000] as const;
const [SMALLEST, LARGEST] = [SIZES[0], SIZES[3]];
const SERVICES = 10_000;
const ENDPOINTS = 100;
const WIRE_QUESTIONS = 100_000;

export async function image({ quick }: BenchOptions): Promise<BenchResult> {
  const rows: Row[] = [];
  for (const part of [build, sizes, wire, replacements])
    rows.push(...(await Stage.open((stage) => part(stage, quick))));
  return {
    name: 'image',
    rows,
    notes: [
      'MB are 10^6 octets; the process has its data-plane threads and holds no store',
      'look-ups ask random names of all; build and replacement are of services with one name',
    ],
  };
}

async function build(stage: Stage, quick: boolean): Promise<Row[]> {
  progress('image: build of 1,000,000 endpoints');
  const compiled = await compile(stage);
  const results: BuildResult[] = [];
  for (let round = 0; round < (quick ? 1 : 5); round++) {
    const task: BuildTask = { services: SERVICES, endpoints: ENDPOINTS };
    const player = stage.child('build', task, { flags: ['--expose-gc'], compiled });
    const result = JSON.parse(await player.line()) as BuildResult;
    await player.end();
    if (result.checked !== 1_000)
      throw new WrongAnswer(`${String(1_000 - result.checked)} of 1,000 names after the build`);
    results.push(result);
  }
  const of = (what: keyof BuildResult, unit: number): number[] => results.map((result) => result[what] / unit);
  const imageMb = number(quantile(of('imageOctets', MB), 0.5));
  const names = `${String(results[0]!.names)} names`;
  return [
    row('build of 1,000,000 endpoints, all Zone.apply', of('applyMillis', 1_000), most(1), names, ' s'),
    row(
      'its longest slice',
      of('longestSliceMillis', 1),
      undefined,
      'a slice ends with the call that passes 5 ms',
      ' ms',
    ),
    row('its longest call of Zone.apply', of('longestApplyMillis', 1), undefined, '100 endpoints', ' ms'),
    row('memory of the whole process', of('rssOctets', MB), most(250), `${imageMb} MB of it the image`, ' MB'),
  ];
}

async function sizes(stage: Stage, quick: boolean): Promise<Row[]> {
  progress('image: 1,000 to 1,000,000 names in one process');
  const rounds = quick ? 3 : 9;
  const player = stage.child('sizes', { sizes: SIZES, rounds, calls: quick ? 50_000 : 200_000 } satisfies SizesTask);
  const results: SizeResult[] = [];
  while (results.length < rounds * SIZES.length) results.push(JSON.parse(await player.line()) as SizeResult);
  const wrong = results.reduce((sum, result) => sum + result.wrong, 0);
  if (wrong > 0) throw new WrongAnswer(`${String(wrong)} replies of look-ups in the process`);
  const of = (size: number, what: keyof SizeResult): number[] =>
    results.filter((result) => result.size === size).map((result) => result[what]);
  const rows: Row[] = [];
  for (const [what, text, bar] of [
    ['meanProbes', 'mean probes', 1.15],
    ['respondNanos', 'look-up and answer, in the process', undefined],
    ['replaceNanos', 'replacement of a name', undefined],
    ['buildNanos', 'build, a name', undefined],
  ] as const) {
    const unit = what === 'meanProbes' ? '' : ' ns';
    const beside = SIZES.map((size) => number(quantile(of(size, what), 0.5))).join(' / ') + unit;
    const samples = ratios(of(LARGEST, what), of(SMALLEST, what));
    rows.push(row(`${text}: 1,000,000 / 1,000 names`, samples, bar === undefined ? undefined : most(bar), beside));
  }
  return rows;
}

async function wire(stage: Stage, quick: boolean): Promise<Row[]> {
  progress('image: whole queries on the wire');
  const random = randomNumbers(1034);
  const sides: { readonly server: Server; readonly file: string; readonly micros: number[] }[] = [];
  for (const size of [SMALLEST, LARGEST]) {
    const player = stage.child('plane', { names: size, busy: false } satisfies PlaneTask);
    const server = { name: String(size), port: Number(await player.line()), player };
    const numbers = Array.from({ length: WIRE_QUESTIONS }, () => Math.floor(random() * size));
    const checked = numbers.slice(0, 5_000);
    const replies = await askAll(server.port, checked.map(questionOf), 'udp');
    replies.forEach((reply, n) => {
      const { must } = comparable(reply);
      if (!must.includes(`"${addressOf(10, checked[n]!)}"`))
        throw new WrongAnswer(`name ${String(checked[n])}: ${must}`);
    });
    const file = stage.file(`${server.name}.txt`);
    await writeFile(file, dnsperfText(numbers.map(questionOf)));
    sides.push({ server, file, micros: [] });
  }
  // Round -1 is the warm-up.
  for (let round = -1; round < (quick ? 3 : 11); round++) {
    for (const { server, file, micros } of round % 2 === 0 ? sides : sides.toReversed()) {
      const done = await dnsperf(server, { file, seconds: quick ? 1 : 2, rate: 0, over: 'udp' });
      if (round >= 0) micros.push(done.microsPerQuery);
    }
  }
  const [small, large] = [sides[0]!.micros, sides[1]!.micros];
  const beside = `${number(quantile(large, 0.5))} / ${number(quantile(small, 0.5))} µs`;
  return [row('whole query on the wire: 1,000,000 / 1,000 names', ratios(large, small), most(1.15), beside)];
}

async function replacements(stage: Stage, quick: boolean): Promise<Row[]> {
  progress('image: 1,000,000 replacements under readers');
  const task: ReplaceTask = { names: 100_000, replacements: quick ? 200_000 : 1_000_000, readers: 2 };
  const player = stage.child('replace', task, { flags: ['--expose-gc'] });
  const results: ReplaceResult[] = [];
  while (results.length < 10) results.push(JSON.parse(await player.line()) as ReplaceResult);
  const last = results[9]!;
  if (last.wrong > 0 || last.read === 0) throw new WrongAnswer(`${String(last.wrong)} of ${String(last.read)} reads`);
  const half = results.length / 2;
  const flat = (text: string, what: 'rssOctets' | 'imageOctets' | 'heldOctets'): Row => {
    // Each tenth of the second half against its like in the first: what waits for readers comes and goes.
    const samples = results.slice(half).map((result, i) => result[what] / results[i]![what]);
    const beside = `${number(last[what] / MB)} / ${number(results[0]![what] / MB)} MB`;
    return row(`${text}: second half of ${String(task.replacements)} / first`, samples, most(1.05), beside);
  };
  return [
    flat('memory of the process', 'rssOctets'),
    flat('octets of the image', 'imageOctets'),
    flat('octets in use and waiting', 'heldOctets'),
    row('reads meanwhile, all right', [last.read / MB], undefined, '2 reader threads', ' M'),
  ];
}
