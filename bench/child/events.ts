// What one event costs the main thread in fleets of several sizes: a changed slice into the store, merged, compiled and
// published. Prints an EventResult a line, round by round.

import process from 'node:process';
import { mergeService } from '../../src/zones/merge.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import { settings } from '../lib/names.ts';
import { CLUSTER, changedBy, fleetOf, sliceOf } from '../lib/services.ts';

export interface EventsTask {
  readonly sizes: readonly number[];
  readonly rounds: number;
  readonly events: number;
}

export interface EventResult {
  readonly size: number;
  /** Of this thread's CPU time. */
  readonly microsPerEvent: number;
}

const { sizes, rounds, events } = JSON.parse(process.argv[2]!) as EventsTask;
const sides = sizes.map((size) => {
  const zone = new Zone(new ImageWriter(0x5eed), settings);
  return { size, zone, store: fleetOf(size), change: 0 };
});

/** What the publisher does in a slice, without waiting for its turn. */
function publish({ store, zone }: (typeof sides)[number]): void {
  for (const key of store.takeDirty()) {
    const objects = store.gather(key);
    zone.apply(objects.namespace, objects.name, mergeService(objects, store.fleet()));
  }
}

for (const side of sides) publish(side);
// The first round warms up the compiler.
for (let round = -1; round < rounds; round++) {
  for (const side of sides) {
    const before = process.threadCpuUsage();
    for (let event = 0; event < events; event++) {
      side.change++;
      const object = sliceOf(changedBy(side.change, side.size), side.change);
      side.store.put(CLUSTER, { kind: 'EndpointSlice', object });
      publish(side);
    }
    const used = process.threadCpuUsage(before);
    const result: EventResult = { size: side.size, microsPerEvent: (used.user + used.system) / events };
    if (round >= 0) process.stdout.write(`${JSON.stringify(result)}\n`);
  }
}
