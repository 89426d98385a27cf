// Bench `fleet`: clusters read from their API servers over TLS by the real `serve`: one of 1,000,000 endpoints from its
// start on, and again from the snapshot, against client-node's Informer; a real kube-apiserver; 200 clusters at once.
// The API servers are processes of their own. Nothing is pinned: a server shares its machine with whoever it talks to.

import { mkdir, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { withoutKube } from '../test/support/peers.ts';
import type { InformerResult, InformerTask } from './child/informer.ts';
import type { KubeReady, KubeTask } from './child/kube.ts';
import { memberId, startApis } from './lib/apis.ts';
import type { Apis } from './lib/apis.ts';
import { compile } from './lib/compiled.ts';
import type { MemberSize } from './lib/member.ts';
import { WrongAnswer, most, number, progress, row } from './lib/report.ts';
import type { Bar, BenchOptions, BenchResult, Row } from './lib/report.ts';
import { Served, memoryOf, written } from './lib/served.ts';
import { Stage, cpuNanos } from './lib/stage.ts';
import { quantile, ratios } from './lib/stats.ts';

const MILLION: MemberSize = { services: 10_000, endpoints: 100 };
/** With --quick, whose figures are held against no bar of the million. */
const QUICK: MemberSize = { services: 2_000, endpoints: 100 };
const KUBE: MemberSize = { services: 2_000, endpoints: 100 };
const QUICK_KUBE: MemberSize = { services: 500, endpoints: 100 };
const MEMBERS = 200;
const MEMBER: MemberSize = { services: 20, endpoints: 3 };
const LISTS_AT_ONCE = 8;
const CONNECTIONS_A_CLUSTER = 5;

export async function fleet({ quick }: BenchOptions): Promise<BenchResult> {
  const rows: Row[] = [];
  const notes = [
    'times run from the spawn of the process; a snapshot is read while no API server can be reached',
    'MB are 10^6 octets; settled is what is resident after a rest of 10 s (3 s with --quick)',
    'a stall is how long the event loop of the main thread stood still; queries are answered by other threads',
  ];
  await Stage.open(async (outer) => {
    const compiled = await compile(outer);
    for (const part of [oneMember, manyMembers, kube])
      rows.push(...(await Stage.open((stage) => part({ stage, compiled, quick, notes }))));
  });
  return { name: 'fleet', rows, notes };
}

interface Part {
  readonly stage: Stage;
  readonly compiled: string;
  readonly quick: boolean;
  readonly notes: string[];
}

/** By what was measured, one sample a round. */
class Samples {
  readonly #samples = new Map<string, number[]>();

  add(what: string, value: number): void {
    this.#samples.set(what, [...this.of(what), value]);
  }

  of(what: string): number[] {
    return this.#samples.get(what) ?? [];
  }

  median(what: string): string {
    return number(quantile(this.of(what), 0.5));
  }
}

async function oneMember({ stage, compiled, quick }: Part): Promise<Row[]> {
  const size = quick ? QUICK : MILLION;
  const apis = await startApis(stage, [size]);
  const samples = new Samples();
  const state = stage.file('state');
  await mkdir(state);
  const config = stage.file('fleet.json');
  const clusters = [{ id: memberId(0), kubeconfig: apis.kubeconfig }];
  await writeFile(config, JSON.stringify({ apiVersion: 'clusterset-dns/v1', clusters }));
  const flags = ['--config', config, '--state-dir', state];
  const settleMillis = quick ? 3_000 : 10_000;
  const run: MillionRun = { stage, compiled, apis, size, state, flags, samples, settleMillis };
  for (let round = 0; round < (quick ? 1 : 5); round++) {
    // Alternately the one and the other first.
    for (const side of round % 2 === 0 ? [ours, informer] : [informer, ours]) await side(run);
    progress(`fleet: round ${String(round + 1)}, first answer after ${samples.median('api start')} s`);
  }
  const of = samples.of.bind(samples);
  const bar = (value: number): Bar | undefined => (quick ? undefined : most(value));
  const count = `${String(size.services * size.endpoints)} endpoints`;
  const against = (text: string, what: string, unit: string): Row => {
    const beside = `${samples.median(`api ${what}`)} / ${samples.median(`informer ${what}`)} ${unit}`;
    return row(text, ratios(of(`api ${what}`), of(`informer ${what}`)), undefined, beside);
  };
  const memory = (text: string, what: string): Row[] => [
    row(`memory settled, ${text}`, of(`${what} settled`), bar(400), '', ' MB'),
    row('its peak', of(`${what} peak`), bar(600), '', ' MB'),
  ];
  const stall = (text: string, what: string): Row =>
    row(`longest stall, ${text}`, of(`${what} stall`), most(100), '', ' ms');
  const [cpu, snapshotCpu] = [samples.median('api cpu'), samples.median('snapshot cpu')];
  const octets = samples.median('octets');
  return [
    row(`first answer, ${count}, local API`, of('api first'), bar(4), '', ' s'),
    row('every name answers', of('api start'), undefined, `${cpu} s of processors`, ' s'),
    row('ready', of('api ready'), undefined, '', ' s'),
    row('first answer from the snapshot', of('snapshot first'), bar(1.5), '', ' s'),
    row('every name answers', of('snapshot start'), undefined, `${snapshotCpu} s, of ${octets} MB`, ' s'),
    ...memory('after the start from the API', 'api'),
    ...memory('after a relist', 'relist'),
    ...memory('after the start from the snapshot', 'snapshot'),
    stall('to the first list’s last answer', 'api'),
    stall('until the snapshot is written', 'save'),
    stall('relist', 'relist'),
    stall('start from the snapshot', 'snapshot'),
    against('start: every name / informer filled', 'start', 's'),
    against('peak memory / the informer’s', 'peak', 'MB'),
    against('longest stall / the informer’s', 'stall', 'ms'),
  ];
}

interface MillionRun {
  readonly stage: Stage;
  readonly compiled: string;
  readonly apis: Apis;
  readonly size: MemberSize;
  readonly state: string;
  readonly flags: readonly string[];
  readonly samples: Samples;
  readonly settleMillis: number;
}

/** From the API, a relist, and from the snapshot. */
async function ours({ stage, compiled, apis, size, state, flags, samples, settleMillis }: MillionRun): Promise<void> {
  const last = lastOf(size);
  const some = [0, 1, size.services >> 1, size.services - 2, last];
  const settled = async (served: Served, what: string): Promise<void> => {
    samples.add(`${what} peak`, served.memory().peak);
    await sleep(settleMillis);
    samples.add(`${what} settled`, served.memory().rss);
  };
  progress('fleet: start from the API');
  const fresh = await Served.start(stage, { compiled, flags, watchStalls: true });
  await fresh.listening();
  await fresh.longestStall();
  samples.add('api first', (await fresh.answered(0, size.endpoints)) / 1_000);
  samples.add('api start', (await fresh.answered(last, size.endpoints)) / 1_000);
  samples.add('api cpu', cpuNanos(fresh.player.pid) / 1e9);
  samples.add('api ready', (await fresh.ready()) / 1_000);
  samples.add('api stall', await fresh.longestStall());
  await fresh.check(some, size.endpoints);
  samples.add('octets', (await written(state)) / 1e6);
  samples.add('save stall', await fresh.longestStall());
  await settled(fresh, 'api');
  progress('fleet: relist');
  fresh.forgetPeak();
  await fresh.longestStall();
  await apis.expire(0, 'cut');
  await fresh.followed(false);
  await fresh.followed(true);
  samples.add('relist stall', await fresh.longestStall());
  await fresh.check(some, size.endpoints);
  await settled(fresh, 'relist');
  await fresh.player.end();
  progress('fleet: start from the snapshot');
  await apis.refuse();
  const again = await Served.start(stage, { compiled, flags, watchStalls: true });
  await again.listening();
  await again.longestStall();
  samples.add('snapshot first', (await again.answered(0, size.endpoints)) / 1_000);
  samples.add('snapshot start', (await again.answered(last, size.endpoints)) / 1_000);
  samples.add('snapshot cpu', cpuNanos(again.player.pid) / 1e9);
  // What is not there is not known to be so before.
  await again.ready();
  await again.check(some, size.endpoints);
  samples.add('snapshot stall', await again.longestStall());
  await settled(again, 'snapshot');
  await again.player.end();
  await apis.listen();
}

async function informer({ stage, compiled, apis, size, samples }: MillionRun): Promise<void> {
  progress("fleet: client-node's Informer");
  const began = performance.now();
  const player = stage.child('informer', { kubeconfig: apis.kubeconfig } satisfies InformerTask, { compiled });
  const result = JSON.parse(await player.line()) as InformerResult;
  samples.add('informer start', (performance.now() - began) / 1_000);
  samples.add('informer peak', memoryOf(player.pid).peak);
  samples.add('informer stall', result.longestStallMillis);
  await player.end();
  if (result.endpoints !== size.services * size.endpoints) {
    throw new WrongAnswer(`the informer has ${String(result.endpoints)} endpoints`);
  }
}

/** The service whose objects are the last of a list, which goes by namespace and name. */
function lastOf({ services }: MemberSize): number {
  // Of a hundred namespaces team-99 is the last; in it, web-9999 of 10,000 services, web-999 of 2,000, web-499 of 500.
  return services >= 10_000 ? 9_999 : services >= 1_000 ? 999 : services - 1;
}

async function kube({ stage, compiled, quick, notes }: Part): Promise<Row[]> {
  const missing = withoutKube();
  if (missing !== false) {
    notes.push(`not measured with a real API server: ${missing}`);
    return [];
  }
  const size = quick ? QUICK_KUBE : KUBE;
  progress('fleet: a real kube-apiserver is filled');
  const kubeconfig = stage.file('kube.yaml');
  const player = stage.child('kube', { size, kubeconfig } satisfies KubeTask);
  const { loadedMillis } = JSON.parse(await player.line()) as KubeReady;
  progress(`fleet: filled in ${number(loadedMillis / 1_000)} s`);
  const samples = new Samples();
  for (let round = 0; round < (quick ? 1 : 5); round++) {
    const flags = ['--kubeconfig', kubeconfig];
    const served = await Served.start(stage, { compiled, flags });
    samples.add('start', (await served.answered(lastOf(size), size.endpoints)) / 1_000);
    await served.ready();
    await served.check([0, 1, lastOf(size)], size.endpoints);
    samples.add('peak', served.memory().peak);
    await served.player.end();
  }
  const what = `${String(size.services * size.endpoints)} endpoints, real kube-apiserver and etcd`;
  return [
    row(`first answer, ${what}`, samples.of('start'), undefined, 'its watch cache is warm', ' s'),
    row('peak memory of the same', samples.of('peak'), undefined, '', ' MB'),
  ];
}

async function manyMembers({ stage, compiled, quick }: Part): Promise<Row[]> {
  const sizes = Array.from({ length: MEMBERS }, (_, i) => ({ ...MEMBER, first: i * MEMBER.services }));
  const samples = new Samples();
  const idleMillis = quick ? 5_000 : 20_000;
  // A watch-list has no end that the server sees, so the lists are counted where the servers have none.
  for (const watchList of ['served', 'refused'] as const) {
    progress(`fleet: ${String(MEMBERS)} clusters, watch-list ${watchList}`);
    const apis = await startApis(stage, sizes, watchList);
    for (let round = 0; round < (quick ? 1 : 3); round++) {
      const served = await Served.start(stage, {
        compiled,
        flags: ['--kubeconfig', apis.kubeconfig, '--all-contexts'],
      });
      samples.add(`${watchList} start`, (await served.ready()) / 1_000);
      samples.add('connections', (await apis.count()).connections / MEMBERS);
      samples.add('lists', (await apis.count()).peakLists);
      const clusters = await served.clusters();
      const synced = clusters.filter(({ state }) => state === 'synced').length;
      if (synced !== MEMBERS) throw new WrongAnswer(`${String(synced)} of ${String(MEMBERS)} clusters synced`);
      await served.check(
        sizes.map(({ first }) => first).filter((_, i) => i % 10 === 0),
        MEMBER.endpoints,
      );
      if (watchList === 'served') {
        samples.add('peak', served.memory().peak);
        await sleep(2_000);
        const before = cpuNanos(served.player.pid);
        await sleep(idleMillis);
        samples.add('idle', (cpuNanos(served.player.pid) - before) / idleMillis / 1e4);
      }
      await served.player.end();
    }
    await apis.player.end();
  }
  const services = `${String(MEMBER.services)} services each`;
  return [
    row(`${String(MEMBERS)} clusters: ready, all synced`, samples.of('served start'), most(5), services, ' s'),
    row('the same with pages', samples.of('refused start'), most(5), '', ' s'),
    row('lists at once', samples.of('lists').slice(-samples.of('refused start').length), most(LISTS_AT_ONCE)),
    row('connections a cluster', samples.of('connections'), most(CONNECTIONS_A_CLUSTER)),
    row('processor at rest', samples.of('idle'), most(2), `over ${String(idleMillis / 1_000)} s`, ' %'),
    row('peak memory', samples.of('peak'), undefined, '', ' MB'),
  ];
}
