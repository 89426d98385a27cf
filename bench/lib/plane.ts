// A data plane over a zone in this process, as `serve` starts it with one worker on a port of 127.0.0.1.

import process from 'node:process';
import { DataPlane } from '../../src/dns/data-plane.ts';
import { limits } from '../../src/limits.ts';
import type { Zone } from '../../src/zones/zone.ts';

/** Resolves with the port once it answers. */
export async function startPlane(zone: Zone): Promise<number> {
  zone.seal(Date.now() / 1000);
  zone.setUnknown(false);
  const plane = await DataPlane.start({
    image: zone.writer.buffer,
    listen: [{ host: '127.0.0.1', port: 0 }],
    workers: 1,
    udp: 'auto',
    tcpLimits: limits.tcp,
    onHint: (hint) => void process.stderr.write(`${hint}\n`),
    onDeath: (reason) => {
      throw reason;
    },
  });
  return plane.listening[0]!.port;
}
