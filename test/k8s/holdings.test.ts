// What one generation holds, by event list: nothing before every list is whole, then all of it, and nothing is lost, brought
// back or taken away by what comes late, twice or in another order.

import t from 'tap';
import { policyOf } from '../../src/k8s/policy.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import { limits } from '../../src/limits.ts';
import { mergeService } from '../../src/zones/merge.ts';
import type { RawObject } from '../support/api/model.ts';
import { mirroredSlice, nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import { at, HoldingsRig, slowCommit, storeText } from './support-holdings.ts';

const headless = { type: 'Headless' } as const;
const web = at(10, serviceImport('shop', 'web', headless));
const webExport = at(11, serviceExport('shop', 'web'));
const native = (version: number, name: string, service: string, ...addresses: string[]): RawObject =>
  at(version, nativeSlice('shop', name, service, { endpoints: addresses }));
const mirrored = (version: number, name: string, service: string, source: string, ...addresses: string[]): RawObject =>
  at(version, mirroredSlice('shop', name, service, source, { endpoints: addresses }));
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function imports(count: number, first = 0): RawObject[] {
  return Array.from({ length: count }, (_, i) => at(10 + i, serviceImport('shop', `s${String(first + i)}`)));
}

/** A generation that has committed an exported headless service with one native slice. */
async function committed(): Promise<HoldingsRig> {
  const rig = new HoldingsRig();
  await rig.lists({ imports: [web], exports: [webExport], native: [native(12, 'web-1', 'web', '10.0.0.1')] });
  return rig;
}

const WEB = ['export shop/web', 'import shop/web Headless'];

t.test('nothing is in the store before every list is whole', async (t) => {
  const rig = new HoldingsRig();
  await rig.list('imports', web);
  await rig.list('exports', webExport);
  await rig.list('mirrored', mirrored(13, 'db-b', 'db', 'b', '10.9.0.1'));
  rig.begin('native', native(12, 'web-1', 'web', '10.0.0.1'), native(12, 'other-1', 'other', '10.0.0.9'));
  rig.change('imports', 'ADDED', at(20, serviceImport('shop', 'early')));
  rig.change('mirrored', 'DELETED', mirrored(21, 'db-b', 'db', 'b', '10.9.0.1'));
  t.strictSame([rig.text(), rig.commits, rig.holdings.isCommitted], [[], 0, false]);
  t.equal(await rig.complete('native'), 'taken');
  t.strictSame(rig.text(), [
    'export shop/web',
    'import shop/early ClusterSetIP 10.0.0.1',
    'import shop/web Headless',
    'slice shop/web-1 of web native 10.0.0.1',
  ]);
  t.strictSame([rig.commits, rig.holdings.isCommitted, rig.holdings.size('native')], [1, true, 1]);
});

t.test('a resource that is not served holds nobody up, and comes later', async (t) => {
  const rig = new HoldingsRig();
  await rig.list('imports', web);
  await rig.list('mirrored');
  await rig.holdings.sink('exports').settle();
  await rig.list('native', native(12, 'web-1', 'web', '10.0.0.1'));
  t.strictSame([rig.text(), rig.commits], [['import shop/web Headless'], 1]);
  await rig.list('exports', webExport);
  t.strictSame([rig.text(), rig.wanted], [WEB, ['shop/web']]);
  await rig.adopt('shop/web', native(12, 'web-1', 'web', '10.0.0.1'));
  t.strictSame(rig.text(), [...WEB, 'slice shop/web-1 of web native 10.0.0.1']);
});

t.test('what the store has of a resource that cannot be listed any more stays, until it is listed', async (t) => {
  const rig = await committed();
  const next = new HoldingsRig({ store: rig.store });
  for (const part of ['exports', 'imports'] as const) await next.holdings.sink(part).settle();
  await next.list('mirrored');
  await next.list('native', native(12, 'web-1', 'web', '10.0.0.1'));
  t.strictSame(next.text(), [...WEB, 'slice shop/web-1 of web native 10.0.0.1']);
  t.equal(next.holdings.size('imports'), 1, 'so that it shows that there is something to be stale');
  await next.list('imports', at(30, serviceImport('shop', 'db')));
  t.strictSame(next.text(), [
    'export shop/web',
    'import shop/db ClusterSetIP 10.0.0.1',
    'slice shop/web-1 of web native 10.0.0.1',
  ]);
  await next.list('exports');
  t.strictSame(next.text(), ['import shop/db ClusterSetIP 10.0.0.1']);
});

t.test('what is written until the commit of what cannot be listed stays, too', async (t) => {
  const rig = await committed();
  const next = new HoldingsRig({ store: rig.store });
  await next.holdings.sink('imports').settle();
  await next.holdings.sink('exports').settle();
  await next.list('mirrored');
  next.begin('native', native(12, 'web-1', 'web', '10.0.0.1'), native(12, 'db-1', 'db', '10.0.0.2'));
  rig.change('imports', 'ADDED', at(20, serviceImport('shop', 'db', headless)));
  rig.change('exports', 'ADDED', at(21, serviceExport('shop', 'db')));
  await next.complete('native');
  t.strictSame(next.text().slice(0, 4), ['export shop/db', 'export shop/web', 'import shop/db Headless', WEB[1]]);
  t.strictSame(next.wanted, ['shop/db']);
});

t.test('exports that come and go before the commit, also with a list of theirs', async (t) => {
  const rig = new HoldingsRig();
  await rig.list('imports', web);
  await rig.list('exports', webExport);
  rig.begin('native', native(12, 'web-1', 'web', '10.0.0.1'), native(12, 'db-1', 'db', '10.0.0.2'));
  rig.change('exports', 'ADDED', at(30, serviceExport('shop', 'db')));
  await rig.list('exports', at(30, serviceExport('shop', 'db')), at(31, serviceExport('shop', 'api')));
  await rig.complete('native');
  t.strictSame(rig.wanted, [], 'not before the commit');
  await rig.list('mirrored');
  t.strictSame(rig.text(), ['export shop/api', 'export shop/db', 'import shop/web Headless']);
  t.strictSame(rig.wanted.sort(), ['shop/api', 'shop/db']);
});

t.test('at no moment of a commit is a name empty that had an endpoint', async (t) => {
  // Copies of a's endpoints stand in b until a exports; then a speaks for itself.
  const store = new FleetStore({ addressConflict: 'servfail' });
  store.addCluster(policyOf('a'));
  store.addCluster(policyOf('b'));
  const b = new HoldingsRig({ store, cluster: 'b' });
  const names = ['web', 'db', 'api'];
  await b.lists({
    imports: names.map((name) => at(5, serviceImport('shop', name, headless))),
    mirrored: names.map((name, i) => mirrored(6, `${name}-a`, name, 'a', `10.0.0.${String(i)}`)),
  });
  let moments = 0;
  const empty: string[] = [];
  store.onChange(() =>
    setImmediate(() => {
      store.takeDirty();
      moments++;
      for (const name of names) {
        if (mergeService(store.gather(`shop/${name}`), store.fleet())?.endpoints.length === 0) empty.push(name);
      }
    }),
  );
  const a = new HoldingsRig({ store });
  const exported = {
    exports: names.map((name) => at(7, serviceExport('shop', name))),
    native: names.map((name, i) => native(8, `${name}-1`, name, `10.0.0.${String(i)}`)),
    imports: names.map((name) => at(9, serviceImport('shop', name, headless))),
  };
  await a.lists(exported);
  await turn();
  t.strictSame(empty, []);
  t.ok(moments > 6, `${String(moments)} moments seen`);
  // The next generation finds other slices.
  moments = 0;
  const next = new HoldingsRig({ store });
  await next.lists({
    ...exported,
    native: names.map((name, i) => native(20, `${name}-2`, name, `10.0.1.${String(i)}`)),
  });
  await turn();
  t.strictSame(empty, []);
  t.ok(moments > 2, `${String(moments)} moments seen`);
  // And one in which a exports no more: copies speak again, at once.
  const last = new HoldingsRig({ store });
  await last.lists({ imports: exported.imports });
  await turn();
  t.strictSame(empty, []);
});

t.test('who wrote before the commit must not write over it', async (t) => {
  const rig = await committed();
  const order: string[] = [];
  const next = new HoldingsRig({
    store: rig.store,
    onCommitting: () => {
      order.push(...rig.text());
      rig.holdings.close();
    },
  });
  await next.list('imports', web);
  await next.list('exports', webExport);
  await next.list('mirrored');
  const done = next.list('native', native(15, 'web-1', 'web', '10.0.0.5'));
  rig.change('native', 'MODIFIED', native(14, 'web-1', 'web', '10.0.0.4'));
  await done;
  t.equal(order.length, 3, 'told before anything was written');
  t.strictSame(rig.text(), [...WEB, 'slice shop/web-1 of web native 10.0.0.5']);
});

t.test('a list that ends while a commit runs is swapped in after it, and loses nothing', async (t) => {
  const rig = new HoldingsRig();
  await rig.list('imports', ...imports(30));
  await rig.list('exports', webExport);
  await rig.list('mirrored');
  const commit = rig.list('native');
  t.not(rig.holdings.sink('imports').busy, undefined, 'who reads must wait');
  const relist = rig.list('imports', ...imports(29), web);
  t.equal(await commit, 'taken');
  t.equal(await relist, 'taken');
  t.equal(rig.holdings.sink('imports').busy, undefined);
  t.strictSame([rig.commits, rig.holdings.size('imports')], [1, 30]);
  t.equal(rig.text().length, 31);
  t.ok(rig.text().includes('import shop/web Headless') && !rig.text().some((line) => line.includes('shop/s29')));
  rig.change('imports', 'DELETED', at(50, serviceImport('shop', 'web')));
  t.equal(rig.text().length, 30, 'what comes then reaches the store');
});

t.test('a list of one part takes away what it lacks, and nothing else', async (t) => {
  const rig = await committed();
  rig.change('imports', 'ADDED', at(20, serviceImport('shop', 'db')));
  await rig.list('imports', at(20, serviceImport('shop', 'db', { ips: ['10.0.0.7'] })));
  t.strictSame(rig.text(), [
    'export shop/web',
    'import shop/db ClusterSetIP 10.0.0.7',
    'slice shop/web-1 of web native 10.0.0.1',
  ]);
  rig.begin('imports', web);
  rig.change('imports', 'MODIFIED', at(22, serviceImport('shop', 'db', { ips: ['10.0.0.8'] })));
  rig.begin('imports', at(23, serviceImport('shop', 'db')));
  await rig.complete('imports');
  t.ok(rig.text().includes('import shop/db ClusterSetIP 10.0.0.1'), 'a list that was begun and not ended is forgotten');
  t.notOk(rig.text().includes('import shop/web Headless'));
});

t.test('what is older than what was seen is ignored', async (t) => {
  const rig = await committed();
  const put = (version: number, address: string): RawObject =>
    at(version, serviceImport('shop', 'db', { ips: [address] }));
  const line = (): string | undefined => rig.text().find((each) => each.includes('shop/db'));
  const steps: readonly (readonly [type: 'ADDED' | 'MODIFIED' | 'DELETED', version: number, after: string])[] = [
    ['ADDED', 20, '10.0.0.20'],
    ['MODIFIED', 19, '10.0.0.20'],
    ['DELETED', 18, '10.0.0.20'],
    ['MODIFIED', 21, '10.0.0.21'],
    ['MODIFIED', 21, '10.0.0.21'],
    ['DELETED', 22, ''],
    ['MODIFIED', 21, ''],
    ['ADDED', 20, ''],
    ['DELETED', 22, ''],
    ['ADDED', 25, '10.0.0.25'],
    ['DELETED', 24, '10.0.0.25'],
  ];
  for (const [type, version, after] of steps) {
    rig.change('imports', type, put(version, `10.0.0.${String(version)}`));
    t.equal(line(), after === '' ? undefined : `import shop/db ClusterSetIP ${after}`, `${type} ${String(version)}`);
  }
  // A list is the truth whatever its numbers: an etcd that was restored counts from lower ones.
  await rig.list('imports', put(3, '10.0.0.3'));
  t.equal(line(), 'import shop/db ClusterSetIP 10.0.0.3');
  rig.change('imports', 'MODIFIED', put(4, '10.0.0.4'));
  t.equal(line(), 'import shop/db ClusterSetIP 10.0.0.4');
  rig.change('imports', 'DELETED', put(5, '10.0.0.5'));
  await rig.list('imports');
  rig.change('imports', 'ADDED', put(2, '10.0.0.2'));
  t.equal(line(), 'import shop/db ClusterSetIP 10.0.0.2', 'nor is what went before the list remembered');
});

t.test('deletions that are remembered are bounded', async (t) => {
  const rig = new HoldingsRig({ limits: { ...slowCommit, tombstones: 2 } });
  await rig.lists({});
  for (const [i, object] of imports(3).entries()) {
    rig.change('imports', 'ADDED', object);
    rig.change('imports', 'DELETED', at(100 + i, serviceImport('shop', `s${String(i)}`)));
  }
  for (const object of imports(3)) rig.change('imports', 'ADDED', object);
  t.strictSame(rig.text(), ['import shop/s0 ClusterSetIP 10.0.0.1'], 'the oldest is forgotten');
});

t.test('a slice that changes its label is in two watches, in any order', async (t) => {
  const asNative = native(20, 'web-9', 'web', '10.0.0.9');
  const asMirror = mirrored(30, 'web-9', 'web', 'b', '10.0.0.30');
  const toMirror = [...WEB, 'slice shop/web-1 of web native 10.0.0.1', 'slice shop/web-9 of web from b 10.0.0.30'];
  const toNative = [...WEB, 'slice shop/web-1 of web native 10.0.0.1', 'slice shop/web-9 of web native 10.0.0.40'];
  for (const isLeftFirst of [true, false]) {
    const rig = await committed();
    const move = (left: () => void, entered: () => void): void => {
      for (const step of isLeftFirst ? [left, entered] : [entered, left]) step();
    };
    rig.change('native', 'ADDED', asNative);
    move(
      () => rig.change('native', 'DELETED', at(30, asNative)),
      () => rig.change('mirrored', 'ADDED', asMirror),
    );
    t.strictSame(rig.text(), toMirror, `native to mirrored, ${isLeftFirst ? 'left' : 'entered'} first`);
    move(
      () => rig.change('mirrored', 'DELETED', at(40, asMirror)),
      () => rig.change('native', 'ADDED', native(40, 'web-9', 'web', '10.0.0.40')),
    );
    t.strictSame(rig.text(), toNative, `and back, ${isLeftFirst ? 'left' : 'entered'} first`);
    rig.change('native', 'DELETED', at(50, asNative));
    t.strictSame(rig.text(), toNative.slice(0, 3), 'and gone');
  }
});

t.test('a slice that changes its label between two lists', async (t) => {
  const early = native(20, 'web-9', 'web', '10.0.0.9');
  const late = mirrored(30, 'web-9', 'web', 'b', '10.0.0.30');
  const lines = [...WEB, 'slice shop/web-9 of web from b 10.0.0.30'];
  const rig = new HoldingsRig();
  await rig.lists({ imports: [web], exports: [webExport], mirrored: [late], native: [early] });
  t.strictSame(rig.text(), lines, 'the newer one stands, though it is put first');
  rig.change('native', 'DELETED', at(30, early));
  t.strictSame(rig.text(), lines);
  const back = await committed();
  back.change('native', 'ADDED', native(40, 'web-9', 'web', '10.0.0.40'));
  await back.list('mirrored', late);
  const expected = [...WEB, 'slice shop/web-1 of web native 10.0.0.1', 'slice shop/web-9 of web native 10.0.0.40'];
  t.strictSame(back.text(), expected, 'an older list does not bring it back');
  back.change('mirrored', 'DELETED', at(40, late));
  t.strictSame(back.text(), expected);
  // An etcd that was restored counts from lower numbers: one part is listed before the other.
  const restored = await committed();
  await restored.list('mirrored', late);
  await restored.list('native', native(5, 'web-9', 'web', '10.0.0.5'));
  await restored.list('mirrored');
  t.strictSame(restored.text(), [...WEB, 'slice shop/web-9 of web native 10.0.0.5']);
});

t.test('a new export adopts its slices beside the watch, whose word stands', async (t) => {
  const rig = await committed();
  rig.change('native', 'ADDED', native(20, 'db-0', 'db', '10.0.1.1'));
  t.strictSame(rig.wanted, []);
  t.equal(rig.text().length, 3, 'not exported: not kept');
  rig.change('exports', 'ADDED', at(21, serviceExport('shop', 'db')));
  t.strictSame(rig.wanted, ['shop/db']);
  const adoption = rig.holdings.beginAdoption('shop/db');
  for (const name of ['db-0', 'db-1', 'db-2', 'db-3']) adoption.item(native(20, name, 'db', '10.0.1.1'));
  adoption.item(native(20, 'other-1', 'other', '10.0.1.1'));
  rig.change('native', 'MODIFIED', native(25, 'db-1', 'db', '10.0.1.25'));
  rig.change('native', 'DELETED', native(26, 'db-2', 'db', '10.0.1.1'));
  rig.change('native', 'MODIFIED', native(27, 'db-3', 'other', '10.0.1.27'));
  const slices = (): string[] => rig.text().filter((line) => line.includes('slice shop/db'));
  t.strictSame(slices(), ['slice shop/db-1 of db native 10.0.1.25']);
  await adoption.take();
  adoption.end();
  const expected = ['slice shop/db-0 of db native 10.0.1.1', 'slice shop/db-1 of db native 10.0.1.25'];
  t.strictSame(slices(), expected);
  rig.change('native', 'MODIFIED', native(19, 'db-0', 'db', '10.0.1.19'));
  t.strictSame(slices(), expected, 'older than what was adopted');
  rig.change('exports', 'MODIFIED', at(30, serviceExport('shop', 'db', { status: {} })));
  t.strictSame(rig.wanted, ['shop/db'], 'known already');
  rig.change('exports', 'DELETED', at(31, serviceExport('shop', 'db')));
  t.strictSame(slices(), []);
  t.equal(rig.holdings.size('native'), 1);
});

t.test('an export that goes during its adoption, and comes again', async (t) => {
  const rig = await committed();
  const slices = [native(20, 'db-0', 'db', '10.0.1.1')];
  const there = 'slice shop/db-0 of db native 10.0.1.1';
  rig.change('exports', 'ADDED', at(21, serviceExport('shop', 'db')));
  const adoption = rig.holdings.beginAdoption('shop/db');
  adoption.item(slices[0]);
  rig.change('exports', 'DELETED', at(22, serviceExport('shop', 'db')));
  await adoption.take();
  adoption.end();
  t.strictSame([rig.text().length, rig.holdings.size('native')], [3, 1], 'gone: nothing of it is kept');
  rig.change('exports', 'ADDED', at(23, serviceExport('shop', 'db')));
  await rig.adopt('shop/db', ...slices);
  t.ok(rig.text().includes(there));
  rig.change('exports', 'DELETED', at(24, serviceExport('shop', 'db')));
  rig.change('exports', 'ADDED', at(25, serviceExport('shop', 'db')));
  rig.change('native', 'MODIFIED', native(19, 'db-0', 'db', '10.0.1.19'));
  t.notOk(
    rig.text().some((line) => line.includes('slice shop/db')),
    'an older event brings nothing back',
  );
  await rig.adopt('shop/db', ...slices);
  t.ok(rig.text().includes(there));
});

t.test('adoption during a list of all native slices', async (t) => {
  const rig = await committed();
  const db = native(20, 'db-0', 'db', '10.0.1.1');
  const slices = (): string[] => rig.text().filter((line) => line.startsWith('slice shop/db'));
  const there = ['slice shop/db-0 of db native 10.0.1.1'];
  // The list passes the slice before its service is exported.
  rig.begin('native', db, native(12, 'web-1', 'web', '10.0.0.1'));
  rig.change('exports', 'ADDED', at(21, serviceExport('shop', 'db')));
  t.strictSame(rig.wanted, ['shop/db']);
  await rig.adopt('shop/db', db);
  t.strictSame(slices(), there);
  await rig.complete('native');
  t.strictSame([slices(), rig.wanted], [there, ['shop/db', 'shop/db']], 'it stays, and is asked for again');
  const next = rig.holdings.beginAdoption('shop/db');
  next.item(native(22, 'db-1', 'db', '10.0.1.2'));
  await next.take();
  next.end();
  t.strictSame(slices(), ['slice shop/db-1 of db native 10.0.1.2'], 'that list decides on it');
  // An adoption that was overtaken by a newer list of all says nothing more.
  const old = rig.holdings.beginAdoption('shop/db');
  old.item(native(22, 'db-1', 'db', '10.0.1.2'));
  await rig.list('native', native(12, 'web-1', 'web', '10.0.0.1'), native(40, 'db-2', 'db', '10.0.1.3'));
  await old.take();
  old.end();
  t.strictSame(slices(), ['slice shop/db-2 of db native 10.0.1.3']);
  // An export that goes while the list is read.
  rig.begin('native', native(12, 'web-1', 'web', '10.0.0.1'), native(40, 'db-2', 'db', '10.0.1.3'));
  rig.change('exports', 'DELETED', at(41, serviceExport('shop', 'db')));
  await rig.complete('native');
  t.strictSame([slices(), rig.holdings.size('native')], [[], 1]);
});

t.test('an export while native slices are listed a second time, around the commit', async (t) => {
  const rig = new HoldingsRig();
  const db = native(20, 'db-0', 'db', '10.0.1.1');
  await rig.list('mirrored');
  await rig.list('exports', webExport);
  await rig.list('native', native(12, 'web-1', 'web', '10.0.0.1'));
  rig.begin('native', native(12, 'web-1', 'web', '10.0.0.1'), db);
  rig.change('exports', 'ADDED', at(21, serviceExport('shop', 'db')));
  await rig.list('imports', web);
  t.strictSame([rig.commits, rig.wanted], [1, ['shop/db']]);
  await rig.adopt('shop/db', db);
  await rig.complete('native');
  t.ok(rig.text().includes('slice shop/db-0 of db native 10.0.1.1'));
  t.strictSame(rig.wanted, ['shop/db', 'shop/db']);
});

t.test('versions that are no numbers: the watch stands against a list beside it', async (t) => {
  const rig = await committed();
  rig.change('exports', 'ADDED', at(21, serviceExport('shop', 'db')));
  const adoption = rig.holdings.beginAdoption('shop/db');
  adoption.item(native(NaN, 'db-0', 'db', '10.0.1.1'));
  adoption.item(native(NaN, 'db-1', 'db', '10.0.1.1'));
  rig.change('native', 'MODIFIED', native(NaN, 'db-0', 'db', '10.0.1.2'));
  rig.change('native', 'DELETED', native(NaN, 'db-1', 'db', '10.0.1.1'));
  await adoption.take();
  adoption.end();
  const slices = rig.text().filter((line) => line.startsWith('slice shop/db'));
  t.strictSame(slices, ['slice shop/db-0 of db native 10.0.1.2']);
});

t.test('an export while native slices are listed over what an earlier generation held', async (t) => {
  const rig = await committed();
  const next = new HoldingsRig({ store: rig.store });
  await next.list('imports', web);
  await next.list('mirrored');
  await next.list('exports');
  next.begin('native', native(12, 'web-1', 'web', '10.0.0.1'));
  next.change('exports', 'ADDED', webExport);
  const seen: number[] = [];
  rig.store.onChange(() => setImmediate(() => seen.push(rig.store.slicesOf('a', 'shop/web').length)));
  await next.complete('native');
  t.strictSame(next.wanted, ['shop/web']);
  t.ok(rig.text().includes('slice shop/web-1 of web native 10.0.0.1'), 'kept until they are listed');
  await next.adopt('shop/web', native(30, 'web-2', 'web', '10.0.0.2'));
  t.strictSame(rig.text(), [...WEB, 'slice shop/web-2 of web native 10.0.0.2']);
  t.notOk(seen.includes(0));
});

t.test('a list that takes most names away is believed the second time', async (t) => {
  const { massDeleteLeast: least, massDeleteShare: share } = limits.reflector;
  t.strictSame([least, share], [20, 0.8]);
  const cases: readonly (readonly [before: number, missing: number, isHeld: boolean])[] = [
    [19, 19, false],
    [20, 20, true],
    [100, 80, false],
    [100, 81, true],
    [24, 20, true],
    [25, 20, false],
  ];
  for (const [before, missing, isHeld] of cases) {
    const what = `${String(missing)} of ${String(before)}`;
    const rig = new HoldingsRig();
    await rig.lists({ imports: imports(before) });
    const rest = imports(before - missing);
    t.equal(await rig.list('imports', ...rest), isHeld ? 'held' : 'taken', what);
    t.equal(rig.text().length, isHeld ? before : before - missing, what);
    if (!isHeld) continue;
    rig.change('imports', 'ADDED', at(300, serviceImport('shop', 'new')));
    t.equal(await rig.list('imports', ...rest), 'taken', 'the second list says so too');
    t.equal(rig.text().length, before - missing, what);
    const again = new HoldingsRig({ store: rig.store });
    await again.lists({ imports: imports(before) });
    t.equal(await again.list('imports'), 'held', 'and it is held anew the next time');
    t.equal(await again.list('imports', ...imports(before)), 'taken', 'a wrong list in between');
    t.equal(await again.list('imports'), 'held');
  }
});

t.test('a first commit that takes most names away is held, and believed when told so', async (t) => {
  for (const [missing, isHeld] of [
    [80, false],
    [81, true],
    [100, true],
  ] as const) {
    const store = new FleetStore({ addressConflict: 'servfail' });
    store.addCluster(policyOf('a'));
    await new HoldingsRig({ store }).lists({ imports: imports(100) });
    const rig = new HoldingsRig({ store });
    await rig.lists({ imports: imports(100 - missing) });
    t.strictSame([rig.commits, rig.held], isHeld ? [0, [`${String(missing)} of 100`]] : [1, []]);
    t.equal(storeText(store, 'a').length, isHeld ? 100 : 100 - missing);
    if (!isHeld) continue;
    const believed = new HoldingsRig({ store, isBelieved: true });
    await believed.lists({ imports: imports(100 - missing) });
    t.strictSame([believed.commits, believed.held], [1, []]);
    t.equal(storeText(store, 'a').length, 100 - missing);
  }
});

t.test('a closed generation writes nothing', async (t) => {
  const rig = await committed();
  const before = rig.text();
  const other = at(30, serviceImport('shop', 'db'));
  const adoption = rig.holdings.beginAdoption('shop/web');
  adoption.item(native(40, 'web-2', 'web', '10.0.0.2'));
  rig.begin('imports', other);
  rig.holdings.close();
  rig.change('imports', 'DELETED', at(50, web));
  t.equal(await rig.complete('imports'), 'taken');
  await adoption.take();
  await rig.list('native');
  await rig.holdings.sink('exports').settle();
  t.strictSame(rig.text(), before);
  // Also in the middle of a commit, or of a swap.
  const half = new HoldingsRig({ store: rig.store });
  await half.list('exports');
  await half.list('native');
  await half.list('mirrored');
  const done = half.list('imports', ...imports(10));
  await turn();
  half.holdings.close();
  await done;
  const after = rig.text();
  t.ok(after.length > 3 && after.length < 13, `${String(after.length)} objects`);
  t.ok(
    before.every((line) => after.includes(line)),
    'nothing was taken away',
  );
  t.strictSame([half.commits, half.holdings.isCommitted], [0, false]);
  const swap = new HoldingsRig();
  await swap.lists({ imports: imports(10) });
  const swapping = swap.list('imports', ...imports(10, 100));
  await turn();
  swap.holdings.close();
  await swapping;
  t.ok(imports(10).every((_, i) => swap.text().includes(`import shop/s${String(i)} ClusterSetIP 10.0.0.1`)));
});

t.test('who waits for the exports of a closed generation waits no longer', async (t) => {
  const rig = new HoldingsRig();
  rig.holdings.close();
  await rig.holdings.exportsKnown;
  t.pass();
});

t.test('refused fields are kept of objects that there are, and bounded', async (t) => {
  const bad = (version: number, name: string): RawObject => at(version, serviceImport('shop', name, { ips: ['x'] }));
  const rig = new HoldingsRig({ limits: { ...slowCommit, refusedObjects: 2 } });
  await rig.lists({ imports: [bad(10, 'a'), bad(11, 'b'), bad(12, 'c'), web] });
  t.equal(rig.holdings.refusedObjects, 2);
  t.match(rig.holdings.firstRefusal, /^ServiceImport shop\/a spec\.ips\.0: "x" is not an IP address$/);
  rig.change('imports', 'MODIFIED', at(20, serviceImport('shop', 'a')));
  rig.change('imports', 'DELETED', bad(21, 'b'));
  t.equal(rig.holdings.refusedObjects, 0, 'mended, and gone');
  rig.change('imports', 'MODIFIED', bad(22, 'c'));
  rig.change('imports', 'MODIFIED', bad(9, 'a'));
  t.match(rig.holdings.firstRefusal, /shop\/c/, 'what is old says nothing');
  await rig.list('imports', web);
  t.equal(rig.holdings.firstRefusal, undefined);
  // Refused whole: nothing of it is held.
  const wrong = at(30, { ...serviceImport('shop', 'web'), spec: { type: 'Other' } });
  rig.change('imports', 'MODIFIED', wrong);
  t.strictSame([rig.text(), rig.holdings.refusedObjects], [[], 1]);
  // Nobody asked for slices of services that are not exported.
  rig.change('native', 'ADDED', native(31, 'other-1', 'other', 'x'));
  await rig.list('native', native(31, 'other-1', 'other', 'x'));
  t.equal(rig.holdings.refusedObjects, 1);
});

t.test('an audit counts what the watch has not brought', async (t) => {
  const rig = new HoldingsRig();
  await rig.lists({ imports: imports(5) });
  const audit = async (...objects: readonly RawObject[]): Promise<string | undefined> => {
    rig.begin('imports', ...objects);
    await rig.complete('imports', '50');
    return rig.audits.at(-1);
  };
  t.equal(await audit(...imports(5)), 'imports 0');
  t.equal(await audit(...imports(5), at(51, serviceImport('shop', 'new'))), 'imports 0', 'newer than what was seen');
  const missed = [at(40, serviceImport('shop', 's1')), at(41, serviceImport('shop', 'missed'))];
  t.equal(await audit(...imports(1), ...missed, at(51, serviceImport('shop', 'new'))), 'imports 5');
  t.equal(rig.text().length, 4, 'and it is put right');
});

t.test('objects of a snapshot that were not listed go with the commit', async (t) => {
  const store = new FleetStore({ addressConflict: 'servfail' });
  store.addCluster(policyOf('a'));
  const before = await committed();
  store.replace('a', [...before.store.objectsOf('a')] as FleetObject[]);
  const rig = new HoldingsRig({ store });
  await rig.lists({ imports: [at(40, serviceImport('shop', 'db'))] });
  t.strictSame(rig.text(), ['import shop/db ClusterSetIP 10.0.0.1']);
});
