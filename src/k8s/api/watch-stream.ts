// The events of one watch, line by line, with a clock: what each means is the reflector's. And how a server shows that it
// cannot do a watch-list. Not here: octets into lines (json-lines.ts), when it is asked again (reflector.ts).
// Kubernetes API concepts: watch events, streaming lists (KEP-3157).

import { isAscii } from 'node:buffer';
import type { ApiBody } from './api-client.ts';
import { isRecord } from '../objects/fields.ts';
import { LineReader } from './json-lines.ts';
import { readChunks } from './list-pages.ts';
import type { ChunkReading } from './list-pages.ts';
import { eventTrouble, TroubleError } from './trouble.ts';

export interface EventReading extends Pick<ChunkReading, 'quietMillis' | 'onQuiet'> {
  /** While it gives a promise, nothing more is read. */
  readonly busy: () => Promise<void> | undefined;
  /** What it gives is waited for before the next event. */
  readonly onEvent: (type: string, object: unknown) => Promise<void> | undefined;
}

/**
 * Reads a stream of events to its end. Only whole events wind the clock: a line that comes an octet a second is silence.
 * Throws TroubleError, and what `onQuiet` and `onEvent` give or throw.
 */
export async function readEvents(body: ApiBody, objectOctets: number, reading: EventReading): Promise<void> {
  const { busy, onEvent, onQuiet } = reading;
  const lines = new LineReader(objectOctets);
  let heardMillis = performance.now();
  const heard = (): void => {
    heardMillis = performance.now();
  };
  const take = (rest: Iterator<Buffer>): Promise<void> | undefined => {
    for (;;) {
      const wait = busy();
      if (wait !== undefined) return wait.then(() => take(rest));
      const next = rest.next();
      if (next.done === true) return undefined;
      const event = parseLine(next.value);
      const type = event['type'];
      if (typeof type !== 'string') throw new TroubleError('body', 'a line that is no watch event');
      heard();
      const done = onEvent(type, event['object']);
      if (done !== undefined) return done.then(() => take(rest));
    }
  };
  await readChunks(body, {
    quietMillis: () => Math.max(0, heardMillis + reading.quietMillis() - performance.now()),
    onQuiet,
    onChunk: (chunk) => take(lines.push(chunk))?.then(heard),
  });
  if (lines.end() > 0) throw new TroubleError('body', 'a watch that was cut in the middle of a line');
}

function parseLine(line: Buffer): Readonly<Record<string, unknown>> {
  let event: unknown;
  try {
    event = JSON.parse(line.toString(isAscii(line) ? 'latin1' : 'utf8'));
  } catch {
    throw new TroubleError('body', 'a line of a watch that is no JSON');
  }
  return isRecord(event) ? event : {};
}

/** A server that cannot do a watch-list, or whose etcd cannot: pages do. */
export class WithoutWatchList extends Error {
  override readonly name = 'WithoutWatchList';
}

/** With an etcd before 3.4.31 a watch-list is answered 200 and then an ERROR of code 500. */
export function watchListTrouble(object: unknown): Error {
  const trouble = eventTrouble(object);
  return trouble.code === 500 || trouble.code === 400 || trouble.code === 422
    ? new WithoutWatchList(trouble.message)
    : trouble;
}

export function endsInitialEvents(object: unknown): boolean {
  const metadata = isRecord(object) ? object['metadata'] : undefined;
  const annotations = isRecord(metadata) ? metadata['annotations'] : undefined;
  return isRecord(annotations) && annotations['k8s.io/initial-events-end'] === 'true';
}
