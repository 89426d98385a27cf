// How fast clusters heal: from the first sound answers of an API server to a change of each kind being answered.

import { setTimeout as sleep } from 'node:timers/promises';
import { askUdp } from '../process/support-server.ts';
import type { Ending } from './support-faults.ts';
import type { ChaosFleet } from './support-fleet.ts';
import { HEAL_MILLIS, type Cluster } from './support-truth.ts';

export class Healing {
  /** From the first sound answers to the last change being answered. */
  readonly healed: number[] = [];
  /** From a fault's end to the first sound answers: the client's patience. */
  readonly reached: number[] = [];
  /** What did not heal in time, in words. */
  readonly unhealed: string[] = [];
  readonly #fleet: ChaosFleet;
  readonly #port: number;
  readonly #settleMillis: number;
  /** Rises with each fault and each restart: what was measured before is void. */
  readonly #epochs: number[];
  readonly #measures = new Set<Promise<void>>();

  constructor(fleet: ChaosFleet, port: number, settleMillis: number) {
    this.#fleet = fleet;
    this.#port = port;
    this.#settleMillis = settleMillis;
    this.#epochs = fleet.clusters.map(() => 0);
  }

  /** Something goes wrong with the cluster: from now on it may be answered as it was. */
  disturb({ number }: Cluster): void {
    this.#epochs[number]!++;
    this.#fleet.untrack(number);
  }

  /**
   * Ends a fault, or only looks out: for new requests of a server that was restarted, for watches that are open after a
   * restore or with a new token. Resolves when changes are answered, or when something
   * else goes wrong.
   */
  async heal(cluster: Cluster, fault: string | { readonly ending: Ending }): Promise<void> {
    const { number, window } = cluster;
    const epoch = ++this.#epochs[number]!;
    const began = performance.now();
    const isReached = await this.#fleet.reached(number, (track) =>
      typeof fault === 'string' ? { do: 'end', fault, track } : { do: 'track', track, ending: fault.ending },
    );
    if (!isReached || this.#epochs[number] !== epoch) return;
    window.reached();
    this.reached.push(performance.now() - began);
    const measure = this.#measure(cluster, epoch, typeof fault === 'string' ? fault : 'restart, restore or token');
    this.#measures.add(measure);
    await measure.finally(() => this.#measures.delete(measure));
  }

  /** Waits for what is being measured. */
  async settled(): Promise<void> {
    await Promise.all(this.#measures);
  }

  async #measure(cluster: Cluster, epoch: number, why: string): Promise<void> {
    const fleet = this.#fleet;
    const began = performance.now();
    const probes = fleet.probes[cluster.number]!;
    await Promise.all(
      probes.map((probe) =>
        probe.kind === 'ips' ? fleet.changeIps(probe) : fleet.changeSlice(probe, probe.contributions[0]!, 1, 0),
      ),
    );
    for (const probe of probes) {
      const wanted = probe.contributions[0]!.slice.last;
      // While it is drained its own endpoints are out.
      while (!(probe.kind === 'native' && cluster.drained.last)) {
        if (await this.#isAnswered(fleet.nameOf(probe), wanted)) break;
        if (this.#epochs[cluster.number] !== epoch) return;
        if (performance.now() - began > this.#settleMillis) break;
        await sleep(20);
      }
    }
    if (this.#epochs[cluster.number] !== epoch) return;
    const millis = performance.now() - began;
    this.healed.push(millis);
    if (millis > HEAL_MILLIS) this.unhealed.push(`${cluster.id} took ${Math.round(millis)} ms after: ${why}`);
  }

  async #isAnswered(name: string, address: string): Promise<boolean> {
    try {
      const { answers } = await askUdp('127.0.0.1', this.#port, name, 'A', 400);
      return answers.some((answer) => answer.endsWith(` ${address}`));
    } catch {
      return false;
    }
  }
}
