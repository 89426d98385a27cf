// The fleet with members of ours, a real store, publisher and zone, and a clock that the test sets: what is unknown, stale,
// withdrawn and ready, read from replies (RFC 8914: INFO-CODE 3 is Stale Answer, 14 is Not Ready).

import t, { type Test } from 'tap';
import { defaultSettings } from '../../src/k8s/cluster-settings.ts';
import type { ClusterEntry, ClusterSettings, ClusterSource } from '../../src/k8s/cluster-settings.ts';
import { Fleet, sourceText } from '../../src/k8s/fleet.ts';
import type { FleetTimes } from '../../src/k8s/fleet.ts';
import type { FleetMember, MemberStatus } from '../../src/k8s/fleet-member.ts';
import { Publisher } from '../../src/k8s/publisher.ts';
import type { ClusterSnapshot } from '../../src/k8s/snapshot.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import { trimObject } from '../../src/k8s/objects/trim.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import type { RawObject } from '../support/api/model.ts';
import { nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { Asker } from '../zones/support-ask.ts';

const NOW = 1_800_000_000;
const SECOND = 1_000;
const TIMES: FleetTimes = {
  startupTimeoutMillis: 30 * SECOND,
  unknownForMillis: 60 * SECOND,
  staleAfterMillis: 60 * SECOND,
};
const settings = {
  zone: 'clusterset.local',
  ttlSeconds: 5,
  negativeTtlSeconds: 5,
  nameServers: [{ name: 'ns.dns.clusterset.local', addresses: ['127.0.0.1'] }],
};

/** A member whose status a test sets. */
class FakeMember implements FleetMember {
  current: MemberStatus = {
    state: 'connecting',
    reason: undefined,
    hasSynced: false,
    hasRead: false,
    outSinceMillis: 0,
  };
  source: ClusterSource;
  isClosed = false;
  moves = 0;

  constructor(source: ClusterSource) {
    this.source = source;
  }

  status(): MemberStatus {
    return this.current;
  }

  details(): ReturnType<FleetMember['details']> {
    return { resources: {}, refusedObjects: 0, firstRefusal: undefined };
  }

  move(source: ClusterSource): boolean {
    if (source.kind === 'manifests') return false;
    this.source = source;
    this.moves++;
    return true;
  }

  close(): Promise<void> {
    this.isClosed = true;
    return Promise.resolve();
  }
}

function entry(id: string, own: Partial<ClusterSettings> = {}, context = id): ClusterEntry {
  return { id, source: { kind: 'kubeconfig', file: 'config', context }, settings: { ...defaultSettings, ...own } };
}

const trimmed = (raw: RawObject): FleetObject => trimObject(raw) as FleetObject;

/** What a cluster holds that exports a headless service with one pod. */
function holds(address: string, name = 'web'): FleetObject[] {
  return [
    serviceImport('shop', name, { type: 'Headless' }),
    serviceExport('shop', name),
    nativeSlice('shop', `${name}-1`, name, { endpoints: [address] }),
  ].map(trimmed);
}

interface RigOptions {
  readonly snapshots?: readonly (readonly [id: string, ageMillis: number, objects: readonly FleetObject[]])[];
  readonly lab?: { isOpen: boolean };
}

class Rig {
  readonly store = new FleetStore({ addressConflict: 'servfail' });
  readonly zone = new Zone(new ImageWriter(1, 2 << 20), settings);
  readonly publisher = new Publisher(this.store, this.zone, () => undefined);
  readonly members = new Map<string, FakeMember>();
  readonly opened: FakeMember[] = [];
  readonly lines: string[] = [];
  readonly fleet: Fleet;
  readonly #asker = new Asker(this.zone.writer.buffer);
  now = 0;

  constructor(t: Test, entries: readonly ClusterEntry[], { snapshots = [], lab }: RigOptions = {}) {
    this.zone.seal(NOW);
    const log =
      (level: string) =>
      (fields: Readonly<Record<string, unknown>>, message: string): void => {
        this.lines.push(
          `${level} ${String(fields['cluster'])} ${(fields['state'] as string | undefined) ?? '-'} ${message}`,
        );
      };
    this.fleet = new Fleet({
      store: this.store,
      publisher: this.publisher,
      zone: this.zone,
      snapshots: undefined,
      times: TIMES,
      openMember: ({ id, source }) => {
        const member = new FakeMember(source);
        this.members.set(id, member);
        this.opened.push(member);
        return member;
      },
      lab,
      log: { info: log('info'), warn: log('warn') },
      now: () => this.now,
    });
    const loaded = snapshots.map(([id, ageMillis, objects]): [string, ClusterSnapshot] => {
      const source = sourceText(entries.find((each) => each.id === id) ?? entry(id));
      return [id, { cluster: id, source, asOfMillis: Date.now() - ageMillis, objects: [...objects] }];
    });
    t.teardown(() => this.fleet.close());
    this.fleet.open(entries, new Map(loaded));
    this.lines.length = 0;
  }

  set(id: string, current: Partial<MemberStatus>): void {
    const member = this.members.get(id)!;
    member.current = { ...member.current, ...current };
  }

  sync(id: string, objects?: readonly FleetObject[]): void {
    if (objects !== undefined) this.store.replace(id, objects);
    this.set(id, { state: 'synced', reason: undefined, hasSynced: true, hasRead: true, outSinceMillis: undefined });
  }

  lose(id: string): void {
    this.set(id, { state: 'out of touch', reason: 'connection refused', outSinceMillis: this.now });
  }

  /** Time goes on, the fleet looks, and everything is published. */
  async look(millis = 0): Promise<void> {
    this.now += millis;
    this.fleet.look();
    await this.publisher.drained();
    this.fleet.look();
  }

  /** `NOERROR 10.1.0.1`, `NXDOMAIN`, `SERVFAIL ede 14`. */
  ask(name: string, type = 'A'): string {
    const { rcode, answers, ede } = this.#asker.ask(name, type);
    const rdata = answers.map((answer) => answer.split(' ').at(-1)).sort();
    return [rcode, ...rdata, ...ede.map((code) => `ede ${String(code)}`)].join(' ');
  }

  get isReady(): boolean {
    return this.fleet.readiness().ready;
  }

  shown(id: string): Readonly<Record<string, unknown>> | undefined {
    return this.fleet.readiness().clusters.find((each) => each.id === id);
  }
}

const WEB = 'web.shop.svc.clusterset.local';
const MISSING = 'none.shop.svc.clusterset.local';
const UNKNOWN = 'SERVFAIL ede 14';

t.test('while a cluster never synced, a missing name of a service is not known', async (t) => {
  const rig = new Rig(t, [entry('a'), entry('b')]);
  const shapes: readonly (readonly [name: string, type: string, whileUnknown: string])[] = [
    [MISSING, 'A', UNKNOWN],
    [`pod-0.a.${MISSING}`, 'AAAA', UNKNOWN],
    [`_http._tcp.${MISSING}`, 'SRV', UNKNOWN],
    ['x.clusterset.local', 'A', 'NXDOMAIN'],
    ['none.svc.clusterset.local', 'A', 'NXDOMAIN'],
    ['www.example.com.clusterset.local', 'A', 'NXDOMAIN'],
    ['www.example.com.svc.clusterset.local', 'A', 'NXDOMAIN'],
  ];
  const check = (isUnknown: boolean, what: string): void => {
    for (const [name, type, whileUnknown] of shapes) {
      t.equal(rig.ask(name, type), isUnknown ? whileUnknown : 'NXDOMAIN', `${what}: ${name}`);
    }
  };
  await rig.look();
  check(true, 'at first');
  await rig.look(3_600 * SECOND);
  check(true, 'for ever, while nothing is known');
  rig.sync('a', holds('10.1.0.1'));
  await rig.look();
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1');
  check(false, 'b had its time');
  await rig.fleet.apply([entry('a'), entry('b'), entry('c')], TIMES);
  await rig.look();
  check(true, 'one that joined');
  await rig.look(TIMES.unknownForMillis - 1);
  check(true, 'as long as it is waited for');
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1', 'what is known is answered');
  await rig.look(1);
  check(false, 'and no longer');
});

t.test('a missing name is absent when the last record is published, not before', async (t) => {
  const rig = new Rig(t, [entry('a')]);
  rig.sync(
    'a',
    Array.from({ length: 3_000 }, (_, i) => trimmed(serviceImport('shop', `s${String(i)}`))),
  );
  const isPublished = (): boolean => rig.zone.size === 3_000;
  let early = 0;
  for (let i = 0; i < 10_000 && !isPublished(); i++) {
    rig.fleet.look();
    if (rig.ask(MISSING) === 'NXDOMAIN') early++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(early, 0);
  t.equal(rig.isReady, false);
  await rig.look();
  t.strictSame([rig.ask(MISSING), rig.isReady], ['NXDOMAIN', true]);
});

t.test('a snapshot counts as a first sync, marked as stale, but not of a required cluster', async (t) => {
  const rig = new Rig(t, [entry('a')], { snapshots: [['a', 20 * SECOND, holds('10.1.0.1')]] });
  await rig.look();
  t.strictSame([rig.ask(WEB), rig.ask(MISSING), rig.isReady], ['NOERROR 10.1.0.1 ede 3', 'NXDOMAIN', true]);
  t.match(rig.shown('a'), { state: 'snapshot', stale: true, outOfTouchSeconds: 20 });
  rig.sync('a', holds('10.1.0.2'));
  await rig.look();
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.2');
  t.match(rig.shown('a'), { state: 'synced', stale: undefined });

  const strict = new Rig(t, [entry('a', { required: true }), entry('b')], {
    snapshots: [['a', 20 * SECOND, holds('10.1.0.1')]],
  });
  strict.sync('b', []);
  await strict.look();
  t.strictSame([strict.ask(WEB), strict.ask(MISSING), strict.isReady], ['NOERROR 10.1.0.1 ede 3', UNKNOWN, false]);
  await strict.look(TIMES.unknownForMillis);
  t.strictSame([strict.ask(MISSING), strict.isReady], ['NXDOMAIN', false], 'however late it is');
  strict.sync('a', holds('10.1.0.1'));
  await strict.look();
  t.equal(strict.isReady, true);
});

t.test('a snapshot of another source is not used', async (t) => {
  const loaded: ClusterSnapshot = {
    cluster: 'a',
    source: 'in-cluster',
    asOfMillis: Date.now(),
    objects: holds('10.1.0.1'),
  };
  const rig = new Rig(t, []);
  await rig.fleet.close();
  rig.fleet.open([entry('a')], new Map([['a', loaded]]));
  await rig.look();
  t.strictSame([rig.ask(WEB), rig.store.keysOf('a')], [UNKNOWN, []]);
  t.match(rig.lines, ['warn a - snapshot not used: it is of another source']);
});

t.test('ready: every cluster, or one when it is late; and it stays so', async (t) => {
  const rig = new Rig(t, [entry('a'), entry('b')]);
  let told = 0;
  void rig.fleet.ready.then(() => told++);
  await rig.look(TIMES.startupTimeoutMillis);
  t.equal(rig.isReady, false, 'late, and nothing is known');
  rig.sync('b', []);
  await rig.look();
  t.strictSame([rig.isReady, told], [true, 1]);
  rig.lose('b');
  await rig.look(3_600 * SECOND);
  t.equal(rig.isReady, true);

  const early = new Rig(t, [entry('a'), entry('b')]);
  early.sync('a', []);
  await early.look(TIMES.startupTimeoutMillis - 1);
  t.equal(early.isReady, false);
  early.sync('b', []);
  await early.look();
  t.equal(early.isReady, true);

  const strict = new Rig(t, [entry('a', { required: true }), entry('b')]);
  strict.sync('b', []);
  await strict.look(3_600 * SECOND);
  t.equal(strict.isReady, false, 'one that is required is waited for');
  const none = new Rig(t, []);
  await none.look();
  t.strictSame([none.isReady, none.ask(MISSING)], [true, 'NXDOMAIN'], 'no cluster at all');
});

t.test('a lab beside the clusters', async (t) => {
  const lab = { isOpen: false };
  const rig = new Rig(t, [entry('a')], { lab });
  rig.sync('a', holds('10.1.0.1'));
  await rig.look(3_600 * SECOND);
  t.strictSame([rig.isReady, rig.ask(MISSING)], [true, UNKNOWN], 'not read yet');
  lab.isOpen = true;
  await rig.look();
  t.equal(rig.ask(MISSING), 'NXDOMAIN');
});

/** Both hold the service; `b` is lost at once, when all is known. */
async function lost(t: Test, own: Partial<ClusterSettings>): Promise<Rig> {
  const rig = new Rig(t, [entry('a'), entry('b', own)]);
  rig.sync('a', holds('10.1.0.1'));
  rig.sync('b', [...holds('10.1.0.2'), ...holds('10.1.0.3', 'only')]);
  await rig.look();
  rig.lose('b');
  return rig;
}

const ONLY = 'only.shop.svc.clusterset.local';

t.test('a cluster out of touch: held, marked when it lasts', async (t) => {
  const rig = await lost(t, {});
  await rig.look(TIMES.staleAfterMillis);
  t.strictSame([rig.ask(WEB), rig.ask(ONLY)], ['NOERROR 10.1.0.1 10.1.0.2', 'NOERROR 10.1.0.3']);
  await rig.look(1);
  t.strictSame([rig.ask(WEB), rig.ask(ONLY)], ['NOERROR 10.1.0.1 10.1.0.2 ede 3', 'NOERROR 10.1.0.3 ede 3']);
  t.match(rig.shown('b'), { state: 'out of touch', reason: 'connection refused', outOfTouchSeconds: 60, stale: true });
  await rig.look(30 * 86_400 * SECOND);
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1 10.1.0.2 ede 3', 'for as long as it lasts');
  rig.sync('b');
  await rig.look();
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1 10.1.0.2');
});

t.test('a cluster whose names are withdrawn', async (t) => {
  const HOLD = 900 * SECOND;
  const cases: readonly (readonly [own: Partial<ClusterSettings>, afterMillis: number, only: string])[] = [
    [{ onLoss: 'withdraw' }, TIMES.staleAfterMillis, 'NOERROR 10.1.0.3 ede 3'],
    [{ holdForMillis: HOLD }, HOLD, 'NOERROR 10.1.0.3 ede 3'],
    [{ holdForMillis: HOLD, withdrawLast: true }, HOLD, 'NXDOMAIN'],
  ];
  for (const [own, afterMillis, only] of cases) {
    const what = JSON.stringify(own);
    const rig = await lost(t, own);
    await rig.look(afterMillis);
    t.match(rig.ask(WEB), /^NOERROR 10\.1\.0\.1 10\.1\.0\.2/, what);
    await rig.look(1);
    t.strictSame([rig.ask(WEB), rig.ask(ONLY)], ['NOERROR 10.1.0.1', only], what);
    t.match(rig.shown('b'), { withdrawn: true });
    rig.set('a', { state: 'out of touch', outSinceMillis: rig.now });
    await rig.look(afterMillis + 1);
    t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1 ede 3', `${what}: a, whose policy is to hold, is all there is`);
    rig.sync('b');
    await rig.look();
    t.strictSame([rig.ask(WEB), rig.ask(ONLY)], ['NOERROR 10.1.0.1 10.1.0.2 ede 3', 'NOERROR 10.1.0.3'], what);
  }
  const both = new Rig(t, [entry('a', { onLoss: 'withdraw' }), entry('b', { onLoss: 'withdraw' })]);
  both.sync('a', holds('10.1.0.1'));
  both.sync('b', holds('10.1.0.2'));
  await both.look();
  for (const id of ['a', 'b']) both.lose(id);
  await both.look(3_600 * SECOND);
  t.equal(both.ask(WEB), 'NOERROR 10.1.0.1 10.1.0.2 ede 3', 'all are lost: none is the last');
});

t.test('a drained cluster gives no endpoints', async (t) => {
  const rig = await lost(t, {});
  rig.sync('b');
  await rig.fleet.apply([entry('a'), entry('b', { state: 'drained' })], TIMES);
  await rig.look();
  t.strictSame([rig.ask(WEB), rig.ask(ONLY)], ['NOERROR 10.1.0.1', 'NXDOMAIN']);
  t.match(rig.shown('b'), { drained: true });
  await rig.fleet.apply([entry('a'), entry('b')], TIMES);
  await rig.look();
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1 10.1.0.2');
});

t.test('clusters come, change and go', async (t) => {
  const rig = await lost(t, {});
  rig.sync('b');
  const [a, b] = [rig.members.get('a')!, rig.members.get('b')!];
  rig.lines.length = 0;
  await rig.fleet.apply([entry('b'), entry('c')], { ...TIMES, staleAfterMillis: SECOND });
  rig.sync('c', holds('10.1.0.4'));
  await rig.look();
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.2 10.1.0.4');
  t.strictSame([a.isClosed, b.isClosed, rig.members.get('b') === b], [true, false, true]);
  rig.lose('c');
  await rig.look(SECOND + 1);
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.2 10.1.0.4 ede 3', 'by the new times');
  t.match(rig.lines, [
    'info a - cluster left the configuration, its names leave',
    'info c - cluster joined the configuration',
    'info c synced cluster in touch',
  ]);
});

t.test('a cluster that is read from elsewhere keeps what it holds until that has synced', async (t) => {
  const rig = await lost(t, {});
  rig.sync('b');
  const before = rig.members.get('b')!;
  await rig.fleet.apply([entry('a'), entry('b', {}, 'another')], TIMES);
  t.strictSame([before.moves, before.isClosed], [1, false], 'by its member');
  const manifests: ClusterEntry = { ...entry('b'), source: { kind: 'manifests', dir: '/b' } };
  await rig.fleet.apply([entry('a'), manifests], TIMES);
  const after = rig.members.get('b')!;
  t.strictSame([before.isClosed, after === before, after.source], [true, false, manifests.source], 'by another one');
  await rig.look();
  t.strictSame([rig.ask(WEB), rig.ask(MISSING)], ['NOERROR 10.1.0.1 10.1.0.2 ede 3', 'NXDOMAIN'], 'nobody follows it');
  t.match(rig.shown('b'), { stale: true });
  rig.sync('b', holds('10.1.0.5'));
  await rig.look();
  t.equal(rig.ask(WEB), 'NOERROR 10.1.0.1 10.1.0.5');
});

t.test('one line a change of state that lasts', async (t) => {
  const rig = new Rig(t, [entry('a')]);
  const lines = async (millis: number): Promise<string[]> => {
    await rig.look(millis);
    return rig.lines.splice(0);
  };
  t.strictSame(await lines(5 * SECOND), [], 'nothing was heard yet');
  rig.set('a', { reason: 'connection refused' });
  t.strictSame(await lines(0), ['warn a connecting cluster not read yet']);
  rig.set('a', { reason: 'connection timed out' });
  t.strictSame(await lines(SECOND), [], 'another reason so soon');
  t.strictSame(await lines(30 * SECOND), ['warn a connecting cluster not read yet']);
  rig.sync('a', holds('10.1.0.1'));
  t.strictSame(await lines(0), ['info a synced cluster in touch']);
  for (let i = 0; i < 5; i++) {
    rig.lose('a');
    t.strictSame(await lines(0), []);
    t.strictSame(await lines(900), [], 'a flap');
    rig.sync('a');
    t.strictSame(await lines(100), []);
  }
  rig.lose('a');
  t.strictSame(await lines(0), []);
  t.strictSame(await lines(SECOND), [
    'warn a out of touch cluster out of touch, its names are held as its policy says',
  ]);
  t.strictSame(await lines(3_600 * SECOND), []);
  rig.sync('a');
  t.strictSame(await lines(0), ['info a synced cluster in touch']);
  rig.set('a', { state: 'degraded', reason: 'serviceexports: forbidden', outSinceMillis: rig.now });
  await lines(0);
  t.strictSame(await lines(SECOND), ['warn a degraded cluster read in part, the rest is held as its policy says']);
});
