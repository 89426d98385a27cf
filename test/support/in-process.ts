// A zone and a responder without sockets, for states that a served lab passes too fast: not yet synced, stale.
// The objects come from the same notation and through the same readers as those of a lab.

import { transport, Responder } from '../../src/dns/respond.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import { trimObject } from '../../src/k8s/objects/trim.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { mergeService } from '../../src/zones/merge.ts';
import { Zone } from '../../src/zones/zone.ts';
import { manifests, type Notation } from './lab.ts';
import { show } from './reply.ts';

export interface LocalZone {
  readonly zone: Zone;
  readonly writer: ImageWriter;
  /** The reply's octets; empty for silence. */
  readonly respond: (packet: Buffer, over?: 'UDP' | 'TCP') => Buffer;
  /** The reply as text. */
  readonly ask: (packet: Buffer, over?: 'UDP' | 'TCP') => string;
}

const SEED = 0x5eed;
const CANARY = 0xca;
const MOST_OCTETS = 65_535;

/** A zone that holds what the clusters hold; it has not been told yet that all is known. */
export function localZone(
  notation: Notation,
  settings: { addressConflict?: 'servfail' | 'precedence' } = {},
): LocalZone {
  const store = new FleetStore({ addressConflict: settings.addressConflict ?? 'servfail' });
  for (const [id, lines] of Object.entries(notation)) {
    store.addCluster({ id, precedence: Infinity, endpointsFrom: 'auto', speaksFor: undefined, drained: false });
    for (const manifest of manifests(lines)) store.apply(id, trimObject(manifest));
  }
  const writer = new ImageWriter(SEED);
  const zone = new Zone(writer, {
    zone: 'clusterset.local',
    ttlSeconds: 5,
    negativeTtlSeconds: 5,
    nameServers: [{ name: 'ns.dns.clusterset.local', addresses: ['127.0.0.1'] }],
  });
  const fleet = store.fleet();
  for (const key of store.takeDirty()) {
    const objects = store.gather(key);
    zone.apply(objects.namespace, objects.name, mergeService(objects, fleet));
  }
  zone.seal(1_800_000_000);
  const buffer = Buffer.from(new ArrayBuffer(MOST_OCTETS + 1));
  const responder = new Responder(writer.buffer, 0, buffer);
  const respond = (packet: Buffer, over: 'UDP' | 'TCP' = 'UDP'): Buffer => {
    buffer.fill(CANARY, packet.length);
    buffer.set(packet);
    responder.enter();
    const octets = responder.respond(0, packet.length, over === 'UDP' ? transport.UDP : transport.TCP);
    responder.leave();
    return Buffer.from(buffer.subarray(0, octets));
  };
  return {
    zone,
    writer,
    respond,
    ask(packet, over = 'UDP') {
      const reply = respond(packet, over);
      return reply.length === 0 ? 'silence' : show(packet, reply, over === 'UDP' ? 1232 : MOST_OCTETS);
    },
  };
}
