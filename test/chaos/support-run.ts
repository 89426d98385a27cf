// A chaos run: five clusters, the real server, faults and changes by a seed, and every name asked all the time.
// What is held against it: no reply outside the windows of support-truth.ts, no question without a reply while the server
// runs, and every cluster healed within HEAL_MILLIS of the first sound answers. At the end all faults end, and each name
// must be exactly what is true.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomNumbers } from '../../bench/lib/stats.ts';
import { Checker, type CheckerReport } from '../support/checker.ts';
import { freePort } from '../support/peers.ts';
import { faultKinds } from './support-faults.ts';
import { ChaosFleet } from './support-fleet.ts';
import { Healing } from './support-heal.ts';
import { hasHostnames } from './support-objects.ts';
import { Served, slopePerMinute, type Sample } from './support-served.ts';
import { HEAL_MILLIS, judgeAddresses, judgeEndpoint, SNAPSHOT_MILLIS, type Cluster } from './support-truth.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Faults last at most so long, and may need so long to be over. */
  readonly faultMillis: number;
  readonly settleMillis: number;
  /** With faults that take their minute to end. */
  readonly isSlow: boolean;
  /** How often our server is killed, in the first half of the run. */
  readonly restarts: number;
  readonly questionsPerSecond: number;
  /** Another checkout's server. */
  readonly root?: string;
  readonly tell?: (line: string) => void;
}

export interface ChaosReport {
  readonly checker: CheckerReport;
  readonly healing: Pick<Healing, 'healed' | 'reached' | 'unhealed'>;
  readonly faults: ReadonlyMap<string, number>;
  readonly changes: number;
  /** From a start of our server to the first right answer. */
  readonly starts: readonly number[];
  readonly samples: readonly Sample[];
  readonly slopeMebioctetsPerMinute: number;
  readonly connections: number;
  /** What /ready says of clusters that are not in touch at the end. */
  readonly outOfTouch: readonly string[];
  readonly log: readonly string[];
}

const WARM_MILLIS = 20_000;
/** Names that are not there are SERVFAIL until all that is known is published, which is seen five times a second. */
const PUBLISHED_MILLIS = 600;
/** What UDP has under way when the checker pauses. */
const DRAIN_MILLIS = 400;

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = mkdtempSync(path.join(tmpdir(), 'clusterset-chaos-'));
  mkdirSync(`${folder}/state`);
  const port = await freePort();
  const admin = `127.0.0.1:${await freePort()}`;
  const fleet = await ChaosFleet.start({ folder, listen: `127.0.0.1:${port}`, admin }, options.seed);
  const known = fleet.probes.map(([first]) => fleet.nameOf(first!));
  const began = performance.now();
  const served = new Served(['--config', `${folder}/config.yaml`], port, known, options.root);
  try {
    await served.answering(began);
    await served.current.ready();
    const run = new ChaosRun(options, fleet, served, { folder, port, admin });
    return await run.run();
  } finally {
    await served.close();
    fleet.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Place {
  readonly folder: string;
  readonly port: number;
  readonly admin: string;
}

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #fleet: ChaosFleet;
  readonly #served: Served;
  readonly #place: Place;
  readonly #random: () => number;
  readonly #healing: Healing;
  readonly #faults = new Map<string, number>();
  readonly #starts: number[] = [];
  /** By a cluster's number: a fault is on. */
  readonly #faulted: boolean[];
  readonly #deck: string[] = [];
  #changes = 0;
  #until = 0;
  #isUp = true;
  #failure: unknown;

  constructor(options: ChaosOptions, fleet: ChaosFleet, served: Served, place: Place) {
    this.#options = options;
    this.#fleet = fleet;
    this.#served = served;
    this.#place = place;
    this.#random = randomNumbers(options.seed);
    this.#faulted = fleet.clusters.map(() => false);
    this.#healing = new Healing(fleet, place.port, options.settleMillis);
  }

  async run(): Promise<ChaosReport> {
    const { seconds, questionsPerSecond } = this.#options;
    const checker = await Checker.open({ port: this.#place.port, questionsPerSecond, kept: 5_000 });
    this.#expectAll(checker);
    checker.run();
    this.#until = performance.now() + seconds * 1_000;
    const prune = setInterval(() => this.#fleet.prune(), 5_000);
    try {
      await Promise.all([
        ...this.#fleet.clusters.map((cluster) => this.#guard(this.#breakAndHeal(cluster))),
        this.#guard(this.#change()),
        this.#guard(this.#configure()),
        this.#guard(this.#restart(checker)),
      ]);
      await this.#settle(checker);
      await this.#healing.settled();
      if (this.#failure !== undefined) throw this.#failure as Error;
      const samples = this.#served.samples;
      const connections = await Promise.all(
        this.#fleet.clusters.map(({ number }) => this.#fleet.order(number, { do: 'connections' })),
      );
      return {
        checker: await checker.stop(),
        ...{ healing: this.#healing, faults: this.#faults, changes: this.#changes, starts: this.#starts, samples },
        slopeMebioctetsPerMinute: slopePerMinute(samples, WARM_MILLIS),
        connections: connections.reduce((sum, each) => sum + each, 0),
        outOfTouch: await this.#outOfTouch(),
        log: [...this.#served.log, ...this.#served.current.log],
      };
    } finally {
      clearInterval(prune);
      checker.pause();
    }
  }

  /** One loop that fails ends them all. */
  async #guard(loop: Promise<void>): Promise<void> {
    try {
      await loop;
    } catch (error) {
      this.#failure ??= error;
      this.#until = 0;
    }
  }

  get #isRunning(): boolean {
    return performance.now() < this.#until;
  }

  #between(least: number, most: number): number {
    return least + this.#random() * (most - least);
  }

  #oneOf<T>(values: readonly T[]): T {
    return values[Math.floor(this.#random() * values.length)]!;
  }

  #expectAll(checker: Checker): void {
    const fleet = this.#fleet;
    for (const service of fleet.services) {
      const name = fleet.nameOf(service);
      checker.expect(name, 'A', (reply) => judgeAddresses(service, reply, fleet));
      if (service.kind !== 'native') continue;
      for (const contribution of service.contributions.filter(hasHostnames)) {
        const endpoint = fleet.endpointNameOf(service, contribution);
        checker.expect(endpoint, 'A', (reply) => judgeEndpoint(service, contribution, reply, fleet));
      }
    }
  }

  /** Every kind comes once before any comes again. */
  #nextFault(): string {
    if (this.#deck.length === 0) {
      const kinds = Object.keys(faultKinds).filter((kind) => this.#options.isSlow || faultKinds[kind]!.isSlow !== true);
      this.#deck.push(...kinds, 'token', 'restore');
    }
    return this.#deck.splice(Math.floor(this.#random() * this.#deck.length), 1)[0]!;
  }

  async #breakAndHeal(cluster: Cluster): Promise<void> {
    const { faultMillis, settleMillis, tell } = this.#options;
    const fleet = this.#fleet;
    const { number, window, id } = cluster;
    await sleep(this.#between(1_000, 6_000));
    while (this.#isRunning) {
      if (this.#random() < 0.2) await fleet.save(number);
      const fault = this.#nextFault();
      this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1);
      this.#faulted[number] = true;
      this.#healing.disturb(cluster);
      window.freeze();
      const began = performance.now();
      if (fault === 'token') await fleet.rotateToken(number);
      else if (fault === 'restore') await fleet.restore(number);
      else await fleet.order(number, { do: 'begin', fault });
      await sleep(Math.min(this.#between(100, faultMillis), Math.max(0, this.#until - performance.now())));
      this.#faulted[number] = false;
      const isKnown = fault !== 'token' && fault !== 'restore';
      if (fault === 'token') fleet.writeToken(number);
      const healed = this.#healing.heal(cluster, isKnown ? fault : { ending: 'open' });
      const isInTime = await Promise.race([healed, sleep(settleMillis, 'late' as const)]);
      const lasted = `${Math.round(performance.now() - began)} ms`;
      tell?.(`${id}: ${fault}, ${lasted}${isInTime === 'late' ? ', and has not come back' : ''}`);
      await sleep(this.#between(200, 4_000));
    }
  }

  async #change(): Promise<void> {
    const fleet = this.#fleet;
    const services = fleet.services.filter(({ name }) => !name.startsWith('probe-'));
    while (this.#isRunning) {
      await sleep(this.#between(5, 60));
      const service = this.#oneOf(services);
      const contribution = this.#oneOf(service.contributions);
      this.#changes++;
      const dice = this.#random();
      if (service.kind === 'ips' && dice < 0.8) await fleet.changeIps(service);
      else if (service.owner !== undefined && dice > 0.85) await fleet.changeImport(service, !service.imported.last);
      else if (service.kind === 'ips') continue;
      else if (service.kind === 'native' && dice > 0.85) {
        await fleet.changeExport(service, contribution, !contribution.exported.last);
      } else if (dice < 0.1) await fleet.changeSlice(service, contribution, 0, this.#oneOf([-1, 0]));
      else {
        const count = Math.floor(this.#between(1, 3));
        await fleet.changeSlice(service, contribution, count, Math.floor(this.#between(0, 2)));
      }
    }
  }

  /** Drains a cluster and takes it back, and writes files that must be refused. */
  async #configure(): Promise<void> {
    const fleet = this.#fleet;
    const { drained, drainedWindow } = fleet.clusters.at(-1)!;
    while (this.#isRunning) {
      await sleep(this.#between(1_000, 6_000));
      if (!this.#isUp) continue;
      const dice = this.#random();
      if (dice < 0.2) writeFileSync(`${this.#place.folder}/config.yaml`, 'clusters: [');
      else if (dice < 0.4) fleet.writeConfig({ zone: 'other.example' });
      else if (dice < 0.5) this.#served.current.child.kill('SIGHUP');
      else {
        const settle = drained.put(!drained.last);
        fleet.writeConfig();
        settle();
        drainedWindow.freeze();
        drainedWindow.reached();
      }
    }
    if (drained.last) drained.put(false)();
    fleet.writeConfig();
  }

  /** Kills our server, in the first half of the run: what it costs is seen in the second. */
  async #restart(checker: Checker): Promise<void> {
    const { restarts, seconds, tell } = this.#options;
    const fleet = this.#fleet;
    const gap = (seconds * 1_000) / 2 / Math.max(1, restarts);
    for (let i = 0; i < restarts; i++) {
      await sleep(gap * this.#between(0.7, 1));
      if (!this.#isRunning) return;
      const signal = i % 2 === 0 ? 'SIGKILL' : 'SIGTERM';
      this.#isUp = false;
      fleet.writeConfig();
      checker.pause();
      await sleep(DRAIN_MILLIS);
      for (const cluster of fleet.clusters) this.#healing.disturb(cluster);
      await this.#served.kill(signal);
      const back = signal === 'SIGKILL' ? SNAPSHOT_MILLIS : 0;
      for (const { window, drainedWindow } of fleet.clusters) {
        window.restart(back);
        drainedWindow.freeze(back);
      }
      const started = performance.now();
      this.#served.start();
      for (const cluster of fleet.clusters) {
        if (this.#faulted[cluster.number] !== true) void this.#guard(this.#healing.heal(cluster, { ending: 'cut' }));
      }
      const { firstMillis, allMillis } = await this.#served.answering(started);
      this.#starts.push(firstMillis);
      for (const { drainedWindow } of fleet.clusters) drainedWindow.reached();
      await sleep(PUBLISHED_MILLIS);
      tell?.(`${signal}: answered after ${Math.round(firstMillis)} ms, all after ${Math.round(allMillis)} ms`);
      checker.run();
      this.#isUp = true;
    }
  }

  /** No fault any more: waits for every cluster, and then for exactly what is true. */
  async #settle(checker: Checker): Promise<void> {
    const { clusters } = this.#fleet;
    const until = performance.now() + this.#options.settleMillis;
    while (!clusters.every(({ window }) => window.isSound) && performance.now() < until) await sleep(50);
    for (const { window, id } of clusters)
      if (!window.isSound) this.#healing.unhealed.push(`${id} has not come back at the end`);
    await sleep(HEAL_MILLIS + 500);
    checker.pause();
    await sleep(DRAIN_MILLIS);
  }

  async #outOfTouch(): Promise<string[]> {
    const response = await fetch(`http://${this.#place.admin}/ready`);
    const { clusters } = (await response.json()) as { clusters: { id: string; state: string; reason?: string }[] };
    return clusters.filter(({ state }) => state !== 'synced').map((each) => JSON.stringify(each));
  }
}
