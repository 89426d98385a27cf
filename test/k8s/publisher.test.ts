// What the image had no room for is tried again, and an error that is no lack of room is not swallowed.

import t from 'tap';
import { policyOf } from '../../src/k8s/policy.ts';
import { Publisher } from '../../src/k8s/publisher.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';

const settings = {
  zone: 'clusterset.local',
  ttlSeconds: 5,
  negativeTtlSeconds: 5,
  nameServers: [{ name: 'ns.dns.clusterset.local', addresses: ['127.0.0.1'] }],
};

function imports(from: number, end: number): FleetObject[] {
  return Array.from({ length: end - from }, (_, i) => ({
    kind: 'ServiceImport',
    object: {
      namespace: 'shop',
      name: `web-${String(from + i)}`,
      type: 'ClusterSetIP',
      ips: [`10.0.${String((from + i) >> 8)}.${String((from + i) & 255)}`],
      ports: [{ name: 'http', protocol: 'tcp', port: 80 }],
      createdSeconds: 0,
      ipsFromSlices: false,
    },
  }));
}

void t.test('services that the image has no room for', async (t) => {
  const zone = new Zone(new ImageWriter(1, 2 << 20), settings);
  const store = new FleetStore({ addressConflict: 'servfail' });
  const told: string[] = [];
  const publisher = new Publisher(store, zone, (service) => told.push(service));
  store.addCluster(policyOf('a'));
  store.replace('a', imports(0, 6_000));
  await publisher.drained();
  const published = zone.size;
  t.ok(published > 500 && published < 6_000, `${String(published)} published`);
  t.equal(publisher.refusals, 6_000 - published);
  t.equal(told.length, publisher.refusals, 'each told once');
  publisher.retry();
  await publisher.drained();
  t.equal(told.length, publisher.refusals, 'and not again');
  store.replace('a', imports(6_000 - 500, 6_000));
  await publisher.drained();
  publisher.retry();
  await publisher.drained();
  t.equal(publisher.refusals, 0, 'room was made');
  t.equal(zone.size, 500, 'the zone is what the store holds');
});

void t.test('services that go while they wait are not published', async (t) => {
  const zone = new Zone(new ImageWriter(1), settings);
  const store = new FleetStore({ addressConflict: 'servfail' });
  const publisher = new Publisher(store, zone, () => t.fail('there is room'));
  store.addCluster(policyOf('a'));
  store.replace('a', imports(0, 5_000));
  const drained = publisher.drained();
  store.replace('a', imports(0, 4_000));
  await drained;
  t.equal(zone.size, 4_000);
});
