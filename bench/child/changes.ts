// The server side of bench `change`: store, publisher, zone and data plane in one process, as `serve` wires them. Prints
// its port; a line of input begins the changes; at the end it prints when each was put into the store, in milliseconds
// of the machine's monotonic clock, which every process reads alike.

import { once } from 'node:events';
import process from 'node:process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Publisher } from '../../src/k8s/publisher.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import { monotonicMillis } from '../lib/clock.ts';
import { settings } from '../lib/names.ts';
import { startPlane } from '../lib/plane.ts';
import { CLUSTER, changedBy, fleetOf, sliceOf } from '../lib/services.ts';

export interface ChangesTask {
  readonly services: number;
  readonly changes: number;
  readonly rate: number;
}

const { services, changes, rate } = JSON.parse(process.argv[2]!) as ChangesTask;
const zone = new Zone(new ImageWriter(0x5eed), settings);
const store = fleetOf(services);
const publisher = new Publisher(store, zone, (_service, error) => {
  throw error;
});
await publisher.drained();
const seal = setInterval(() => zone.seal(Date.now() / 1000), 1_000);
process.stdout.write(`${String(await startPlane(zone))}\n`);
await once(process.stdin, 'data');

const puts: number[] = [];
const began = monotonicMillis();
while (puts.length < changes) {
  const due = Math.min(changes, Math.floor(((monotonicMillis() - began) * rate) / 1_000) + 1);
  while (puts.length < due) {
    const change = puts.length + 1;
    const service = changedBy(change, services);
    const object = sliceOf(service, change);
    puts.push(monotonicMillis());
    store.put(CLUSTER, { kind: 'EndpointSlice', object });
  }
  // A turn of the loop, or a millisecond of sleep: events come from sockets, not from a main thread that spins.
  await nextTurn();
  await new Promise((resolve) => setTimeout(resolve, 1));
}
await publisher.drained();
clearInterval(seal);
process.stdout.write(`${JSON.stringify(puts)}\n`);
