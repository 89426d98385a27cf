// A plain client of the fault server for its own tests: fetch, and a watch read line by line.

import type { Test } from 'tap';
import { FaultServer, type FaultServerOptions } from './fault-server.ts';

export const IMPORTS = '/apis/multicluster.x-k8s.io/v1beta1/serviceimports';
export const SLICES = '/apis/discovery.k8s.io/v1/endpointslices';
export const WATCH_LIST = 'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
const DEADLINE_MILLIS = 20_000;

export async function start(t: Test, options: FaultServerOptions = {}): Promise<FaultServer> {
  const server = await FaultServer.start(options);
  t.teardown(() => server.close());
  return server;
}

export interface Item {
  kind?: string;
  metadata: { name: string; resourceVersion: string; annotations?: Record<string, string> };
  endpoints?: unknown;
  ports?: unknown;
}
export interface List {
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
  items: Item[];
}
export interface StatusBody {
  code: number;
  reason: string;
  message: string;
  metadata: { continue?: string };
  details?: { retryAfterSeconds?: number };
}

export async function read(
  server: FaultServer,
  path: string,
): Promise<{ code: number; headers: Headers; text: string }> {
  const response = await fetch(server.url + path, { redirect: 'manual', signal: AbortSignal.timeout(DEADLINE_MILLIS) });
  return { code: response.status, headers: response.headers, text: await response.text() };
}

export async function list(server: FaultServer, path: string): Promise<List> {
  return JSON.parse((await read(server, path)).text) as List;
}

export async function failure(server: FaultServer, path: string): Promise<StatusBody> {
  return JSON.parse((await read(server, path)).text) as StatusBody;
}

export function names({ items }: List): string[] {
  return items.map(({ metadata }) => metadata.name);
}

/** A watch's lines as `TYPE name`, one a call; `end` and `broken` are its ends. */
export class Lines {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #abort: AbortController;
  #text = '';
  chunks = 0;

  private constructor(response: Response, abort: AbortController) {
    this.#reader = (response.body as ReadableStream<Uint8Array>).getReader();
    this.#abort = abort;
  }

  static async open(t: Test, server: FaultServer, path: string): Promise<Lines> {
    const abort = new AbortController();
    const lines = new Lines(await fetch(`${server.url}${path}`, { signal: abort.signal }), abort);
    t.teardown(() => lines.close());
    return lines;
  }

  async raw(): Promise<string> {
    for (;;) {
      const end = this.#text.indexOf('\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      try {
        const { done, value } = await this.#reader.read();
        if (done) return 'end';
        this.chunks++;
        this.#text += Buffer.from(value).toString('latin1');
      } catch {
        return 'broken';
      }
    }
  }

  async next(): Promise<string> {
    const line = await this.raw();
    if (!line.startsWith('{')) return line;
    const { type, object } = JSON.parse(line) as { type: string; object: Item & { code?: number } };
    if (type === 'ERROR') return `ERROR ${String(object.code)}`;
    if (type !== 'BOOKMARK') return `${type} ${object.metadata.name}`;
    const isEnd = object.metadata.annotations?.['k8s.io/initial-events-end'] === 'true';
    return `BOOKMARK${isEnd ? ' of the initial events' : ''}`;
  }

  /** Whether nothing comes for a moment. */
  async isSilent(millis = 100): Promise<boolean> {
    const read = this.next();
    const timeout = new Promise<boolean>((resolve) => setTimeout(() => resolve(true), millis));
    return Promise.race([read.then(() => false), timeout]);
  }

  close(): void {
    this.#abort.abort();
  }
}

export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + DEADLINE_MILLIS;
  while (!condition()) {
    if (performance.now() > end) throw new Error('it did not come');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
