// Reading bodies with a clock, and whole lists page by page: never more than one object of them in memory.
// Kubernetes API concepts: retrieving large results sets in chunks (`limit`, `continue`). No resourceVersion is asked for:
// such a list is a quorum read, and the only one that a limit holds for.

import type { ApiBody, ApiClient } from './api-client.ts';
import type { ReflectorLimits } from './backoff.ts';
import { TooLongError } from './json-lines.ts';
import { ListError, ListReader } from './json-list.ts';
import { connectionTrouble, statusTrouble, TroubleError } from './trouble.ts';

export interface PagesOptions {
  readonly api: ApiClient;
  /** Of the collection, without a query. */
  readonly path: string;
  readonly selector: string | undefined;
  readonly limits: ReflectorLimits;
  readonly signal: AbortSignal;
  readonly onItem: (item: unknown) => void;
}

/** Reads every page; gives the list's resourceVersion. Throws TroubleError, and then what was read is no list. */
export async function readPages({ api, path, selector, limits, signal, onItem }: PagesOptions): Promise<string> {
  let token = '';
  for (;;) {
    const query = new URLSearchParams({ limit: String(limits.pageObjects) });
    if (token !== '') query.set('continue', token);
    if (selector !== undefined) query.set('labelSelector', selector);
    const body = await api.open(`${path}?${query.toString()}`, signal);
    const reader = new ListReader(onItem, limits.objectOctets);
    const end = performance.now() + limits.listMillis;
    await readChunks(body, {
      quietMillis: () => Math.max(0, end - performance.now()),
      onQuiet: () => new TroubleError('body', `a list that was not whole after ${limits.listMillis / 1000} s`),
      onChunk: (chunk) => {
        reader.push(chunk);
        return undefined;
      },
    });
    const list = reader.end();
    if (list.status !== undefined) {
      const { code } = list.status;
      throw statusTrouble(typeof code === 'number' ? code : 0, list.status, undefined);
    }
    if (list.continueToken === '') return list.resourceVersion;
    if (list.continueToken === token) throw new TroubleError('body', 'a list whose pages do not go on');
    token = list.continueToken;
  }
}

export interface ChunkReading {
  /** How long from now the next octet may take. */
  readonly quietMillis: () => number;
  /** What is wrong when none came. */
  readonly onQuiet: () => Error;
  /** While what it gives is a promise nothing is read, and the clock stands still. */
  readonly onChunk: (chunk: Buffer) => Promise<void> | undefined;
}

/** Reads a body to its end. Throws TroubleError. */
export async function readChunks(body: ApiBody, { quietMillis, onQuiet, onChunk }: ChunkReading): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const wind = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => body.destroy(onQuiet()), quietMillis());
  };
  wind();
  try {
    for await (const chunk of body) {
      const wait = onChunk(chunk);
      if (wait !== undefined) {
        clearTimeout(timer);
        await wait;
      }
      wind();
    }
  } catch (error) {
    throw asTrouble(error);
  } finally {
    clearTimeout(timer);
  }
}

/** What was thrown while a body was read, as trouble; what the network did not cause stays what it is. */
export function asTrouble(error: unknown): unknown {
  if (error instanceof TooLongError || error instanceof ListError) return new TroubleError('body', error.message);
  const isOfNetwork = error instanceof Error && (error.name === 'AbortError' || 'code' in error);
  return isOfNetwork ? connectionTrouble(error) : error;
}
