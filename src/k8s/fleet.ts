// The fleet: its clusters as they are configured, what is true of each, and what follows from that for names and readiness.
// Reachability of an API server and health of its workloads are two facts: a cluster that is lost keeps its names as its
// policy says. Level-based: a look a few times a second makes zone and store equal to what is true then.
// Not here: reading a cluster (member.ts, manifests), merging (zones/), sockets.

import type { Zone } from '../zones/zone.ts';
import type { ClusterEntry } from './cluster-settings.ts';
import { lossOf } from './loss.ts';
import type { Loss, LossTimes } from './loss.ts';
import type { FleetMember, MemberDetails, MemberState, MemberStatus } from './fleet-member.ts';
import { policyOf } from './policy.ts';
import type { Publisher } from './publisher.ts';
import type { ClusterSnapshot, SnapshotFolder } from './snapshot.ts';
import type { FleetStore } from './store.ts';

export interface FleetTimes extends LossTimes {
  /** Ready after this, if only one cluster has synced. */
  readonly startupTimeoutMillis: number;
  /** How long a cluster that never synced makes missing names unknown. */
  readonly unknownForMillis: number;
}

export interface FleetOptions {
  readonly store: FleetStore;
  readonly publisher: Publisher;
  readonly zone: Zone;
  readonly snapshots: SnapshotFolder | undefined;
  readonly times: FleetTimes;
  /** Begins to read a cluster; the store has it already. */
  readonly openMember: (entry: ClusterEntry) => FleetMember;
  /** A lab beside the clusters that are configured: it adds its own to the store, and is known once it was read. */
  readonly lab: { readonly isOpen: boolean } | undefined;
  readonly log: FleetLog;
  /** The monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

export interface FleetLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** A cluster as the admin port shows it. */
export interface ClusterReadiness extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly state: string;
}

interface Cluster {
  entry: ClusterEntry;
  member: FleetMember;
  readonly addedMillis: number;
  /** When that was true which stands in until its first sync, by the monotonic clock: a snapshot, or another source. */
  snapshotMillis: number | undefined;
  /** What was logged of it last, and since when it is what it is. */
  said: { state: MemberState | undefined; reason: string | undefined; atMillis: number };
  seen: { state: MemberState; sinceMillis: number };
  saved: { revision: number; atMillis: number };
}

const LOOK_MILLIS = 200;
/** A state that lasts for less is not worth a line; another reason for the same state not more often than this. */
const SETTLED_MILLIS = 1_000;
const REASON_MILLIS = 30_000;
/** Between two snapshots of a cluster: of a small one, of a large one, and of one that did not change (its age is in it). */
const SAVE_MILLIS = 5_000;
const SAVE_LARGE_MILLIS = 30_000;
const SAVE_UNCHANGED_MILLIS = 600_000;
const LARGE_SERVICES = 2_000;

export class Fleet {
  readonly #options: FleetOptions;
  readonly #clusters = new Map<string, Cluster>();
  readonly #now: () => number;
  readonly #startedMillis: number;
  #timer: NodeJS.Timeout | undefined;
  #isReady = false;
  #onReady: () => void = () => undefined;
  /** Resolves when the fleet may be asked: see `look`. */
  readonly ready = new Promise<void>((resolve) => (this.#onReady = resolve));
  #times: FleetTimes;
  #stale = '';
  #saving: Promise<void> | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#times = options.times;
    this.#now = options.now ?? ((): number => performance.now());
    this.#startedMillis = this.#now();
  }

  /** Serves what the snapshots hold, and begins to read every cluster. */
  open(entries: readonly ClusterEntry[], loaded: ReadonlyMap<string, ClusterSnapshot>): void {
    const { snapshots, store, publisher, log } = this.#options;
    for (const entry of entries) {
      const snapshot = loaded.get(entry.id);
      const isOfSource = snapshot?.source === sourceText(entry);
      this.#add(entry, isOfSource ? snapshot : undefined);
      if (snapshot === undefined) continue;
      if (isOfSource) {
        const ageSeconds = Math.round((Date.now() - snapshot.asOfMillis) / 1000);
        log.info({ cluster: entry.id, services: store.keysOf(entry.id).length, ageSeconds }, 'snapshot loaded');
      } else log.warn({ cluster: entry.id, source: snapshot.source }, 'snapshot not used: it is of another source');
    }
    for (const id of loaded.keys()) if (!this.#clusters.has(id)) void snapshots?.forget(id);
    this.#timer = setInterval(() => {
      this.look();
    }, LOOK_MILLIS);
    this.look();
    if (loaded.size === 0) return;
    // Whoever waits for what the snapshots hold need not wait for the next look.
    void publisher.drained().then(() => {
      this.look();
    });
  }

  /** Makes the fleet what the configuration says now: clusters come, change and go. */
  async apply(entries: readonly ClusterEntry[], times: FleetTimes): Promise<void> {
    this.#times = times;
    const { store, snapshots, log, openMember } = this.#options;
    const wanted = new Map(entries.map((entry) => [entry.id, entry]));
    const closing: Promise<unknown>[] = [];
    for (const [id, cluster] of this.#clusters) {
      if (wanted.has(id)) continue;
      log.info({ cluster: id }, 'cluster left the configuration, its names leave');
      this.#clusters.delete(id);
      store.removeCluster(id);
      closing.push(cluster.member.close(), snapshots?.forget(id) ?? Promise.resolve());
    }
    for (const [id, entry] of wanted) {
      const cluster = this.#clusters.get(id);
      if (cluster === undefined) {
        log.info({ cluster: id }, 'cluster joined the configuration');
        this.#add(entry, undefined);
        continue;
      }
      const isMoved = sourceText(cluster.entry) !== sourceText(entry);
      cluster.entry = entry;
      if (!isMoved) continue;
      log.info({ cluster: id }, 'cluster is read from elsewhere; what it holds stays until that has synced');
      if (cluster.member.move(entry.source)) continue;
      const { hasSynced, outSinceMillis } = cluster.member.status();
      if (hasSynced) cluster.snapshotMillis = outSinceMillis ?? this.#now();
      // The old one must not write after the new one.
      await cluster.member.close();
      cluster.member = openMember(entry);
    }
    this.look();
    await Promise.all(closing);
  }

  /** Whether a cluster of this id is configured. */
  has(id: string): boolean {
    return this.#clusters.has(id);
  }

  /** What may be asked, and of each cluster why. */
  readiness(): { readonly ready: boolean; readonly clusters: readonly ClusterReadiness[] } {
    const now = this.#now();
    const { lab, store } = this.#options;
    const ofLab = [...store.fleet().clusters.keys()].filter((id) => !this.#clusters.has(id));
    return {
      ready: this.#isReady,
      clusters: ofLab
        .map((id): ClusterReadiness => ({ id, state: lab?.isOpen === true ? 'synced' : 'syncing' }))
        .concat([...this.#clusters].map(([id, cluster]) => this.#readinessOf(id, cluster, now))),
    };
  }

  #readinessOf(id: string, cluster: Cluster, now: number): ClusterReadiness {
    const status = cluster.member.status();
    const { settings } = cluster.entry;
    const { outMillis, isStale, isWithdrawn } = this.#lossOf(cluster, status, now);
    return {
      id,
      state: !status.hasSynced && cluster.snapshotMillis !== undefined ? 'snapshot' : status.state,
      ...(status.reason === undefined ? {} : { reason: status.reason }),
      ...(outMillis === undefined ? {} : { outOfTouchSeconds: Math.round(outMillis / 1000) }),
      ...(isStale ? { stale: true } : {}),
      ...(isWithdrawn ? { withdrawn: true } : {}),
      ...(settings.state === 'drained' ? { drained: true } : {}),
      ...(settings.required ? { required: true } : {}),
      ...shownDetails(cluster.member.details()),
    };
  }

  /** Makes zone and store equal to what is true of the clusters now. */
  look(): void {
    const now = this.#now();
    const { store, publisher, zone, lab } = this.#options;
    const times = this.#times;
    const stale = new Set<string>();
    let known = lab?.isOpen === true ? 1 : 0;
    let read = 0;
    let isUnknown = publisher.refusals > 0 || lab?.isOpen === false;
    let lacksRequired = false;
    for (const [id, cluster] of this.#clusters) {
      const { settings } = cluster.entry;
      const status = cluster.member.status();
      const { isStale, isWithdrawn } = this.#lossOf(cluster, status, now);
      if (isStale) stale.add(id);
      const withdrawn = !isWithdrawn ? undefined : settings.withdrawLast ? 'always' : 'others';
      store.addCluster({ ...policyOf(id, settings), ...(withdrawn === undefined ? {} : { withdrawn }) });
      if (status.hasRead) read++;
      if (status.hasSynced || (cluster.snapshotMillis !== undefined && !settings.required)) known++;
      else if (now - cluster.addedMillis < times.unknownForMillis) isUnknown = true;
      if (settings.required && !status.hasSynced) lacksRequired = true;
      this.#say(id, cluster, status, now);
      this.#save(id, cluster, status, now);
    }
    const expected = this.#clusters.size + (lab === undefined ? 0 : 1);
    if (known === 0 && expected > 0) isUnknown = true;
    // Not known turns to absent only after the last record that was known is published.
    if (isUnknown || publisher.isIdle) zone.setUnknown(isUnknown);
    this.#showStale(stale);
    if (this.#isReady || lacksRequired || !publisher.isIdle) return;
    const isLate = now - this.#startedMillis >= times.startupTimeoutMillis;
    if (known < expected && !(isLate && known + read > 0)) return;
    this.#isReady = true;
    this.#onReady();
  }

  /** Stops reading, and writes what has changed since the last snapshots. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const clusters = [...this.#clusters];
    const states = clusters.map(([, { member }]) => member.status());
    await Promise.all(clusters.map(([, { member }]) => member.close()));
    await this.#saving;
    for (const [i, [id, cluster]] of clusters.entries()) {
      if (states[i]!.hasSynced) await this.#write(id, cluster, states[i]!, this.#now());
    }
  }

  #add(entry: ClusterEntry, snapshot: ClusterSnapshot | undefined): void {
    const { store, openMember } = this.#options;
    const now = this.#now();
    store.addCluster(policyOf(entry.id, entry.settings));
    if (snapshot !== undefined) store.replace(entry.id, snapshot.objects);
    this.#clusters.set(entry.id, {
      entry,
      member: openMember(entry),
      addedMillis: now,
      snapshotMillis: snapshot === undefined ? undefined : now - Math.max(0, Date.now() - snapshot.asOfMillis),
      said: { state: undefined, reason: undefined, atMillis: -Infinity },
      seen: { state: 'connecting', sinceMillis: now },
      saved: { revision: store.revisionOf(entry.id), atMillis: -Infinity },
    });
  }

  #lossOf(cluster: Cluster, status: MemberStatus, now: number): Loss {
    const { hasSynced, outSinceMillis } = status;
    return lossOf(
      { hasSynced, snapshotMillis: cluster.snapshotMillis, outSinceMillis },
      cluster.entry.settings,
      this.#times,
      now,
    );
  }

  #showStale(stale: ReadonlySet<string>): void {
    const text = [...stale].join(' ');
    if (text === this.#stale) return;
    this.#stale = text;
    this.#options.zone.writer.setStale(stale);
  }

  /** One line a change of state that lasts. */
  #say(id: string, cluster: Cluster, { state, reason, hasSynced }: MemberStatus, now: number): void {
    const { seen, said } = cluster;
    if (state !== seen.state) cluster.seen = { state, sinceMillis: now };
    const isNew = state !== said.state;
    if (!isNew && (reason === said.reason || now - said.atMillis < REASON_MILLIS)) return;
    const isGood = state === 'synced';
    if (isNew && !isGood && now - cluster.seen.sinceMillis < SETTLED_MILLIS) return;
    if (!isGood && !hasSynced && reason === undefined) return;
    cluster.said = { state, reason, atMillis: now };
    const fields = { cluster: id, state, ...(reason === undefined ? {} : { reason }) };
    if (isGood)
      this.#options.log.info({ ...fields, services: this.#options.store.keysOf(id).length }, 'cluster in touch');
    else if (state === 'degraded')
      this.#options.log.warn(fields, 'cluster read in part, the rest is held as its policy says');
    else if (hasSynced) this.#options.log.warn(fields, 'cluster out of touch, its names are held as its policy says');
    else this.#options.log.warn(fields, 'cluster not read yet');
  }

  /** Begins a snapshot where one is due and none is being written. */
  #save(id: string, cluster: Cluster, status: MemberStatus, now: number): void {
    const { store, snapshots } = this.#options;
    if (snapshots === undefined || this.#saving !== undefined || !status.hasSynced) return;
    const isChanged = store.revisionOf(id) !== cluster.saved.revision || cluster.saved.atMillis === -Infinity;
    const isLarge = isChanged && store.keysOf(id).length > LARGE_SERVICES;
    const wait = !isChanged ? SAVE_UNCHANGED_MILLIS : isLarge ? SAVE_LARGE_MILLIS : SAVE_MILLIS;
    if (now - cluster.saved.atMillis < wait) return;
    this.#saving = this.#write(id, cluster, status, now).finally(() => (this.#saving = undefined));
  }

  async #write(id: string, cluster: Cluster, { outSinceMillis }: MemberStatus, now: number): Promise<void> {
    const { store, snapshots } = this.#options;
    const asOfMillis = Date.now() - (outSinceMillis === undefined ? 0 : now - outSinceMillis);
    cluster.saved = { revision: store.revisionOf(id), atMillis: now };
    await snapshots?.save(id, sourceText(cluster.entry), asOfMillis, store.objectsOf(id));
  }
}

function shownDetails({ resources, refusedObjects, firstRefusal }: MemberDetails): Readonly<Record<string, unknown>> {
  return refusedObjects === 0 ? { resources } : { resources, refusedObjects, firstRefusal };
}

/** What names a source in a snapshot and in a comparison. */
export function sourceText({ source }: Pick<ClusterEntry, 'source'>): string {
  switch (source.kind) {
    case 'in-cluster':
      return 'in-cluster';
    case 'manifests':
      return `manifests ${source.dir}`;
    case 'kubeconfig':
      return `kubeconfig ${source.file ?? ''} ${source.context ?? ''}`;
  }
}
