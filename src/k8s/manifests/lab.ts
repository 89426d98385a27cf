// A lab fleet: a folder of folders, each the manifests of one member cluster, followed on disk.
// Not here: one such folder (manifests-follow.ts), when to look (folder-watch.ts), parsing (manifests.ts), logging.

import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { isDnsName, shown } from '../objects/fields.ts';
import { FolderError, FolderWatch } from './folder-watch.ts';
import type { Looked } from './folder-watch.ts';
import { FindingsTeller, ManifestsCluster } from './manifests-follow.ts';
import { fileTrouble, isManifestName, ManifestFolder } from './manifests.ts';
import type { Finding } from './manifests.ts';
import { policyOf } from '../policy.ts';
import type { ClusterPolicy, FleetStore } from '../store.ts';
import type { FleetObject } from '../objects/trim.ts';

/** The folder of a lab cannot be served: one line that says why. */
export class LabError extends FolderError {
  override readonly name = 'LabError';
}

/** What a lab holds at one moment. */
export interface LabContents {
  /** Objects by cluster id, in the order of the ids. */
  readonly clusters: ReadonlyMap<string, readonly FleetObject[]>;
  readonly findings: readonly Finding[];
}

/** Reads a lab once. Throws LabError where there is none. */
export async function loadLab(dir: string): Promise<LabContents> {
  const { folders, findings } = await listClusters(dir);
  const clusters = new Map<string, readonly FleetObject[]>();
  for (const [id, folder] of folders) {
    const read = await new ManifestFolder(folder).read();
    clusters.set(id, read.objects);
    findings.push(...read.findings);
  }
  return { clusters, findings };
}

interface Listing {
  /** Folders by cluster id, in the order of the ids. */
  readonly folders: ReadonlyMap<string, string>;
  readonly findings: Finding[];
}

async function listClusters(dir: string): Promise<Listing> {
  const found: [id: string, folder: string][] = [];
  const findings: Finding[] = [];
  const seen = new Map<string, string>();
  for (const name of (await readLab(dir)).sort()) {
    const file = path.join(dir, name);
    const warn = (severity: Finding['severity'], message: string): unknown =>
      findings.push({ severity, file, line: 0, message });
    const isFolder = await stat(file).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    const id = name.toLowerCase();
    const other = seen.get(id);
    if (name.startsWith('.')) continue;
    if (!isFolder) {
      if (isManifestName(name)) warn('warning', 'is left out: manifests belong into the folder of their cluster');
    } else if (!isDnsName(id)) warn('error', `is left out: ${shown(name)} is no cluster id (DNS labels)`);
    else if (other !== undefined) warn('error', `is left out: ${other} is the same cluster id`);
    else {
      seen.set(id, name);
      found.push([id, file]);
    }
  }
  if (found.length === 0) {
    findings.push({
      severity: 'warning',
      file: dir,
      line: 0,
      message: 'has no folder: a lab has one for each cluster',
    });
  }
  return { folders: new Map(found.sort(([a], [b]) => (a < b ? -1 : 1))), findings };
}

async function readLab(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    throw new LabError(`${dir}: ${fileTrouble(error)}`);
  }
}

export class Lab {
  /** As findings name it. */
  readonly #dir: string;
  readonly #store: FleetStore;
  readonly #settingsOf: (id: string) => ClusterPolicy | undefined;
  readonly #teller: FindingsTeller;
  readonly #clusters = new Map<string, ManifestsCluster>();
  #watch: FolderWatch | undefined;

  private constructor(
    dir: string,
    store: FleetStore,
    report: (findings: readonly Finding[]) => void,
    settingsOf: (id: string) => ClusterPolicy | undefined,
  ) {
    this.#dir = dir;
    this.#store = store;
    this.#teller = new FindingsTeller(report);
    this.#settingsOf = settingsOf;
  }

  /**
   * Follows the lab in `dir`: each of its clusters is added to `store`, with what `settingsOf` says of it (undefined:
   * the id is taken), and holds what its files hold, for the first time before this resolves. `report` gets each finding once until it changes.
   * Throws LabError where there is no lab.
   */
  static async open(
    dir: string,
    store: FleetStore,
    report: (findings: readonly Finding[]) => void,
    settingsOf: (id: string) => ClusterPolicy | undefined = policyOf,
  ): Promise<Lab> {
    const lab = new Lab(dir, store, report, settingsOf);
    const listing = await listClusters(dir);
    let isFirst = true;
    lab.#watch = await FolderWatch.open(dir, (names) => {
      if (!isFirst) return lab.#listAndLook(names);
      isFirst = false;
      return lab.#look(listing, names);
    });
    return lab;
  }

  /** Ids of its clusters now, in their order. */
  get ids(): readonly string[] {
    return [...this.#clusters.keys()].sort();
  }

  /** Everything that is wrong now. */
  get findings(): readonly Finding[] {
    return this.#teller.findings;
  }

  /** Stops following; the store keeps what it holds. */
  async close(): Promise<void> {
    await this.#watch?.close();
  }

  async #listAndLook(names: ReadonlySet<string> | null): Promise<Looked | undefined> {
    let listing: Listing;
    try {
      listing = await listClusters(this.#dir);
    } catch (error) {
      // Not there, perhaps about to be replaced: a failure removes nothing.
      if (!(error instanceof LabError)) throw error;
      const message = `${error.message.slice(this.#dir.length + 2)}; its last good objects stay`;
      this.#tell([{ severity: 'error', file: this.#dir, line: 0, message }]);
      return undefined;
    }
    return this.#look(listing, names);
  }

  async #look({ folders, findings }: Listing, names: ReadonlySet<string> | null): Promise<Looked> {
    for (const [id, { dir }] of this.#clusters) {
      if (folders.get(id) === dir) continue;
      this.#clusters.delete(id);
      if (!folders.has(id)) this.#store.removeCluster(id);
    }
    for (const [id, dir] of folders) {
      let cluster = this.#clusters.get(id);
      if (cluster === undefined) {
        const policy = this.#settingsOf(id);
        if (policy === undefined) {
          const message = 'is left out: a cluster of this id is configured already';
          findings.push({ severity: 'error', file: dir, line: 0, message });
          continue;
        }
        this.#clusters.set(id, (cluster = new ManifestsCluster(id, dir, this.#store)));
        this.#store.addCluster(policy);
      } else if (names?.has(path.basename(dir)) === false) continue;
      await cluster.look();
    }
    this.#tell(findings);
    const clusters = [...this.#clusters.values()];
    return {
      folders: clusters.flatMap(({ last }) => last?.folders ?? []),
      unsettled: clusters.filter(({ last }) => last?.isUnsettled).map(({ dir }) => path.basename(dir)),
    };
  }

  /** Findings of the list of clusters, and those of each. */
  #tell(listing: readonly Finding[]): void {
    const clusters = [...this.#clusters].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#teller.tell([...listing, ...clusters.flatMap(([, { last }]) => last?.findings ?? [])]);
  }
}
