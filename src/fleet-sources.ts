// Who reads the clusters of a running server: snapshots, a lab, the members of the fleet; and the configuration, again
// when it changes. Not here: sockets and signals (server.ts), what a cluster's state means (k8s/fleet.ts).

import process from 'node:process';
import { isDeepStrictEqual } from 'node:util';
import { restartNeeded } from './config.ts';
import type { Config } from './config.ts';
import { settingsOf } from './config-clusters.ts';
import type { ClustersConfig } from './config-clusters.ts';
import { resolveClusters } from './clusters.ts';
import type { ClusterEntry } from './k8s/cluster-settings.ts';
import type { Credentials } from './k8s/credentials/credentials.ts';
import { followFiles } from './k8s/file-follow.ts';
import type { FollowedFiles } from './k8s/file-follow.ts';
import { Fleet, sourceText } from './k8s/fleet.ts';
import type { FleetTimes } from './k8s/fleet.ts';
import { Lab, LabError } from './k8s/manifests/lab.ts';
import { findingText } from './k8s/manifests/manifests.ts';
import type { Finding } from './k8s/manifests/manifests.ts';
import { ManifestsMember } from './k8s/manifests/manifests-member.ts';
import type { FleetMember } from './k8s/fleet-member.ts';
import type { FileStamps } from './k8s/credentials/file-stamps.ts';
import type { ListGate } from './k8s/api/list-gate.ts';
import type { Member } from './k8s/member.ts';
import { policyOf } from './k8s/policy.ts';
import type { Publisher } from './k8s/publisher.ts';
import { SnapshotFolder } from './k8s/snapshot.ts';
import type { ClusterSnapshot } from './k8s/snapshot.ts';
import type { ClusterPolicy, FleetStore } from './k8s/store.ts';
import { limits } from './limits.ts';
import type { Log } from './log.ts';
import { UsageError } from './usage.ts';
import type { Zone } from './zones/zone.ts';

export interface FleetSourcesOptions {
  readonly config: Config;
  /** Reads the configuration again; throws UsageError. */
  readonly reread: () => Promise<Config>;
  readonly store: FleetStore;
  readonly publisher: Publisher;
  readonly zone: Zone;
  readonly log: Log;
}

export class FleetSources {
  readonly fleet: Fleet;
  readonly #options: FleetSourcesOptions;
  /** The ids of the clusters that were resolved, by source: none is renamed while we run. */
  readonly #ids = new Map<string, string>();
  readonly #members: MemberOpener;
  readonly #lab: { isOpen: boolean } | undefined;
  #clusters: ClustersConfig;
  #entries: readonly ClusterEntry[] = [];
  /** Until they are in the store. */
  readonly #loaded = new Map<string, ClusterSnapshot>();
  #openedLab: Lab | undefined;
  #followed: FollowedFiles | undefined;
  readonly #opened = Promise.withResolvers<undefined>();
  /** The last of the reloads, which begin when the fleet is open: a SIGHUP may come before. */
  #reloading: Promise<void> = this.#opened.promise;
  readonly #onHangup = (): void => this.#reload('SIGHUP');

  private constructor(options: FleetSourcesOptions, snapshots: SnapshotFolder | undefined) {
    const { config, store, publisher, zone, log } = options;
    this.#options = options;
    this.#clusters = config.clusters;
    this.#members = new MemberOpener(store, log);
    this.#lab = config.lab === undefined ? undefined : { isOpen: false };
    this.fleet = new Fleet({
      store,
      publisher,
      zone,
      snapshots,
      log,
      lab: this.#lab,
      openMember: (entry) => this.#members.open(entry),
      times: timesOf(config),
    });
  }

  /**
   * Finds out which clusters there are, and what the snapshots hold of them: that takes time which the sockets' start may
   * share. Throws UsageError.
   */
  static async prepare(options: FleetSourcesOptions): Promise<FleetSources> {
    const { config, log } = options;
    const told = new Map<string, string>();
    const snapshots =
      config.stateDir === undefined
        ? undefined
        : await SnapshotFolder.open(config.stateDir, ({ file, message }) => {
            if (told.get(file) !== message) log.warn({ file }, `snapshot ${message}`);
            told.set(file, message);
          });
    const sources = new FleetSources(options, snapshots);
    process.on('SIGHUP', sources.#onHangup);
    for (const snapshot of (await snapshots?.load()) ?? []) {
      sources.#loaded.set(snapshot.cluster, snapshot);
      sources.#ids.set(snapshot.source, snapshot.cluster);
    }
    sources.#entries = await sources.#resolve(config);
    return sources;
  }

  /**
   * Puts what the snapshots hold into the store, and begins to read every cluster. `onFailed` is told of a lab that cannot
   * be read.
   */
  async open(onFailed: (error: UsageError) => void): Promise<void> {
    const { config } = this.#options;
    this.fleet.open(this.#entries, this.#loaded);
    this.#loaded.clear();
    this.#opened.resolve(undefined);
    if (config.lab !== undefined) this.#openLab(config.lab, onFailed);
    if (config.configFile !== undefined) {
      this.#followed = await followFiles([config.configFile], () => this.#reload('the file changed'));
      // What changed between the first reading and now is no change to the follower.
      this.#reload('start');
    }
  }

  /** Stops reading; what changed is in the snapshots. */
  async close(): Promise<void> {
    process.off('SIGHUP', this.#onHangup);
    await this.#followed?.close();
    await this.#reloading;
    await this.#openedLab?.close();
    await this.fleet.close();
    await this.#members.close();
  }

  async #resolve(config: Config): Promise<ClusterEntry[]> {
    const { clusters } = config;
    const needsApi =
      clusters.kubeconfig !== undefined ||
      clusters.inCluster !== undefined ||
      clusters.entries.some(({ source }) => source.kind !== 'manifests');
    if (needsApi) await this.#members.load();
    const entries = await resolveClusters(clusters, this.#members.credentials, (source) =>
      this.#ids.get(sourceText({ source })),
    );
    for (const entry of entries) this.#ids.set(sourceText(entry), entry.id);
    return entries;
  }

  #openLab(dir: string, onFailed: (error: UsageError) => void): void {
    const { store, publisher, log } = this.#options;
    const report = (findings: readonly Finding[]): void => logFindings(findings, log);
    const policy = (id: string): ClusterPolicy | undefined =>
      this.fleet.has(id) ? undefined : policyOf(id, settingsOf(this.#clusters, id));
    Lab.open(dir, store, report, policy).then(
      async (lab) => {
        this.#openedLab = lab;
        await publisher.drained();
        this.#lab!.isOpen = true;
        this.fleet.look();
      },
      (error: unknown) => {
        if (!(error instanceof LabError)) throw error;
        onFailed(new UsageError(`--lab ${error.message}`));
      },
    );
  }

  /** One at a time; a bad one is refused and the old one stays. */
  #reload(why: string): void {
    this.#reloading = this.#reloading.then(() => this.#readAgain(why));
  }

  async #readAgain(why: string): Promise<void> {
    const { config: before, reread, store, log } = this.#options;
    if (before.configFile === undefined) {
      log.info({}, `${why}: there is no configuration file to read again`);
      return;
    }
    const file = before.configFile;
    try {
      const config = await reread();
      if (isDeepStrictEqual(config.clusters, this.#clusters) && why === 'start') return;
      const fixed = restartNeeded(before, config);
      if (fixed.length > 0) {
        log.error(
          { file, keys: fixed.join(' ') },
          'configuration refused: these keys need a restart; the old one stays',
        );
        return;
      }
      await this.fleet.apply(await this.#resolve(config), timesOf(config));
      this.#clusters = config.clusters;
      for (const id of this.#openedLab?.ids ?? []) store.addCluster(policyOf(id, settingsOf(config.clusters, id)));
      log.info({ file, why }, 'configuration read again');
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      log.error({ file, error: error.message }, 'configuration refused, the old one stays');
    }
  }
}

function timesOf({ startupTimeoutMillis, unknownForMillis, staleAfterMillis }: Config): FleetTimes {
  return { startupTimeoutMillis, unknownForMillis, staleAfterMillis };
}

/** Makes members; what reads API servers is loaded with the first that needs it. */
class MemberOpener {
  readonly #store: FleetStore;
  readonly #log: Log;
  #api: ApiModules | undefined;

  constructor(store: FleetStore, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** Undefined until the first cluster needs credentials. */
  get credentials(): Credentials | undefined {
    return this.#api?.credentials;
  }

  async load(): Promise<void> {
    this.#api ??= await loadApi();
  }

  open(entry: ClusterEntry): FleetMember {
    const { id, source } = entry;
    const log = this.#log;
    if (source.kind === 'manifests') {
      return new ManifestsMember(id, source.dir, this.#store, (findings) => logFindings(findings, log));
    }
    const { Member, ...shared } = this.#api!;
    const member = new Member({
      ...shared,
      id,
      source,
      store: this.#store,
      limits: limits.reflector,
      random: Math.random,
      onNote: (fields, message) => log.warn({ cluster: id, ...fields }, message),
      onBroken: (error) => {
        // Not of a server's making: an assertion of ours. An orchestrator restarts the whole.
        log.error({ cluster: id, error: error instanceof Error ? error.stack : String(error) }, 'broken, exiting');
        process.exit(1);
      },
    });
    member.start();
    return member;
  }

  async close(): Promise<void> {
    await this.#api?.credentials.close();
  }
}

interface ApiModules {
  readonly Member: typeof Member;
  readonly credentials: Credentials;
  readonly stamps: FileStamps;
  readonly lists: ListGate;
}

async function loadApi(): Promise<ApiModules> {
  const [{ Member }, { Credentials }, { FileStamps }, { ListGate }] = await Promise.all([
    import('./k8s/member.ts'),
    import('./k8s/credentials/credentials.ts'),
    import('./k8s/credentials/file-stamps.ts'),
    import('./k8s/api/list-gate.ts'),
  ]);
  const { listsAtOnce, listTurnMillis } = limits.reflector;
  return {
    Member,
    credentials: new Credentials(),
    stamps: new FileStamps(),
    lists: new ListGate(listsAtOnce, listTurnMillis),
  };
}

function logFindings(findings: readonly Finding[], log: Log): void {
  for (const finding of findings) log[finding.severity === 'error' ? 'error' : 'warn']({}, findingText(finding));
}
