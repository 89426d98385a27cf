// A folder of manifests as one member cluster, followed on disk. It has synced once it is open: files are all there is.
// Not here: when to look (folder-watch.ts), reading (manifests.ts), a folder of such folders (lab.ts).

import { readdir } from 'node:fs/promises';
import { FolderError, FolderWatch } from './folder-watch.ts';
import type { Looked } from './folder-watch.ts';
import { fileTrouble, ManifestFolder } from './manifests.ts';
import type { Finding, ManifestRead } from './manifests.ts';
import type { FleetStore } from '../store.ts';

/** Tells each finding once until it changes. */
export class FindingsTeller {
  readonly #report: (findings: readonly Finding[]) => void;
  /** All of them, by their text. */
  #findings = new Map<string, Finding>();

  constructor(report: (findings: readonly Finding[]) => void) {
    this.#report = report;
  }

  /** Everything that is wrong now. */
  get findings(): readonly Finding[] {
    return [...this.#findings.values()];
  }

  tell(findings: readonly Finding[]): void {
    const before = this.#findings;
    this.#findings = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
    const fresh = [...this.#findings].filter(([text]) => !before.has(text)).map(([, finding]) => finding);
    if (fresh.length > 0) this.#report(fresh);
  }
}

/** A cluster of a store that is made equal to the files of a folder, look by look. */
export class ManifestsCluster {
  readonly #id: string;
  readonly #folder: ManifestFolder;
  readonly #store: FleetStore;
  #last: ManifestRead | undefined;

  constructor(id: string, dir: string, store: FleetStore) {
    this.#id = id;
    this.#folder = new ManifestFolder(dir);
    this.#store = store;
  }

  get dir(): string {
    return this.#folder.dir;
  }

  /** What the last look found. */
  get last(): ManifestRead | undefined {
    return this.#last;
  }

  async look(): Promise<ManifestRead> {
    const read = await this.#folder.read();
    this.#last = read;
    if (read.isChanged) this.#store.replace(this.#id, read.objects);
    return read;
  }
}

export class FollowedManifests {
  readonly id: string;
  readonly #cluster: ManifestsCluster;
  readonly #teller: FindingsTeller;
  #watch: FolderWatch | undefined;

  private constructor(id: string, cluster: ManifestsCluster, teller: FindingsTeller) {
    this.id = id;
    this.#cluster = cluster;
    this.#teller = teller;
  }

  /**
   * Follows the folder `dir` as the cluster `id`, which is in `store` already and holds what the files hold, for the
   * first time before this resolves. `report` gets each finding once until it changes. Throws FolderError where there
   * is no such folder; one that goes away later keeps its last good objects.
   */
  static async open(
    id: string,
    dir: string,
    store: FleetStore,
    report: (findings: readonly Finding[]) => void,
  ): Promise<FollowedManifests> {
    try {
      await readdir(dir);
    } catch (error) {
      throw new FolderError(`${dir}: ${fileTrouble(error)}`);
    }
    const followed = new FollowedManifests(id, new ManifestsCluster(id, dir, store), new FindingsTeller(report));
    followed.#watch = await FolderWatch.open(dir, () => followed.#look());
    return followed;
  }

  /** Everything that is wrong now. */
  get findings(): readonly Finding[] {
    return this.#teller.findings;
  }

  /** Stops following; the store keeps what it holds. */
  async close(): Promise<void> {
    await this.#watch?.close();
  }

  async #look(): Promise<Looked | undefined> {
    const { findings, folders, isUnsettled } = await this.#cluster.look();
    this.#teller.tell(findings);
    // Not there, perhaps about to be replaced.
    if (folders.length === 0) return undefined;
    return { folders, unsettled: isUnsettled ? [''] : [] };
  }
}
