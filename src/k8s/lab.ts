// A lab fleet: a folder of folders, each the manifests of one member cluster, followed on disk.
// Level-based: whatever happened, the store is made equal to the files. What chokidar sees only says when to look, and
// where; the folders are walked and their files compared. Not here: parsing (manifests.ts), logging, processes.

import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { watch } from 'chokidar';
import type { FSWatcher } from 'chokidar';
import { isDnsName, shown } from './fields.ts';
import { fileTrouble, isManifestName, ManifestFolder } from './manifests.ts';
import type { Finding, ManifestRead } from './manifests.ts';
import { policyOf } from './policy.ts';
import type { FleetStore } from './store.ts';
import type { FleetObject } from './trim.ts';

/** The folder of a lab cannot be served: one line that says why. */
export class LabError extends Error {
  override readonly name = 'LabError';
}

/** What a lab holds at one moment. */
export interface LabContents {
  /** Objects by cluster id, in the order of the ids. */
  readonly clusters: ReadonlyMap<string, readonly FleetObject[]>;
  readonly findings: readonly Finding[];
}

/** Quiet time after an event before the disk is read, so that a file is whole; and how long events may put it off. */
const QUIET_MS = 15;
const LONGEST_WAIT_MS = 45;
/** Young files are read again after this time. */
const SETTLE_MS = 60;
/** How often the lab's folder itself is looked at: nothing tells that it was replaced by another. */
const IDENTITY_MS = 250;
/** How often everything is read where the kernel gives no events (ENOSPC: too many watches). */
const POLL_MS = 2_000;

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

interface FollowedCluster {
  readonly folder: ManifestFolder;
  last: ManifestRead | undefined;
}

export class Lab {
  /** As findings name it, and in full. */
  readonly #dir: string;
  readonly #root: string;
  readonly #store: FleetStore;
  readonly #report: (findings: readonly Finding[]) => void;
  readonly #clusters = new Map<string, FollowedCluster>();
  /** Findings of the last look that are not a file's; then all of them, by their text. */
  #listingFindings: readonly Finding[] = [];
  #findings = new Map<string, Finding>();

  /** Names of folders to look at; `null`: all of them, and the list itself. */
  #pending: Set<string> | null = new Set();
  #pendingSince = 0;
  #timer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #identityTimer: NodeJS.Timeout | undefined;
  #identity = '';
  #watcher: FSWatcher | undefined;
  /** Path and identity of every folder below the watcher: watches follow a folder, not its path. */
  #watched = '';
  #lastPoll = 0;
  #mustPoll = false;
  #isClosed = false;

  private constructor(dir: string, store: FleetStore, report: (findings: readonly Finding[]) => void) {
    this.#dir = dir;
    this.#root = path.resolve(dir);
    this.#store = store;
    this.#report = report;
  }

  /**
   * Follows the lab in `dir`: each of its clusters is added to `store` and holds what its files hold, for the first
   * time before this resolves. `report` gets each finding once until it changes. Throws LabError where there is no lab.
   */
  static async open(dir: string, store: FleetStore, report: (findings: readonly Finding[]) => void): Promise<Lab> {
    const lab = new Lab(dir, store, report);
    lab.#identity = await identityOf(dir);
    await lab.#look(await listClusters(dir), null);
    lab.#identityTimer = setInterval(() => void lab.#checkIdentity(), IDENTITY_MS).unref();
    return lab;
  }

  /** Everything that is wrong now. */
  get findings(): readonly Finding[] {
    return [...this.#findings.values()];
  }

  /** Stops following; the store keeps what it holds. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#settleTimer);
    clearInterval(this.#identityTimer);
    await this.#looking;
    await this.#watcher?.close();
  }

  /** Something below `folder` may have changed; null: anything. */
  #schedule(folder: string | null): void {
    if (this.#isClosed) return;
    if (folder === null) this.#pending = null;
    else this.#pending?.add(folder);
    if (this.#timer === undefined) this.#pendingSince = performance.now();
    else clearTimeout(this.#timer);
    const left = Math.max(0, this.#pendingSince + LONGEST_WAIT_MS - performance.now());
    this.#timer = setTimeout(() => void this.#lookAgain(), Math.min(QUIET_MS, left)).unref();
  }

  /** One look at a time; what comes meanwhile is looked at afterwards. */
  async #lookAgain(): Promise<void> {
    this.#timer = undefined;
    if (this.#isClosed) return;
    if (this.#looking !== undefined) return this.#schedule('');
    const pending = this.#pending;
    this.#pending = new Set();
    this.#looking = this.#listAndLook(pending);
    await this.#looking;
    this.#looking = undefined;
  }

  async #listAndLook(pending: ReadonlySet<string> | null): Promise<void> {
    let listing: Listing;
    try {
      listing = await listClusters(this.#dir);
    } catch (error) {
      // Not there, perhaps about to be replaced: a failure removes nothing.
      if (!(error instanceof LabError)) throw error;
      const message = `${error.message.slice(this.#dir.length + 2)}; its last good objects stay`;
      this.#listingFindings = [{ severity: 'error', file: this.#dir, line: 0, message }];
      this.#tell();
      return;
    }
    await this.#look(listing, pending);
  }

  async #look({ folders, findings }: Listing, pending: ReadonlySet<string> | null): Promise<void> {
    this.#listingFindings = findings;
    for (const [id, { folder }] of this.#clusters) {
      if (folders.get(id) === folder.dir) continue;
      this.#clusters.delete(id);
      if (!folders.has(id)) this.#store.removeCluster(id);
    }
    for (const [id, dir] of folders) {
      let cluster = this.#clusters.get(id);
      if (cluster === undefined) {
        this.#clusters.set(id, (cluster = { folder: new ManifestFolder(dir), last: undefined }));
        this.#store.addCluster(policyOf(id));
      } else if (pending?.has(path.basename(dir)) === false) continue;
      const read = await cluster.folder.read();
      cluster.last = read;
      if (read.isChanged) this.#store.replace(id, read.objects);
    }
    this.#tell();
    this.#watch();
    const unsettled = [...this.#clusters.values()].filter(({ last }) => last?.isUnsettled);
    if (unsettled.length === 0 || this.#isClosed) return;
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(
      () => unsettled.forEach(({ folder }) => this.#schedule(path.basename(folder.dir))),
      SETTLE_MS,
    ).unref();
  }

  #tell(): void {
    const before = this.#findings;
    this.#findings = new Map();
    const clusters = [...this.#clusters].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const finding of [...this.#listingFindings, ...clusters.flatMap(([, { last }]) => last?.findings ?? [])]) {
      this.#findings.set(JSON.stringify(finding), finding);
    }
    const fresh = [...this.#findings].filter(([text]) => !before.has(text)).map(([, finding]) => finding);
    if (fresh.length > 0) this.#report(fresh);
  }

  /** Watches the folders as they are now, with a new watcher where one of them is not the folder it was. */
  #watch(): void {
    const folders = [...this.#clusters.values()].flatMap(({ last }) => last?.folders ?? []);
    const watched = [this.#identity, ...folders.sort()].join('\n');
    if (this.#isClosed || (this.#watcher !== undefined && watched === this.#watched)) return;
    this.#watched = watched;
    const old = this.#watcher;
    const watcher = watch(this.#root, {
      ignoreInitial: true,
      ignored: (file, stats) =>
        file !== this.#root &&
        (path.basename(file).startsWith('.') || (stats?.isFile() === true && !isManifestName(path.basename(file)))),
    });
    // What changed before the watch began is not an event.
    watcher.on('ready', () => this.#schedule(null));
    watcher.on('all', (_event, file) => this.#schedule(this.#folderOf(file)));
    // `all` comes up to 100 ms late for a file that is renamed over, and not at all for a hidden symlink (`..data`).
    watcher.on('raw', (_event, _file, details) => {
      const { watchedPath } = details as { readonly watchedPath?: string };
      this.#schedule(watchedPath === undefined ? null : this.#folderOf(watchedPath));
    });
    watcher.on('error', () => (this.#mustPoll = true));
    this.#watcher = watcher;
    void old?.close();
  }

  /** The name of the cluster's folder that a path lies in; null for the lab itself. */
  #folderOf(file: string): string | null {
    const relative = path.relative(this.#root, file);
    const [first = ''] = relative.split(path.sep, 1);
    return first === '' || first === '..' || path.isAbsolute(relative) ? null : first;
  }

  async #checkIdentity(): Promise<void> {
    const identity = await identityOf(this.#dir);
    const now = performance.now();
    if (identity !== this.#identity || (this.#mustPoll && now - this.#lastPoll > POLL_MS)) {
      this.#identity = identity;
      this.#lastPoll = now;
      this.#schedule(null);
    }
  }
}

async function identityOf(dir: string): Promise<string> {
  return stat(dir, { bigint: true }).then(
    ({ dev, ino }) => `${dev}:${ino}`,
    () => '',
  );
}
