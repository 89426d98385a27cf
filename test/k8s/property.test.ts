// Random events over a fleet of model clusters, with drops, repeats, lists in the middle and generations that follow each
// other: whenever it is quiet, the store holds what the clusters hold, and the zone that grew with it is the one that fresh
// stores give.

import process from 'node:process';
import fc from 'fast-check';
import t from 'tap';
import { policyOf } from '../../src/k8s/policy.ts';
import { Publisher } from '../../src/k8s/publisher.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import type { ClusterPolicy } from '../../src/k8s/store.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { rdataToText, rrsets } from '../../src/zones/readback.ts';
import { Zone } from '../../src/zones/zone.ts';
import type { RawObject } from '../support/api/model.ts';
import { mirroredSlice, nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { storeText } from './support-holdings.ts';
import { ModelCluster, ModelGeneration } from './support-model.ts';

const seed = Number(process.env['TEST_SEED'] ?? 20_261_121);
const runs = Number(process.env['TEST_RUNS'] ?? 1_500);
const NOW = 1_800_000_000;
const IMAGE_OCTETS = 2 << 20;
const IDS = ['a', 'b', 'c'] as const;
const settings = {
  zone: 'clusterset.local',
  ttlSeconds: 5,
  negativeTtlSeconds: 5,
  nameServers: [{ name: 'ns.dns.clusterset.local', addresses: ['127.0.0.1'] }],
};

/** Store, publisher and zone as the server has them. */
class Served {
  readonly store = new FleetStore({ addressConflict: 'servfail' });
  readonly zone = new Zone(new ImageWriter(1, IMAGE_OCTETS), settings);
  readonly publisher = new Publisher(this.store, this.zone, (service, error) => {
    throw new Error(`${service}: ${error.message}`);
  });

  constructor() {
    this.zone.setUnknown(false);
    this.zone.seal(NOW);
  }

  /** As `dump` reads it. */
  lines(): string[] {
    const found: string[] = [];
    for (const { owner, type, ttlSeconds, rdata, failure } of rrsets(this.zone.writer, settings.ttlSeconds)) {
      if (failure !== '') found.push(`${owner} ${String(type)} ${failure}`);
      for (const data of rdata) found.push(`${owner} ${String(ttlSeconds)} ${String(type)} ${rdataToText(type, data)}`);
    }
    return found.sort();
  }
}

class Fleet {
  readonly served = new Served();
  readonly clusters = IDS.map((id) => new ModelCluster(id));
  readonly #policies = new Map<string, ClusterPolicy>(IDS.map((id) => [id, policyOf(id)]));
  readonly #serving: (ModelGeneration | undefined)[] = IDS.map(() => undefined);
  readonly #coming: (ModelGeneration | undefined)[] = IDS.map(() => undefined);

  constructor() {
    for (const policy of this.#policies.values()) this.served.store.addCluster(policy);
    for (const i of IDS.keys()) this.renew(i);
  }

  /** New credentials: a generation beside the one that serves. */
  renew(cluster: number): void {
    this.#coming[cluster]?.rig.holdings.close();
    const generation = new ModelGeneration(this.clusters[cluster]!, this.served.store, () => {
      this.#serving[cluster]?.rig.holdings.close();
      this.#serving[cluster] = generation;
      this.#coming[cluster] = undefined;
    });
    this.#coming[cluster] = generation;
  }

  generation(cluster: number, isComing: boolean): ModelGeneration {
    const [first, second] = isComing ? [this.#coming, this.#serving] : [this.#serving, this.#coming];
    return (first[cluster] ?? second[cluster])!;
  }

  setPolicy(cluster: number, change: Partial<ClusterPolicy>): void {
    const id = IDS[cluster]!;
    const policy = { ...this.#policies.get(id)!, ...change };
    this.#policies.set(id, policy);
    this.served.store.addCluster(policy);
  }

  /** Everything is read and published; then all is compared. */
  async settle(): Promise<void> {
    for (const i of IDS.keys()) {
      let rounds = 0;
      while (!(await this.generation(i, true).advance())) {
        if (++rounds > 200) throw new Error(`cluster ${IDS[i]!} does not come to rest`);
      }
    }
    const { store, publisher } = this.served;
    await publisher.drained();
    const fresh = new Served();
    for (const { id } of this.clusters) fresh.store.addCluster(this.#policies.get(id)!);
    for (const cluster of this.clusters) fresh.store.replace(cluster.id, cluster.expected());
    await fresh.publisher.drained();
    for (const { id } of this.clusters) compare(`store of ${id}`, storeText(store, id), storeText(fresh.store, id));
    compare('zone', this.served.lines(), fresh.lines());
  }
}

function compare(what: string, found: readonly string[], wanted: readonly string[]): void {
  const odd = [
    ...found.filter((line) => !wanted.includes(line)).map((line) => `+ ${line}`),
    ...wanted.filter((line) => !found.includes(line)).map((line) => `- ${line}`),
  ];
  if (odd.length > 0 || found.length !== wanted.length) throw new Error(`${what}:\n${odd.join('\n')}`);
}

// Steps

type Step = (fleet: Fleet) => void | Promise<void>;

// Most happens to one cluster, so that what happens meets.
const cluster = fc.constantFrom(0, 0, 0, 0, 1, 1, 2);
// Slices are what is in two parts, and listed beside the watch.
const part = fc.constantFrom(0, 1, 1, 2, 2, 3, 3, 3);
const service = fc.constantFrom('web', 'db', 'api');
const sliceName = fc.constantFrom('s1', 's2', 's3');
const addresses = fc.uniqueArray(
  fc.nat(9).map((n) => `10.0.0.${String(n + 1)}`),
  { maxLength: 3 },
);
const karmada = { 'endpointslice.kubernetes.io/managed-by': 'endpointslice-dispatch-controller.karmada.io' };

const object: fc.Arbitrary<RawObject> = fc.oneof(
  fc.tuple(service, fc.constantFrom('Headless', 'ClusterSetIP'), fc.nat(2)).map(([name, type, ip]) =>
    serviceImport('shop', name, {
      type,
      ...(type === 'Headless' ? {} : { ips: [`10.9.0.${String(ip)}`] }),
      created: `2026-01-0${String(ip + 1)}T00:00:00Z`,
    }),
  ),
  fc
    .tuple(service, fc.constantFrom('True', 'False'))
    .map(([name, status]) => serviceExport('shop', name, { status: { conditions: [{ type: 'Valid', status }] } })),
  fc
    .tuple(sliceName, service, fc.constantFrom(...IDS, 'x'), addresses)
    .map(([name, of, source, endpoints]) => mirroredSlice('shop', name, of, source, { endpoints })),
  fc.tuple(sliceName, service, addresses).map(([name, of, endpoints]) => nativeSlice('shop', name, of, { endpoints })),
  fc.tuple(sliceName, service, fc.constantFrom(...IDS, 'x'), addresses).map(([name, of, source, endpoints]) =>
    nativeSlice('shop', name, of, {
      endpoints,
      labels: karmada,
      annotations: { 'endpointslice.karmada.io/provision-cluster': source },
    }),
  ),
);
const removed = fc.oneof(
  fc.tuple(fc.constant('ServiceImport'), service),
  fc.tuple(fc.constant('ServiceExport'), service),
  fc.tuple(fc.constant('EndpointSlice'), sliceName),
);
const policy: fc.Arbitrary<Partial<ClusterPolicy>> = fc.oneof(
  fc.record({ drained: fc.boolean() }),
  fc.record({ withdrawn: fc.constantFrom('others', 'always', undefined) }),
  fc.record({ precedence: fc.constantFrom(1, 2, Infinity) }),
);

const step: fc.Arbitrary<readonly [what: string, run: Step]> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc
      .tuple(cluster, object)
      .map(([c, o]) => named(`put ${JSON.stringify(o)}`, c, (f) => f.clusters[c]!.put(o))),
  },
  {
    weight: 14,
    arbitrary: fc
      .tuple(cluster, removed)
      .map(([c, [k, n]]) => named(`remove ${k} ${n}`, c, (f) => f.clusters[c]!.remove(k, n))),
  },
  { weight: 25, arbitrary: streamStep('deliver', (stream, n) => stream.deliver(n)) },
  { weight: 6, arbitrary: streamStep('repeat', (stream, n) => stream.repeat(n)) },
  { weight: 12, arbitrary: streamStep('read', (stream, n) => stream.read(n)) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(cluster, part, fc.boolean())
      .map(([c, p, isComing]) => named(`list ${String(p)}`, c, (f) => f.generation(c, isComing).begin(p))),
  },
  { weight: 6, arbitrary: streamStep('list whole', (stream) => stream.relist()) },
  {
    weight: 12,
    arbitrary: fc
      .tuple(cluster, fc.boolean(), fc.boolean())
      .map(([c, isAll, isComing]) => named('adopt', c, (f) => f.generation(c, isComing).adopt(isAll))),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(cluster, fc.boolean())
      .map(([c, isComing]) => named('take', c, (f) => void f.generation(c, isComing).take())),
  },
  { weight: 1, arbitrary: cluster.map((c) => named('renew', c, (f) => f.renew(c))) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(cluster, policy)
      .map(([c, p]) => named(`policy ${JSON.stringify(p)}`, c, (f) => f.setPolicy(c, p))),
  },
  { weight: 15, arbitrary: fc.constant(named('turn', 0, () => new Promise((resolve) => setImmediate(resolve)))) },
  { weight: 3, arbitrary: fc.constant(named('settle', 0, (f) => f.settle())) },
);

function named(what: string, c: number, run: Step): readonly [string, Step] {
  return [`${IDS[c]!}: ${what}`, run];
}

function streamStep(
  what: string,
  run: (stream: ModelGeneration['streams'][number], count: number) => void,
): fc.Arbitrary<readonly [string, Step]> {
  return fc
    .tuple(cluster, part, fc.integer({ min: 1, max: 5 }), fc.boolean())
    .map(([c, p, n, isComing]) =>
      named(`${what} ${String(p)} ${String(n)}`, c, (fleet) => run(fleet.generation(c, isComing).streams[p]!, n)),
    );
}

t.test('store and zone are what the clusters hold, whatever came between', async (t) => {
  let steps = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), async (drawn) => {
      steps += drawn.length;
      const fleet = new Fleet();
      try {
        // Half of them begin with everything watched, so that most of the steps meet streams that run.
        if (drawn.length % 2 === 0) await fleet.settle();
        for (const [, run] of drawn) await run(fleet);
        await fleet.settle();
      } catch (error) {
        throw new Error(`${(error as Error).message}\nafter\n${drawn.map(([what]) => what).join('\n')}`, {
          cause: error,
        });
      }
    }),
    { seed, numRuns: runs },
  );
  t.ok(steps > runs * 40, `${String(steps)} steps`);
});
