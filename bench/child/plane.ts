// A data plane over a zone of so many one-name services, without a control plane: what bench `image` asks at several
// sizes and bench `stall` asks while this main thread is busy. Prints its port; ends by SIGTERM.

import process from 'node:process';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import { beBusy } from '../lib/busy.ts';
import { oneName, settings } from '../lib/names.ts';
import { startPlane } from '../lib/plane.ts';

export interface PlaneTask {
  readonly names: number;
  /** The main thread never rests from the first line of input on. */
  readonly busy: boolean;
}

const { names, busy } = JSON.parse(process.argv[2]!) as PlaneTask;
const zone = new Zone(new ImageWriter(0x5eed), settings);
for (let i = 0; i < names; i++) {
  const service = oneName(i);
  zone.apply(service.namespace, service.name, service);
}
process.stdout.write(`${String(await startPlane(zone))}\n`);
if (busy) process.stdin.once('data', () => beBusy());
