// A folder with a file a cluster: what it last held, so that a restart while API servers are down answers at once.
// A file is replaced whole or not at all (temporary file, fsync, rename, fsync of the folder). What a disk does wrong is
// reported and costs no more than a warm start; nothing but `open` throws. Not here: what stands in a file
// (snapshot-format.ts), when one is written and whether it is used (fleet.ts). Of one process at a time.

import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { UsageError } from '../usage.ts';
import { readSnapshot, SnapshotWriter } from './snapshot-format.ts';
import type { ClusterSnapshot } from './snapshot-format.ts';
import type { FleetObject } from './objects/trim.ts';

export type { ClusterSnapshot } from './snapshot-format.ts';

/** What is wrong with a file of the folder, in one line. */
export interface SnapshotProblem {
  readonly file: string;
  readonly message: string;
}

const SUFFIX = '.snapshot';
/** `NAME.snapshot.XXXXXXXX.tmp`; no cluster's file ends so. */
const TEMPORARY = /\.snapshot\.[0-9a-f]{8}\.tmp$/;
const REFUSED = '.refused';
/** File names have at most 255 octets, and ids at most 253. */
const MAX_STEM_CHARACTERS = 200;
/** A larger file is refused: a million endpoints are 30 MB. */
const MAX_FILE_OCTETS = 512 * 1_024 * 1_024;
/** The main thread writes for so long, or so much, then lets its other work go on. */
const SLICE_MILLIS = 5;
const SLICE_CHARACTERS = 256 * 1_024;

export class SnapshotFolder {
  readonly #folder: string;
  readonly #report: (problem: SnapshotProblem) => void;
  /** The last work on each cluster's file that has not ended: one at a time, in the order it was asked for. */
  readonly #turns = new Map<string, Promise<unknown>>();

  private constructor(folder: string, report: (problem: SnapshotProblem) => void) {
    this.#folder = folder;
    this.#report = report;
  }

  /** Makes the folder where it is missing, and removes what a process that was killed left behind. Throws UsageError. */
  static async open(folder: string, report: (problem: SnapshotProblem) => void): Promise<SnapshotFolder> {
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
      for (const name of await readdir(folder)) {
        if (TEMPORARY.test(name)) await rm(path.join(folder, name), { force: true });
      }
    } catch (error) {
      throw new UsageError(`--state-dir ${folder}: ${words(error)}`, { cause: error });
    }
    return new SnapshotFolder(folder, report);
  }

  /** Every snapshot there is. A file that is refused is reported, and moved aside. */
  async load(): Promise<ClusterSnapshot[]> {
    const snapshots: ClusterSnapshot[] = [];
    let names: string[] = [];
    try {
      names = (await readdir(this.#folder)).filter((name) => name.endsWith(SUFFIX)).sort();
    } catch (error) {
      this.#report({ file: this.#folder, message: words(error) });
    }
    for (const name of names) {
      const snapshot = await this.#loadFile(path.join(this.#folder, name));
      if (snapshot !== undefined) snapshots.push(snapshot);
    }
    return snapshots;
  }

  /**
   * Replaces a cluster's snapshot. The objects are taken before this returns, so that they are of one moment. False: it
   * could not be written, which was reported, and the one before stays.
   */
  save(cluster: string, source: string, asOfMillis: number, objects: Iterable<FleetObject>): Promise<boolean> {
    const snapshot: ClusterSnapshot = { cluster, source, asOfMillis, objects: [...objects] };
    return this.#inTurn(cluster, () => this.#replace(snapshot));
  }

  /** Removes the snapshot of a cluster that is no more part of the fleet. */
  forget(cluster: string): Promise<void> {
    const file = this.#fileOf(cluster);
    return this.#inTurn(cluster, async () => {
      try {
        await rm(file, { force: true });
      } catch (error) {
        this.#report({ file, message: `is not removed: ${words(error)}` });
      }
    });
  }

  async #loadFile(file: string): Promise<ClusterSnapshot | undefined> {
    let refused: string;
    try {
      const octets = await readWhole(file);
      const read = Buffer.isBuffer(octets) ? readSnapshot(octets) : octets;
      if (!('refused' in read)) {
        if (this.#fileOf(read.cluster) === file) return read;
        refused = `is the snapshot of cluster ${JSON.stringify(read.cluster)}`;
      } else ({ refused } = read);
    } catch (error) {
      this.#report({ file, message: `is not read: ${words(error)}` });
      return undefined;
    }
    try {
      await rename(file, file + REFUSED);
      this.#report({ file, message: `${refused}: moved to ${path.basename(file) + REFUSED}` });
    } catch (error) {
      this.#report({ file, message: `${refused}; it is not moved aside: ${words(error)}` });
    }
    return undefined;
  }

  async #replace(snapshot: ClusterSnapshot): Promise<boolean> {
    const file = this.#fileOf(snapshot.cluster);
    const temporary = `${file}.${randomBytes(4).toString('hex')}.tmp`;
    try {
      const handle = await open(temporary, 'wx', 0o600);
      try {
        await write(handle, snapshot);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, file);
      await syncFolder(this.#folder);
      return true;
    } catch (error) {
      this.#report({ file, message: `is not written: ${words(error)}` });
      await rm(temporary, { force: true }).catch(() => undefined);
      return false;
    }
  }

  #fileOf(cluster: string): string {
    const isLong = cluster.length > MAX_STEM_CHARACTERS;
    // No id has a tilde, so a stem that was cut is no other's.
    const digest = isLong ? createHash('sha256').update(cluster).digest('hex').slice(0, 32) : '';
    const stem = isLong ? `${cluster.slice(0, MAX_STEM_CHARACTERS - 33)}~${digest}` : cluster;
    return path.join(this.#folder, stem + SUFFIX);
  }

  /** `work` never rejects. */
  #inTurn<T>(cluster: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(cluster) ?? Promise.resolve()).then(work);
    this.#turns.set(cluster, turn);
    void turn.finally(() => {
      if (this.#turns.get(cluster) === turn) this.#turns.delete(cluster);
    });
    return turn;
  }
}

async function write(handle: FileHandle, snapshot: ClusterSnapshot): Promise<void> {
  const writer = new SnapshotWriter();
  const { objects } = snapshot;
  let text = writer.first(snapshot, objects.length);
  let end = performance.now() + SLICE_MILLIS;
  for (const object of objects) {
    text += writer.object(object);
    if (text.length < SLICE_CHARACTERS && performance.now() < end) continue;
    await handle.appendFile(writer.seal(text));
    text = '';
    end = performance.now() + SLICE_MILLIS;
  }
  await handle.appendFile(writer.seal(text));
  await handle.appendFile(writer.last());
}

/** All octets of a regular file, or why it is none that could be a snapshot. */
async function readWhole(file: string): Promise<Buffer | { readonly refused: string }> {
  // Without a wait, where somebody put a pipe.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { size } = await handle.stat();
    if (size > MAX_FILE_OCTETS) return { refused: `has more than ${MAX_FILE_OCTETS} octets` };
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

/** Makes a rename last. Some network file systems cannot sync a folder, and need not. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (codeOf(error) !== 'EINVAL' && codeOf(error) !== 'ENOTSUP') throw error;
  } finally {
    await handle.close();
  }
}

const WORDS_OF_CODE: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'no permission'],
  ['EPERM', 'no permission'],
  ['EDQUOT', 'the quota of the disk is used up'],
  ['EEXIST', 'is not a folder'],
  ['EFBIG', 'the file would be too large'],
  ['EIO', 'the disk fails'],
  ['ENOENT', 'it is gone'],
  ['ENOSPC', 'the disk is full'],
  ['ENOTDIR', 'is not a folder'],
  ['EROFS', 'the file system is read-only'],
]);

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

function words(error: unknown): string {
  const code = codeOf(error);
  const known = code === undefined ? undefined : WORDS_OF_CODE.get(code);
  if (known !== undefined) return `${known} (${code})`;
  return error instanceof Error ? error.message : String(error);
}
