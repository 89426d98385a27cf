// The store against a naive one: whatever is put, removed and replaced, it gathers the same, and every service whose
// objects or whose fleet changed was dirty.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { FleetStore } from '../../src/k8s/store.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import type { EndpointSlice, FleetPolicy, ServiceObjects } from '../../src/zones/objects.ts';

const POLICY = { precedence: Infinity, endpointsFrom: 'auto', speaksFor: undefined, drained: false } as const;

function imported(name: string, ips: readonly string[] = []): FleetObject {
  const fields = { type: 'ClusterSetIP', ports: [], createdSeconds: 0, ipsFromSlices: false } as const;
  return { kind: 'ServiceImport', object: { namespace: 'ns', name, ips, ...fields } };
}

function exported(name: string, valid = true): FleetObject {
  return { kind: 'ServiceExport', object: { namespace: 'ns', name, valid } };
}

function slice(name: string, service: string, sourceCluster = '', address = '10.0.0.1'): FleetObject {
  const endpoints = [{ addresses: [address], hostname: '', ready: true, uid: '' }];
  const form = sourceCluster === '' ? 'native' : 'mirrored';
  const object: EndpointSlice = {
    namespace: 'ns',
    name,
    service,
    form,
    sourceCluster,
    addressType: 'IPv4',
    ports: [],
    endpoints,
  };
  return { kind: 'EndpointSlice', object };
}

function storeOf(...clusters: string[]): FleetStore {
  const store = new FleetStore({ addressConflict: 'servfail' });
  for (const id of clusters) store.addCluster({ id, ...POLICY });
  store.takeDirty();
  return store;
}

const dirtyOf = (store: FleetStore): string[] => [...store.takeDirty()].sort();

t.test('events', async (t) => {
  const store = storeOf('b', 'a');
  const steps: readonly (readonly [what: string, step: () => void, dirty: readonly string[]])[] = [
    ['an import', () => store.put('a', imported('web')), ['ns/web']],
    ['the same again', () => store.put('a', imported('web')), []],
    ['another address', () => store.put('a', imported('web', ['10.0.0.1'])), ['ns/web']],
    ['a slice', () => store.put('b', slice('s1', 'web', 'a')), ['ns/web']],
    ['the same again', () => store.put('b', slice('s1', 'web', 'a')), []],
    ['another address', () => store.put('b', slice('s1', 'web', 'a', '10.0.0.2')), ['ns/web']],
    ['its service changes', () => store.put('b', slice('s1', 'db', 'a')), ['ns/db', 'ns/web']],
    ['an unknown cluster', () => store.put('z', imported('web')), []],
    [
      'a first export: copies elsewhere count no more',
      () => store.put('a', exported('x')),
      ['ns/db', 'ns/web', 'ns/x'],
    ],
    ['a second export', () => store.put('a', exported('y')), ['ns/y']],
    ['not valid', () => store.put('a', exported('y', false)), ['ns/y']],
    ['its end', () => store.remove('a', 'ServiceExport', 'ns', 'y'), ['ns/y']],
    ['again', () => store.remove('a', 'ServiceExport', 'ns', 'y'), []],
    ['the last export', () => store.remove('a', 'ServiceExport', 'ns', 'x'), ['ns/db', 'ns/web', 'ns/x']],
    ['the same whole', () => store.replace('a', [imported('web', ['10.0.0.1'])]), []],
    ['one more', () => store.replace('a', [imported('web', ['10.0.0.1']), imported('z')]), ['ns/z']],
    ['replaced with an export', () => store.replace('a', [exported('x')]), ['ns/db', 'ns/web', 'ns/x', 'ns/z']],
    ['which is not valid', () => store.replace('a', [exported('x', false)]), ['ns/x']],
    ['replaced without one', () => store.replace('a', [imported('z')]), ['ns/db', 'ns/x', 'ns/z']],
    ['one more', () => store.put('a', imported('web')), ['ns/web']],
    ['drained', () => store.addCluster({ id: 'a', ...POLICY, drained: true }), ['ns/db', 'ns/web', 'ns/z']],
    ['the same policy', () => store.addCluster({ id: 'a', ...POLICY, drained: true }), []],
    ['a slice that names no service any more', () => store.apply('b', ignoredSlice('s1')), ['ns/db']],
    ['a slice that is gone', () => store.remove('b', 'EndpointSlice', 'ns', 's1'), []],
    ['a cluster goes', () => store.removeCluster('a'), ['ns/web', 'ns/z']],
    ['again', () => store.removeCluster('a'), []],
  ];
  for (const [what, step, dirty] of steps) {
    step();
    t.strictSame(dirtyOf(store), dirty, what);
  }
  t.strictSame([...store.keys()], []);
});

function ignoredSlice(name: string): Parameters<FleetStore['apply']>[1] {
  return { kind: 'ignored', ref: { kind: 'EndpointSlice', namespace: 'ns', name }, refusals: [], moreRefusals: 0 };
}

t.test('gathering: clusters by id, slices by name, and only who holds something', async (t) => {
  const store = storeOf('c', 'a', 'b');
  store.replace('c', [slice('s2', 'web'), imported('web'), slice('s1', 'web')]);
  store.put('a', slice('s9', 'web'));
  store.put('a', slice('s10', 'web'));
  const { namespace, name, clusters } = store.gather('ns/web');
  t.strictSame({ namespace, name }, { namespace: 'ns', name: 'web' });
  t.strictSame(
    clusters.map((held) => [held.cluster, ...held.slices.map((each) => each.name)]),
    [
      ['a', 's10', 's9'],
      ['c', 's1', 's2'],
    ],
  );
  t.strictSame(store.gather('ns/constructor').clusters, []);
});

t.test('the listener is called once until the dirty services are taken', async (t) => {
  const store = storeOf('a');
  let calls = 0;
  store.onChange(() => calls++);
  store.put('a', imported('web'));
  store.put('a', imported('db'));
  t.equal(calls, 1);
  store.takeDirty();
  store.put('a', imported('db'));
  t.equal(calls, 1, 'nothing changed');
  store.remove('a', 'ServiceImport', 'ns', 'db');
  t.equal(calls, 2);
  t.equal(store.fleet(), store.fleet(), 'the fleet is cached');
});

const CLUSTERS = ['a', 'b', 'c'];
const SERVICES = ['web', '__proto__', 'db'];

const object: fc.Arbitrary<FleetObject> = fc.oneof(
  fc
    .tuple(fc.constantFrom(...SERVICES), fc.subarray(['10.0.0.1', '10.0.0.2']))
    .map(([name, ips]) => imported(name, ips)),
  fc.tuple(fc.constantFrom(...SERVICES), fc.boolean()).map(([name, valid]) => exported(name, valid)),
  fc
    .tuple(
      fc.constantFrom('s1', 's2', 's3'),
      fc.constantFrom(...SERVICES),
      fc.constantFrom('', ...CLUSTERS),
      fc.constantFrom('10.0.0.1', '10.0.0.2'),
    )
    .map((fields) => slice(...fields)),
);
const step = fc.record({
  cluster: fc.constantFrom(...CLUSTERS),
  what: fc.constantFrom('put', 'put', 'put', 'remove', 'remove', 'replace', 'add', 'leave'),
  objects: fc.array(object, { minLength: 1, maxLength: 5 }),
  drained: fc.boolean(),
});

/** Objects by cluster and by kind and name; everything else is worked out anew. */
class NaiveStore {
  readonly clusters = new Map<string, { drained: boolean; objects: Map<string, FleetObject> }>();

  gather(service: string): ServiceObjects {
    const clusters = [...this.clusters]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([cluster, { objects }]) => {
        const all = [...objects.values()];
        return {
          cluster,
          serviceImport: all.filter((o) => o.kind === 'ServiceImport').find((o) => o.object.name === service)?.object,
          serviceExport: all.filter((o) => o.kind === 'ServiceExport').find((o) => o.object.name === service)?.object,
          slices: all
            .filter((o) => o.kind === 'EndpointSlice')
            .map((o) => o.object)
            .filter((s) => s.service === service)
            .sort((x, y) => (x.name < y.name ? -1 : 1)),
        };
      });
    const holders = clusters.filter((c) => c.serviceImport ?? c.serviceExport ?? c.slices[0]);
    return { namespace: 'ns', name: service, clusters: holders };
  }

  fleet(): FleetPolicy {
    const clusters = [...this.clusters]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, { drained, objects }]) => {
        const exporting = [...objects.values()].some((o) => o.kind === 'ServiceExport');
        return [id, { id, ...POLICY, drained, exporting }] as const;
      });
    return { clusters: new Map(clusters), addressConflict: 'servfail' };
  }

  /** What a merge of this service may look at: its objects, and the policy of their holders and their sources. */
  seen(service: string): string {
    const gathered = this.gather(service);
    const ids = gathered.clusters.flatMap((c) => [c.cluster, ...c.slices.map((s) => s.sourceCluster)]);
    return JSON.stringify([gathered, ids.map((id) => this.fleet().clusters.get(id))]);
  }
}

t.test('random events', async (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
      const store = storeOf(...CLUSTERS);
      const naive = new NaiveStore();
      for (const id of CLUSTERS) naive.clusters.set(id, { drained: false, objects: new Map() });
      for (const { cluster, what, objects, drained } of steps) {
        const before = SERVICES.map((service) => naive.seen(service));
        const held = naive.clusters.get(cluster);
        const [first] = objects;
        const key = (o: FleetObject): string => `${o.kind}/${o.object.name}`;
        if (what === 'put') {
          store.put(cluster, first!);
          held?.objects.set(key(first!), first!);
        } else if (what === 'remove') {
          store.remove(cluster, first!.kind, 'ns', first!.object.name);
          held?.objects.delete(key(first!));
        } else if (what === 'replace') {
          store.replace(cluster, objects);
          if (held !== undefined) held.objects = new Map(objects.map((o) => [key(o), o]));
        } else if (what === 'add') {
          store.addCluster({ id: cluster, ...POLICY, drained });
          if (held === undefined) naive.clusters.set(cluster, { drained, objects: new Map() });
          else held.drained = drained;
        } else {
          store.removeCluster(cluster);
          naive.clusters.delete(cluster);
        }
        const dirty = store.takeDirty();
        for (const [i, service] of SERVICES.entries()) {
          if (naive.seen(service) !== before[i] && !dirty.has(`ns/${service}`)) throw new Error(`${service} is clean`);
          const [is, should] = [store.gather(`ns/${service}`), naive.gather(service)];
          if (!isDeepStrictEqual(is, should)) throw new Error(`${service} is not gathered as it is held`);
        }
        if (!sameFleet(store.fleet(), naive.fleet())) throw new Error('the fleet differs');
        const keys = SERVICES.filter((service) => naive.gather(service).clusters.length > 0).map((s) => `ns/${s}`);
        if ([...store.keys()].sort().join() !== keys.sort().join()) throw new Error('keys differ');
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});

function sameFleet(a: FleetPolicy, b: FleetPolicy): boolean {
  return JSON.stringify([...a.clusters]) === JSON.stringify([...b.clusters]);
}
