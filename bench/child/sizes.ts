// Zones of several sizes in one process: what a build, a replacement and a look-up of one name cost in each, round by
// round, and how long the index's chains are. Prints a SizeResult a line for each round, then nothing. In-process: the
// whole query with its system calls is bench `image`'s to measure from outside.

import process from 'node:process';
import { Responder, transport } from '../../src/dns/respond.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import { encodeAll } from '../lib/load.ts';
import { oneName, questionOf, settings } from '../lib/names.ts';
import { randomNumbers } from '../lib/stats.ts';

export interface SizesTask {
  readonly sizes: readonly number[];
  readonly rounds: number;
  /** Look-ups and replacements a round. */
  readonly calls: number;
}

export interface SizeResult {
  readonly size: number;
  readonly round: number;
  readonly buildNanos: number;
  readonly replaceNanos: number;
  readonly respondNanos: number;
  readonly meanProbes: number;
  /** Replies without the one or two addresses of the service. */
  readonly wrong: number;
}

/** Between two messages in the buffer; multiples of 4. */
const STRIDE = 512;
const QUERIES = 20_000;
const SAMPLE = 200_000;

const { sizes, rounds, calls } = JSON.parse(process.argv[2]!) as SizesTask;
const random = randomNumbers(1035);
const zones = sizes.map((size) => {
  const zone = new Zone(new ImageWriter(0x5eed), settings);
  let millis = 0;
  for (let i = 0; i < size; i++) {
    const service = oneName(i);
    const began = performance.now();
    zone.apply(service.namespace, service.name, service);
    millis += performance.now() - began;
  }
  zone.seal(Date.now() / 1000);
  zone.setUnknown(false);
  const buffer = new Uint8Array(STRIDE * 2);
  return {
    size,
    zone,
    buffer,
    responder: new Responder(zone.writer.buffer, 0, buffer),
    buildNanos: (millis * 1e6) / size,
  };
});

// The first two rounds warm up the compiler.
for (let round = -2; round < rounds; round++) {
  for (const { size, zone, buffer, responder, buildNanos } of zones) {
    const pick = (): number => Math.floor(random() * size);
    const messages = encodeAll(Array.from({ length: QUERIES }, () => questionOf(pick())));
    let wrong = 0;
    let began = performance.now();
    for (let call = 0; call < calls; call++) {
      const message = messages[call % QUERIES]!;
      for (let k = 0; k < message.length; k++) buffer[k] = message[k]!;
      responder.enter();
      responder.respond(0, message.length, transport.UDP);
      responder.leave();
      // Replacements leave one address or two.
      if (buffer[7] !== 1 && buffer[7] !== 2) wrong++;
    }
    const respondNanos = ((performance.now() - began) * 1e6) / calls;
    let replaceMillis = 0;
    for (let call = 0; call < calls; call++) {
      const service = oneName(pick(), 1 + (call & 1));
      began = performance.now();
      zone.apply(service.namespace, service.name, service);
      replaceMillis += performance.now() - began;
    }
    if (round < 0) continue;
    const result: SizeResult = {
      size,
      round,
      buildNanos,
      replaceNanos: (replaceMillis * 1e6) / calls,
      respondNanos,
      meanProbes: zone.writer.index.meanProbes(SAMPLE),
      wrong,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
}
