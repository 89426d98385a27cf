// A million random replacements in one zone while readers in real threads read it. Prints a ReplaceResult a line at every
// tenth of the way. Run with --expose-gc.

import { once } from 'node:events';
import process from 'node:process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { requestStop } from '../../src/dns/image.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import { oneName, settings } from '../lib/names.ts';
import { randomNumbers } from '../lib/stats.ts';
import type { ReaderReport, ReaderTask } from './reader.ts';

export interface ReplaceTask {
  readonly names: number;
  readonly replacements: number;
  readonly readers: number;
}

export interface ReplaceResult {
  readonly done: number;
  readonly rssOctets: number;
  readonly imageOctets: number;
  /** Octets of blocks in use and of those that wait for readers. */
  readonly heldOctets: number;
  /** Of the readers, together; in the last line only. */
  readonly read: number;
  readonly wrong: number;
}

const MOST_ADDRESSES = 8;
/** Replacements between two turns of the event loop. */
const TURN = 1_000;

const { names, replacements, readers } = JSON.parse(process.argv[2]!) as ReplaceTask;
const zone = new Zone(new ImageWriter(0x5eed), settings);
const random = randomNumbers(2308);
const put = (i: number): void => {
  const service = oneName(i, 1 + Math.floor(random() * MOST_ADDRESSES));
  zone.apply(service.namespace, service.name, service);
};
for (let i = 0; i < names; i++) put(i);
zone.seal(Date.now() / 1000);
zone.setUnknown(false);

const threads = Array.from({ length: readers }, (_, reader) => {
  const workerData: ReaderTask = { image: zone.writer.buffer, reader, names, mostAddresses: MOST_ADDRESSES };
  return new Worker(new URL('./reader.ts', import.meta.url), { workerData });
});
const reports = threads.map((thread) => once(thread, 'message') as Promise<[ReaderReport]>);

function report(done: number, read: number, wrong: number): void {
  globalThis.gc?.();
  const { arena, buffer } = zone.writer;
  const result: ReplaceResult = {
    done,
    rssOctets: process.memoryUsage.rss(),
    imageOctets: buffer.byteLength,
    heldOctets: arena.used + arena.garbage,
    read,
    wrong,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

const tenth = replacements / 10;
for (let done = 1; done <= replacements; done++) {
  put(Math.floor(random() * names));
  if (done % TURN === 0) await nextTurn();
  if (done % tenth === 0 && done < replacements) report(done, 0, 0);
}
requestStop(zone.writer.buffer);
const ends = (await Promise.all(reports)).map(([each]) => each);
report(
  replacements,
  ends.reduce((sum, { read }) => sum + read, 0),
  ends.reduce((sum, { wrong }) => sum + wrong, 0),
);
process.exit(0);
