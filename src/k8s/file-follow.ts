// Files that are read whole and must be read again when they change: the configuration, kubeconfigs.
// A look at each, once a second, through symlinks: it sees a mounted ConfigMap's swap, an editor's rename and a write in
// place alike, on any file system, and costs one stat. Not here: what a file holds, folders of files (folder-watch.ts).

import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { limits } from '../limits.ts';

/** How often files are looked at, and how long one must have looked the same before it is read. */
const PERIOD_MS = 1_000;
const QUIET_MS = 100;

interface FollowedFile {
  /** What says on disk that the file is the same; '' where it is not there. */
  stamp: string;
  digest: string;
}

export interface FollowedFiles {
  /** Resolves once no call of `onChange` can come. */
  close(): Promise<void>;
}

/**
 * Calls `onChange` with the files whose octets are others than before, or that are gone; it must not throw.
 * What they hold when this resolves is not a change: a file that is read after that is never missed.
 */
export async function followFiles(
  files: readonly string[],
  onChange: (files: readonly string[]) => void,
  periodMillis = PERIOD_MS,
): Promise<FollowedFiles> {
  const followed = new Map<string, FollowedFile>();
  for (const file of new Set(files)) {
    const stamp = await stampOf(file);
    followed.set(file, { stamp, digest: await digestOf(file, stamp) });
  }
  const stop = new AbortController();
  const follower = follow(followed, onChange, periodMillis, stop.signal);
  return {
    close: () => {
      stop.abort();
      return follower;
    },
  };
}

async function follow(
  followed: ReadonlyMap<string, FollowedFile>,
  onChange: (files: readonly string[]) => void,
  periodMillis: number,
  stop: AbortSignal,
): Promise<void> {
  while (await passes(periodMillis, stop)) {
    const changed: string[] = [];
    for (const [file, last] of followed) {
      const stamp = await stampOf(file);
      if (stamp === last.stamp) continue;
      // Half a file, or one that is about to be renamed into its place, is looked at in the next round.
      if (!(await passes(Math.min(QUIET_MS, periodMillis), stop)) || (await stampOf(file)) !== stamp) continue;
      const digest = await digestOf(file, stamp);
      if ((await stampOf(file)) !== stamp) continue;
      if (digest !== last.digest) changed.push(file);
      followed.get(file)!.stamp = stamp;
      followed.get(file)!.digest = digest;
    }
    if (changed.length > 0 && !stop.aborted) onChange(changed);
  }
}

/** Whether this time has passed, rather than somebody has stopped the wait. Keeps no process alive. */
function passes(millis: number, stop: AbortSignal): Promise<boolean> {
  if (stop.aborted) return Promise.resolve(false);
  return new Promise((resolve) => {
    const end = (hasPassed: boolean): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', stopped);
      resolve(hasPassed);
    };
    const stopped = (): void => {
      end(false);
    };
    const timer = setTimeout(() => {
      end(true);
    }, millis).unref();
    stop.addEventListener('abort', stopped);
  });
}

async function stampOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs, mode } = await stat(file, { bigint: true });
    return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}:${mode}`;
  } catch {
    return '';
  }
}

/** Of the octets; of a file that nobody will read, of how it looks. Secrets are not kept. */
async function digestOf(file: string, stamp: string): Promise<string> {
  if (stamp === '') return 'absent';
  try {
    const stats = await stat(file);
    if (!stats.isFile() || stats.size > limits.config.fileOctets) return stamp;
    return createHash('sha256')
      .update(await readFile(file))
      .digest('base64');
  } catch (error) {
    return `unread ${(error as NodeJS.ErrnoException).code ?? ''}`;
  }
}
