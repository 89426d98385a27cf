// Names of clusters that nobody can reach, merged by value: without those clusters where another one answers, with them
// where they are the last.

import t from 'tap';
import { mergeService } from '../../src/zones/merge.ts';
import { withLoss } from '../../src/zones/loss.ts';
import type {
  ClusterObjects,
  EndpointSlice,
  FleetCluster,
  FleetPolicy,
  ServiceImport,
} from '../../src/zones/objects.ts';
import type { Decision } from '../../src/zones/witness.ts';

type Withdrawn = FleetCluster['withdrawn'];

function fleet(withdrawn: Readonly<Record<string, Withdrawn | 'drained'>>): FleetPolicy {
  const clusters = new Map<string, FleetCluster>();
  for (const [id, how] of Object.entries(withdrawn)) {
    clusters.set(id, {
      id,
      precedence: Infinity,
      endpointsFrom: 'auto',
      speaksFor: undefined,
      drained: how === 'drained',
      exporting: true,
      ...(how === 'drained' || how === undefined ? {} : { withdrawn: how }),
    });
  }
  return withLoss({ clusters, addressConflict: 'servfail' });
}

/** A cluster that imports and exports the service; with `addresses` it has endpoints. */
function holds(cluster: string, addresses: readonly string[], own: Partial<ServiceImport> = {}): ClusterObjects {
  const name = { namespace: 'shop', name: 'web' };
  const slice: EndpointSlice = {
    ...name,
    name: 'web-1',
    service: 'web',
    form: 'native',
    sourceCluster: '',
    addressType: 'IPv4',
    ports: [],
    endpoints: addresses.map((address) => ({ addresses: [address], hostname: '', ready: true, uid: '' })),
  };
  const fields = { type: 'Headless', ips: [], ports: [], createdSeconds: 0, ipsFromSlices: false } as const;
  return {
    cluster,
    serviceImport: { ...name, ...fields, ...own },
    serviceExport: { ...name, valid: true },
    slices: addresses.length > 0 ? [slice] : [],
  };
}

/** What is answered: the endpoints' or the service's addresses; undefined: no such name. */
function merged(policy: FleetPolicy, ...clusters: readonly ClusterObjects[]): readonly string[] | undefined {
  const service = mergeService({ namespace: 'shop', name: 'web', clusters }, policy);
  return service && [...service.endpoints.map(({ address }) => address), ...service.addresses];
}

t.test('headless', (t) => {
  const both = [holds('a', ['10.0.0.1']), holds('b', ['10.0.0.2'])] as const;
  const cases: readonly (readonly [
    what: string,
    fleet: Parameters<typeof fleet>[0],
    wanted: readonly string[] | undefined,
  ])[] = [
    ['none is withdrawn', { a: undefined, b: undefined }, ['10.0.0.1', '10.0.0.2']],
    ['one is', { a: undefined, b: 'others' }, ['10.0.0.1']],
    ['one is, always', { a: undefined, b: 'always' }, ['10.0.0.1']],
    ['all are: none goes', { a: 'others', b: 'others' }, ['10.0.0.1', '10.0.0.2']],
    ['all are, one of them always', { a: 'others', b: 'always' }, ['10.0.0.1']],
    ['all are, always', { a: 'always', b: 'always' }, undefined],
    ['the other one is drained: the last stays', { a: 'drained', b: 'others' }, ['10.0.0.2']],
    ['the other one is drained: it goes always', { a: 'drained', b: 'always' }, []],
  ];
  for (const [what, withdrawn, wanted] of cases) t.strictSame(merged(fleet(withdrawn), ...both), wanted, what);
  const empty = [holds('a', []), holds('b', ['10.0.0.2'])] as const;
  t.strictSame(merged(fleet({ a: undefined, b: 'others' }), ...empty), ['10.0.0.2'], 'who is left has no endpoint');
  t.strictSame(merged(fleet({ a: undefined, b: 'always' }), ...empty), []);
  t.strictSame(
    merged(fleet({ a: undefined, b: 'others' }), holds('b', [])),
    [],
    'a name without endpoints stays a name',
  );
  t.end();
});

t.test('ClusterSetIP: imports of those who are withdrawn decide nothing', (t) => {
  const own = (ip: string, createdSeconds = 0): Partial<ServiceImport> => ({
    type: 'ClusterSetIP',
    ips: [ip],
    createdSeconds,
  });
  const both = [holds('a', [], own('10.9.0.1', 5)), holds('b', [], own('10.9.0.2'))] as const;
  const service = (policy: FleetPolicy): ReturnType<typeof mergeService> =>
    mergeService({ namespace: 'shop', name: 'web', clusters: both }, policy);
  t.not(service(fleet({ a: undefined, b: undefined }))?.addressConflict, '', 'they differ');
  const left = service(fleet({ a: undefined, b: 'others' }));
  t.strictSame([left?.addresses, left?.addressConflict, left?.clusters], [['10.9.0.1'], '', ['a']]);
  t.strictSame(merged(fleet({ b: 'others' }), both[1]), ['10.9.0.2'], 'the last stays');
  t.equal(merged(fleet({ b: 'always' }), both[1]), undefined);
  t.end();
});

t.test('copies: nobody speaks for who is withdrawn, nor do they for others', (t) => {
  const copy = (cluster: string, sourceCluster: string, address: string): ClusterObjects => {
    const { slices, ...rest } = holds(cluster, [address]);
    return { ...rest, slices: slices.map((slice): EndpointSlice => ({ ...slice, form: 'mirrored', sourceCluster })) };
  };
  const policy = fleet({ a: undefined, b: 'others' });
  for (const id of ['a', 'b']) {
    (policy.clusters as Map<string, FleetCluster>).set(id, { ...policy.clusters.get(id)!, exporting: false });
  }
  const again = withLoss({ clusters: policy.clusters, addressConflict: 'servfail' });
  const third = copy('a', 'x', '10.0.0.1');
  t.strictSame(merged(again, third, copy('b', 'y', '10.0.0.2')), ['10.0.0.1'], 'its copies of others are out');
  const ofB = { ...third, slices: [...third.slices, { ...copy('a', 'b', '10.0.0.3').slices[0]!, name: 'web-2' }] };
  t.strictSame(merged(again, ofB), ['10.0.0.1'], 'and copies of it');
  t.end();
});

t.test('a witness hears of it', (t) => {
  const heard: Decision[] = [];
  const clusters = [holds('a', ['10.0.0.1']), holds('b', ['10.0.0.2'])];
  mergeService({ namespace: 'shop', name: 'web', clusters }, fleet({ a: undefined, b: 'others' }), (decision) =>
    heard.push(decision),
  );
  t.match(heard, [{ decision: 'cluster-withdrawn', cluster: 'b' }]);
  t.equal(heard.filter(({ decision }) => decision === 'cluster-withdrawn').length, 1, 'once');
  t.equal(fleet({ a: undefined, b: undefined }).loss, undefined, 'nothing is withdrawn: nothing is merged twice');
  t.end();
});
