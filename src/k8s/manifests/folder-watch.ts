// When to look at a folder again, and at what of it. Level-based: what chokidar sees only says that something below a
// folder may have changed; whoever looks reads the disk. Mounted ConfigMaps swap a hidden symlink, editors rename, and a
// folder may be replaced by another: all of them are seen. Not here: what the files hold.

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { watch } from 'chokidar';
import type { FSWatcher } from 'chokidar';
import { isManifestName } from './manifests.ts';

/** A folder of manifests that cannot be read: one line that says why. */
export class FolderError extends Error {
  override readonly name: string = 'FolderError';
}

/** Quiet time after an event before the disk is read, so that a file is whole; and how long events may put it off. */
const QUIET_MS = 15;
const LONGEST_WAIT_MS = 45;
/** Young files are read again after this time. */
const SETTLE_MS = 60;
/** How often the folder itself is looked at: nothing tells that it was replaced by another. */
const IDENTITY_MS = 250;
/** How often everything is read where the kernel gives no events (ENOSPC: too many watches). */
const POLL_MS = 2_000;

/** What a look found, as far as the next look depends on it. */
export interface Looked {
  /** Path and identity of every folder that was walked. */
  readonly folders: readonly string[];
  /** Names of the folders, right below the watched one, to look at again soon. */
  readonly unsettled: readonly string[];
}

/**
 * Reads the disk. `names`: the folders, right below the watched one, in which something may have changed; null: anywhere.
 * Undefined: there was nothing to see, and what is watched stays.
 */
export type Look = (names: ReadonlySet<string> | null) => Promise<Looked | undefined>;

export class FolderWatch {
  readonly #dir: string;
  readonly #root: string;
  readonly #look: Look;
  /** Names to look at; `null`: everything. */
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

  private constructor(dir: string, look: Look) {
    this.#dir = dir;
    this.#root = path.resolve(dir);
    this.#look = look;
  }

  /** Looks for the first time, and whenever something below `dir` may have changed. What the first look throws, goes on. */
  static async open(dir: string, look: Look): Promise<FolderWatch> {
    const watching = new FolderWatch(dir, look);
    watching.#identity = await identityOf(dir);
    watching.#apply(await look(null));
    watching.#identityTimer = setInterval(() => void watching.#checkIdentity(), IDENTITY_MS).unref();
    return watching;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#settleTimer);
    clearInterval(this.#identityTimer);
    await this.#looking;
    await this.#watcher?.close();
  }

  /** Something below the folder of this name may have changed; null: anything. */
  #schedule(name: string | null): void {
    if (this.#isClosed) return;
    if (name === null) this.#pending = null;
    else this.#pending?.add(name);
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
    this.#looking = this.#look(pending).then((looked) => {
      this.#apply(looked);
    });
    await this.#looking;
    this.#looking = undefined;
  }

  #apply(looked: Looked | undefined): void {
    if (looked === undefined || this.#isClosed) return;
    this.#watch(looked.folders);
    const { unsettled } = looked;
    if (unsettled.length === 0) return;
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => {
      for (const name of unsettled) this.#schedule(name);
    }, SETTLE_MS).unref();
  }

  /** Watches the folders as they are now, with a new watcher where one of them is not the folder it was. */
  #watch(folders: readonly string[]): void {
    const watched = [this.#identity, ...folders.toSorted()].join('\n');
    if (this.#watcher !== undefined && watched === this.#watched) return;
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
    watcher.on('all', (_event, file) => this.#schedule(this.#nameOf(file)));
    // `all` comes up to 100 ms late for a file that is renamed over, and not at all for a hidden symlink (`..data`).
    watcher.on('raw', (_event, _file, details) => {
      const { watchedPath } = details as { readonly watchedPath?: string };
      this.#schedule(watchedPath === undefined ? null : this.#nameOf(watchedPath));
    });
    watcher.on('error', () => (this.#mustPoll = true));
    this.#watcher = watcher;
    void old?.close();
  }

  /** The name, right below the watched folder, of what a path lies in; null for the folder itself. */
  #nameOf(file: string): string | null {
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
