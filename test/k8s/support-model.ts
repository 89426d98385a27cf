// API servers of a model fleet, and what reads them, without a network: objects with resourceVersions, the history of their
// changes, and for each generation four streams that are listed, watched, dropped and listed again, step by step.

import type { PartName } from '../../src/k8s/part.ts';
import type { ChangeType } from '../../src/k8s/api/reflector.ts';
import type { FleetStore } from '../../src/k8s/store.ts';
import { trimObject } from '../../src/k8s/objects/trim.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import type { RawObject } from '../support/api/model.ts';
import { at, HoldingsRig, PART_NAMES, slowCommit } from './support-holdings.ts';

interface Change {
  readonly before: RawObject | undefined;
  readonly after: RawObject | undefined;
}

interface Event {
  readonly type: ChangeType;
  readonly object: RawObject;
}

const MIRROR = 'multicluster.kubernetes.io/service-name';
const NATIVE = 'kubernetes.io/service-name';

function labelsOf(object: RawObject): Readonly<Record<string, string>> {
  return ((object['metadata'] as RawObject)['labels'] ?? {}) as Record<string, string>;
}

function isOf(part: PartName, object: RawObject | undefined): object is RawObject {
  if (object === undefined) return false;
  const { kind } = object;
  if (part === 'imports') return kind === 'ServiceImport';
  if (part === 'exports') return kind === 'ServiceExport';
  const labels = labelsOf(object);
  const isMirrored = labels[MIRROR] !== undefined;
  return kind === 'EndpointSlice' && (part === 'mirrored' ? isMirrored : !isMirrored && labels[NATIVE] !== undefined);
}

/** What an etcd holds, and how it came to that. */
export class ModelCluster {
  readonly id: string;
  readonly objects = new Map<string, RawObject>();
  readonly history: Change[] = [];
  #version = 1;

  constructor(id: string) {
    this.id = id;
  }

  put(object: RawObject): void {
    const { name } = object['metadata'] as { name: string };
    this.#set(`${String(object['kind'])} ${name}`, object);
  }

  remove(kind: string, name: string): void {
    const key = `${kind} ${name}`;
    if (this.objects.has(key)) this.#set(key, undefined);
  }

  /** What a store should hold of it: native slices only of services that are exported. */
  expected(): FleetObject[] {
    const kept: FleetObject[] = [];
    for (const raw of this.objects.values()) {
      const object = trimObject(raw);
      if (object.kind === 'ignored') continue;
      const isNative = object.kind === 'EndpointSlice' && object.object.form === 'native';
      if (isNative && !this.objects.has(`ServiceExport ${object.object.service}`)) continue;
      kept.push(object);
    }
    return kept;
  }

  #set(key: string, object: RawObject | undefined): void {
    const version = ++this.#version;
    const old = this.objects.get(key);
    const after = object === undefined ? undefined : at(version, object);
    if (after === undefined) this.objects.delete(key);
    else this.objects.set(key, after);
    // What leaves a watch is told as it was, at the version of the change.
    this.history.push({ before: old === undefined ? undefined : at(version, old), after });
  }
}

/** One watch: its lists and its place in the history. */
class Stream {
  readonly part: PartName;
  readonly #cluster: ModelCluster;
  readonly #rig: HoldingsRig;
  phase: 'idle' | 'listing' | 'completing' | 'watching' = 'idle';
  hasListed = false;
  #place = 0;
  #items: RawObject[] = [];
  #listed = 0;
  /** Since the last list. */
  #delivered: Event[] = [];

  constructor(part: PartName, cluster: ModelCluster, rig: HoldingsRig) {
    this.part = part;
    this.#cluster = cluster;
    this.#rig = rig;
  }

  /** 410, or a connection that was lost for too long. */
  begin(): void {
    if (this.phase === 'completing') return;
    this.phase = 'listing';
    this.#items = [...this.#cluster.objects.values()].filter((object) => isOf(this.part, object));
    this.#listed = this.#cluster.history.length;
    this.#rig.begin(this.part);
  }

  read(count: number): void {
    if (this.phase !== 'listing') return;
    // Its end is a step of its own, so that much comes between.
    if (this.#items.length > 0) {
      for (const object of this.#items.splice(0, count)) this.#rig.initial(this.part, object);
      return;
    }
    this.phase = 'completing';
    void this.#rig.complete(this.part).then(() => {
      this.phase = 'watching';
      this.hasListed = true;
      this.#place = this.#listed;
      this.#delivered = [];
    });
  }

  /** A list in one go, of what was listed before. */
  relist(): void {
    if (!this.hasListed) return;
    this.begin();
    this.read(Infinity);
    this.read(Infinity);
  }

  get isUpToDate(): boolean {
    return this.phase === 'watching' && this.#place === this.#cluster.history.length;
  }

  deliver(count: number): void {
    for (let left = count; left > 0 && this.#mayRead && this.#place < this.#cluster.history.length;) {
      const event = this.#eventOf(this.#cluster.history[this.#place++]!);
      if (event === undefined) continue;
      left--;
      this.#delivered.push(event);
      this.#rig.change(this.part, event.type, event.object);
    }
  }

  /** An event once more, though newer ones were seen. */
  repeat(choice: number): void {
    const event = this.#delivered[choice % Math.max(1, this.#delivered.length)];
    if (event !== undefined && this.#mayRead) this.#rig.change(this.part, event.type, event.object);
  }

  get #mayRead(): boolean {
    return this.phase === 'watching' && this.#rig.holdings.sink(this.part).busy === undefined;
  }

  #eventOf({ before, after }: Change): Event | undefined {
    const was = isOf(this.part, before);
    if (isOf(this.part, after)) return { type: was ? 'MODIFIED' : 'ADDED', object: after };
    return was ? { type: 'DELETED', object: before } : undefined;
  }
}

/** Four streams, and the lists of native slices beside them. */
export class ModelGeneration {
  readonly rig: HoldingsRig;
  readonly streams: readonly Stream[];
  readonly #cluster: ModelCluster;
  readonly #wanted = new Set<string>();
  #adoption: { readonly take: () => Promise<void> } | undefined;

  constructor(cluster: ModelCluster, store: FleetStore, onCommitting: () => void) {
    this.#cluster = cluster;
    this.rig = new HoldingsRig({
      cluster: cluster.id,
      store,
      limits: { ...slowCommit, massDeleteLeast: Infinity },
      onCommitting,
      onExport: (service) => this.#wanted.add(service),
    });
    this.streams = PART_NAMES.map((part) => new Stream(part, cluster, this.rig));
  }

  begin(part: number): void {
    const stream = this.streams[part]!;
    const exports = this.streams.find((each) => each.part === 'exports')!;
    if (stream.part !== 'native' || exports.hasListed) stream.begin();
  }

  /** Asks for the slices of the next service that waits for them; with `isAll` of all. */
  adopt(isAll: boolean): void {
    const [first] = this.#wanted;
    if (first === undefined || this.#adoption !== undefined) return;
    const service = isAll ? '' : first;
    if (isAll) this.#wanted.clear();
    else this.#wanted.delete(first);
    const adoption = this.rig.holdings.beginAdoption(service);
    for (const object of this.#cluster.objects.values()) {
      const isAsked = service === '' || `shop/${labelsOf(object)[NATIVE] ?? ''}` === service;
      if (isOf('native', object) && isAsked) adoption.item(object);
    }
    const take = async (): Promise<void> => {
      await adoption.take();
      adoption.end();
      this.#adoption = undefined;
    };
    this.#adoption = { take };
  }

  take(): Promise<void> {
    const adoption = this.#adoption;
    return adoption === undefined ? Promise.resolve() : adoption.take();
  }

  /** Brings it as far as it can come; whether it is there. */
  async advance(): Promise<boolean> {
    for (const [i, stream] of this.streams.entries()) {
      if (stream.phase === 'idle') this.begin(i);
      stream.read(Infinity);
      stream.deliver(Infinity);
    }
    await this.take();
    this.adopt(false);
    await new Promise((resolve) => setImmediate(resolve));
    const isUpToDate = this.streams.every((stream) => stream.isUpToDate);
    return isUpToDate && this.#wanted.size === 0 && this.#adoption === undefined && this.rig.holdings.isCommitted;
  }
}
