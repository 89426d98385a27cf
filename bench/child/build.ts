// One zone of headless services, built service by service in slices of the main thread's time as k8s/publisher.ts does,
// with its data plane. Prints what that took as one line of JSON. Run with --expose-gc.

import process from 'node:process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Question } from '../lib/fleet.ts';
import { comparable, askAll } from '../lib/ask.ts';
import { addressOf, headless, nameOf, settings } from '../lib/names.ts';
import { startPlane } from '../lib/plane.ts';
import { limits } from '../../src/limits.ts';
import { keepYoungGenerationSmall } from '../../src/memory.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';

export interface BuildTask {
  readonly services: number;
  readonly endpoints: number;
}

export interface BuildResult {
  /** Milliseconds in Zone.apply, together and in the longest slice and the longest call. */
  readonly applyMillis: number;
  readonly longestSliceMillis: number;
  readonly longestApplyMillis: number;
  readonly rssOctets: number;
  readonly imageOctets: number;
  readonly usedOctets: number;
  readonly names: number;
  /** Names that were asked for and had the address they must have. */
  readonly checked: number;
}

const SLICE_MILLIS = limits.zone.publishSliceMillis;
const CHECKED = 1_000;

const { services, endpoints } = JSON.parse(process.argv[2]!) as BuildTask;
keepYoungGenerationSmall();
const zone = new Zone(new ImageWriter(0x5eed), settings);
let applyMillis = 0;
let longestSliceMillis = 0;
let longestApplyMillis = 0;
let sliceMillis = 0;
for (let i = 0; i < services; i++) {
  const service = headless(i, endpoints);
  const began = performance.now();
  zone.apply(service.namespace, service.name, service);
  const took = performance.now() - began;
  applyMillis += took;
  longestApplyMillis = Math.max(longestApplyMillis, took);
  sliceMillis += took;
  longestSliceMillis = Math.max(longestSliceMillis, sliceMillis);
  if (sliceMillis < SLICE_MILLIS) continue;
  sliceMillis = 0;
  await nextTurn();
}
const port = await startPlane(zone);
const asked = Array.from({ length: CHECKED }, (_, n) => Math.floor((n * services * endpoints) / CHECKED));
const questions = asked.map((n): Question => {
  const service = nameOf(Math.floor(n / endpoints));
  return { name: `mysql-${String(n % endpoints)}.us-east.${service}`, type: 'A' };
});
const replies = await askAll(port, questions, 'udp');
const checked = replies.filter((reply, n) => comparable(reply).must.includes(`"${addressOf(10, asked[n]!)}"`)).length;
globalThis.gc?.();
const result: BuildResult = {
  applyMillis,
  longestSliceMillis,
  longestApplyMillis,
  rssOctets: process.memoryUsage.rss(),
  imageOctets: zone.writer.buffer.byteLength,
  usedOctets: zone.writer.arena.used,
  names: zone.writer.index.size,
  checked,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
