// The clusters of a chaos run: their API servers, what is written to them, and what that makes right. Each write is told
// to the truth before it is sent, and what it replaces is told to be gone after it was done.

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { issue, makeCa } from '../support/api/certs.ts';
import type { RawObject } from '../support/api/model.ts';
import { serviceExport } from '../support/api/objects.ts';
import {
  clusterIds,
  policies,
  REQUIRED,
  writeConfig,
  writeKubeconfig,
  writeToken,
  type FleetFiles,
} from './support-config.ts';
import type { MembersTask, Message, Order, OrderMessage } from './support-members.ts';
import { importOf, NAMESPACE, objectsOf, sliceIdOf, sliceOf } from './support-objects.ts';
import { Contribution, joined, History, Window, type Cluster, type Service } from './support-truth.ts';

const SUFFIX = `${NAMESPACE}.svc.clusterset.local`;
const ABSENT: ReadonlySet<string> = new Set(['NXDOMAIN']);
const UNKNOWN: ReadonlySet<string> = new Set(['NXDOMAIN', 'SERVFAIL']);
/** No restart brings back what was replaced this long before a cluster's window. */
const REVIVED_MILLIS = 30_000;

export class ChaosFleet {
  readonly clusters: readonly Cluster[];
  readonly services: readonly Service[];
  /** Three a cluster, by its number: of an import, of a mirrored slice, of a native one. */
  readonly probes: readonly (readonly Service[])[];
  /** Who ever had an address. */
  readonly ownerOf = new Map<string, string>();
  readonly #child: ChildProcess;
  readonly #files: FleetFiles;
  #orders = 0;
  readonly #waiting = new Map<number, { resolve: (value: number) => void; reject: (error: Error) => void }>();
  /** By cluster and track. */
  readonly #reachedNow = new Map<string, () => void>();
  readonly #tracks: { number: number; resolve: () => void }[];
  #addresses = 0;
  /** What of each cluster a saved etcd holds. */
  readonly #saved: (Map<string, string | boolean> | undefined)[];
  readonly #tokens: string[];

  private constructor(child: ChildProcess, files: FleetFiles) {
    this.#child = child;
    this.#files = files;
    this.clusters = clusterIds.map((id, number) => ({
      ...{ id, number, window: new Window(), drained: new History(false), drainedWindow: new Window() },
      withdrawnAfterMillis: policies[id].withdrawnAfterMillis,
    }));
    this.#tracks = clusterIds.map(() => ({ number: 0, resolve: () => undefined }));
    this.#saved = clusterIds.map(() => undefined);
    this.#tokens = clusterIds.map(() => 'first');
    const services: Service[] = [];
    for (let i = 0; i < 20; i++) {
      const three = [0, 1, 2].map((k) => this.clusters[(i + k) % clusterIds.length]!);
      services.push(this.#native(`n${i}`, three));
    }
    for (const cluster of this.clusters) {
      for (let i = 0; i < 10; i++) services.push(this.#owned(`m${i}-${cluster.id}`, 'mirrored', cluster));
      for (let i = 0; i < 10; i++) services.push(this.#owned(`v${i}-${cluster.id}`, 'ips', cluster));
    }
    this.probes = this.clusters.map((cluster) => [
      this.#owned(`probe-v-${cluster.id}`, 'ips', cluster),
      this.#owned(`probe-m-${cluster.id}`, 'mirrored', cluster),
      this.#native(`probe-n-${cluster.id}`, [cluster]),
    ]);
    this.services = [...services, ...this.probes.flat()];
    child.on('message', (message: Message) => this.#hear(message));
  }

  static async start(files: FleetFiles, seed: number): Promise<ChaosFleet> {
    const ca = makeCa('chaos');
    const task: MembersTask = { tls: issue(ca), count: clusterIds.length, token: 'first', seed };
    const { NODE_OPTIONS: _, ...env } = process.env;
    const file = path.join(import.meta.dirname, 'support-members.ts');
    const child = fork(file, [JSON.stringify(task)], { env, execArgv: [] });
    const [{ ports }] = (await once(child, 'message')) as [{ ports: readonly number[] }];
    const fleet = new ChaosFleet(child, files);
    for (const { number, id } of fleet.clusters) {
      await fleet.order(number, { do: 'put', objects: objectsOf(fleet.services, number) });
      writeKubeconfig(files, id, ports[number]!, ca.cert);
      fleet.writeToken(number);
    }
    fleet.writeConfig();
    return fleet;
  }

  /** What an absent name may be answered with now. */
  get absent(): ReadonlySet<string> {
    return this.clusters.some(({ id, window }) => id === REQUIRED && window.isRestarted) ? UNKNOWN : ABSENT;
  }

  nameOf(service: Service): string {
    return `${service.name}.${SUFFIX}`;
  }

  endpointNameOf(service: Service, { cluster }: Contribution): string {
    return `pod-0.${cluster.id}.${service.name}.${SUFFIX}`;
  }

  order(member: number, order: Order): Promise<number> {
    const id = ++this.#orders;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, member, order } satisfies OrderMessage);
    });
  }

  /** Resolves with true at the first sound answers to all four streams of a cluster; false where a later track began. */
  async reached(member: number, order: (track: number) => Order): Promise<boolean> {
    const track = ++this.#tracks[member]!.number;
    this.#tracks[member]!.resolve();
    let isReached = false;
    const heard = new Promise<void>((resolve) => {
      this.#tracks[member]!.resolve = resolve;
      this.#reachedNow.set(`${member} ${track}`, () => {
        isReached = true;
        resolve();
      });
    });
    await this.order(member, order(track));
    await heard;
    this.#reachedNow.delete(`${member} ${track}`);
    return isReached;
  }

  /** Nothing is looked out for any more. */
  untrack(member: number): void {
    this.#tracks[member]!.number++;
    this.#tracks[member]!.resolve();
  }

  /** A new state of a slice: so many endpoints, none of which was there before, or some. */
  async changeSlice(service: Service, contribution: Contribution, count: number, kept: number): Promise<void> {
    const before = contribution.slice.last === '' ? [] : contribution.slice.last.split(',');
    const fresh = Array.from({ length: count }, () => this.#address(contribution.key));
    const state = joined([...before.slice(0, kept), ...fresh]);
    const settle = contribution.slice.put(state);
    const { number } = contribution.cluster;
    if (state === '' && kept < 0) {
      await this.order(number, { do: 'remove', ...sliceIdOf(contribution) });
    } else await this.order(number, { do: 'put', objects: [sliceOf(service, contribution)] });
    settle();
  }

  /** The addresses of a ClusterSetIP import. */
  async changeIps(service: Service): Promise<void> {
    const [contribution] = service.contributions;
    const settle = contribution!.slice.put(this.#address(contribution!.key));
    if (service.imported.last) {
      await this.order(service.owner!.number, { do: 'put', objects: [importOf(service)] });
    }
    settle();
  }

  async changeExport(service: Service, contribution: Contribution, isExported: boolean): Promise<void> {
    const settle = contribution.exported.put(isExported);
    const name = { namespace: NAMESPACE, name: service.name };
    const { number } = contribution.cluster;
    if (isExported) await this.order(number, { do: 'put', objects: [serviceExport(NAMESPACE, service.name)] });
    else await this.order(number, { do: 'remove', resource: 'ServiceExport', ...name });
    settle();
  }

  async changeImport(service: Service, isImported: boolean): Promise<void> {
    const settle = service.imported.put(isImported);
    const { number } = service.owner!;
    const name = { namespace: NAMESPACE, name: service.name };
    if (isImported) await this.order(number, { do: 'put', objects: [importOf(service)] });
    else await this.order(number, { do: 'remove', resource: 'ServiceImport', ...name });
    settle();
  }

  /** What its etcd holds now can be restored. */
  async save(member: number): Promise<void> {
    this.#saved[member] = new Map(this.#historiesOf(member).map(([key, history]) => [key, history.last]));
    await this.order(member, { do: 'save' });
  }

  /** Its etcd is restored. */
  async restore(member: number): Promise<void> {
    if (this.#saved[member] === undefined) await this.save(member);
    const saved = this.#saved[member]!;
    const settles = this.#historiesOf(member).map(([key, history]) => {
      const value = saved.get(key)!;
      if (typeof value === 'string') for (const each of value.split(',')) this.ownerOf.set(each, key);
      return (history as History<unknown>).put(value);
    });
    await this.order(member, { do: 'restore' });
    for (const settle of settles) settle();
  }

  /** The API server takes another token from now on; the client's file has it after `writeToken`. */
  async rotateToken(member: number): Promise<void> {
    this.#tokens[member] = `token-${++this.#addresses}`;
    await this.order(member, { do: 'accept', tokens: [this.#tokens[member]] });
  }

  writeToken(member: number): void {
    writeToken(this.#files, clusterIds[member]!, this.#tokens[member]!);
  }

  writeConfig(more: RawObject = {}): void {
    writeConfig(this.#files, this.clusters, more);
  }

  /** Forgets states that nobody can answer any more. */
  prune(): void {
    for (const { window, number } of this.clusters) {
      const before = window.since - REVIVED_MILLIS;
      for (const [key, history] of this.#historiesOf(number)) {
        const left = history.prune(before);
        if (left.length === 0 || typeof left[0] !== 'string') continue;
        const kept = new Set((history as History<string>).since(-Infinity).flatMap((state) => state.split(',')));
        const saved = this.#saved[number]?.get(key);
        for (const address of (left as string[]).flatMap((state) => state.split(','))) {
          if (!kept.has(address) && !String(saved).includes(address)) this.ownerOf.delete(address);
        }
      }
    }
  }

  close(): void {
    this.#child.disconnect();
  }

  #hear(message: Message): void {
    if ('reached' in message) this.#reachedNow.get(`${message.member} ${message.reached}`)?.();
    else if ('id' in message) {
      const { resolve, reject } = this.#waiting.get(message.id)!;
      this.#waiting.delete(message.id);
      if (message.error === undefined) resolve(message.value);
      else reject(new Error(message.error));
    }
  }

  #native(name: string, clusters: readonly Cluster[]): Service {
    const contributions = clusters.flatMap((cluster) => {
      const exported = new History(true);
      return ['x', 'y'].map((slice) => this.#contribution(cluster, `${name}-${slice}`, true, exported));
    });
    return { name, kind: 'native', owner: undefined, imported: new History(true), contributions };
  }

  #owned(name: string, kind: 'mirrored' | 'ips', owner: Cluster): Service {
    return {
      name,
      kind,
      owner,
      imported: new History(true),
      contributions: [this.#contribution(owner, `${name}-x`, false)],
    };
  }

  #contribution(cluster: Cluster, slice: string, isNative: boolean, exported?: History<boolean>): Contribution {
    const key = `${cluster.id}/${slice}`;
    return new Contribution(cluster, key, isNative, this.#address(key), exported);
  }

  #address(key: string): string {
    const n = ++this.#addresses;
    const address = `10.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
    this.ownerOf.set(address, key);
    return address;
  }

  #historiesOf(member: number): (readonly [string, History<string> | History<boolean>])[] {
    return this.services.flatMap(({ name, owner, imported, contributions }) => [
      ...(owner?.number === member ? [[`import ${name}`, imported] as const] : []),
      ...contributions
        .filter(({ cluster }) => cluster.number === member)
        .flatMap(({ key, slice, exported, isNative }) => [
          [key, slice] as const,
          ...(isNative ? [[`export ${key}`, exported] as const] : []),
        ]),
    ]);
  }
}
