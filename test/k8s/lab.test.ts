// A lab on a real disk, followed by the real chokidar. What is looked at is the store, never an event.
import { limits } from '../../src/limits.ts';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { Lab, LabError, loadLab } from '../../src/k8s/manifests/lab.ts';
import { findingText, type Finding } from '../../src/k8s/manifests/manifests.ts';
import { FollowedManifests } from '../../src/k8s/manifests/manifests-follow.ts';
import { FolderError } from '../../src/k8s/manifests/folder-watch.ts';
import { policyOf } from '../../src/k8s/policy.ts';
import { FleetStore } from '../../src/k8s/store.ts';

const examples = path.join(import.meta.dirname, '../../examples/lab');

function imported(name: string, ip = '10.0.0.1', namespace = 'shop'): string {
  return `apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImport
metadata: {namespace: ${namespace}, name: ${name}}
spec: {type: ClusterSetIP, ips: [${ip}], ports: [{name: http, port: 80}]}
`;
}

/** A folder of its own with these files; removed after the test. */
async function folder(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'lab-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  await fill(dir, files);
  return dir;
}

async function fill(dir: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    await writeFile(path.join(dir, name), text);
  }
}

/** The findings as text, without the folder. */
function said(findings: readonly Finding[], dir: string): string[] {
  return findings.map((finding) => `${finding.severity} ${findingText(finding).replaceAll(dir, '')}`);
}

t.test('the example lab has nothing wrong with it', async (t) => {
  const { clusters, findings } = await loadLab(examples);
  t.strictSame(findings, []);
  t.strictSame([...clusters.keys()], ['ap-south', 'eu-west', 'us-east']);
  for (const objects of clusters.values()) {
    for (const { kind, object } of objects) {
      if (kind !== 'ServiceImport' || object.type !== 'ClusterSetIP') continue;
      t.ok(object.ips.length > 0 && object.ports.some(({ name }) => name !== ''), object.name);
    }
  }
});

t.test('files', async (t) => {
  const list = { apiVersion: 'multicluster.x-k8s.io/v1alpha1', kind: 'ServiceImportList', items: [{}, {}] };
  const items = ['j1', 'j2'].map((name, i) => ({
    spec: { type: 'Headless', ports: [{ name: 'a"\\', port: 1 + i }] },
    metadata: { name, note: '"}],\\' },
  }));
  const big = { apiVersion: 'v1', kind: 'List', padding: 'x'.repeat(1 << 20), items: [{ ...list, items }, items] };
  const keys = 'abcdefgh'.split('');
  const bomb = keys
    .map((key, i) => `${key}: &${key} [${`${i === 0 ? 'x' : `*${keys[i - 1]!}`},`.repeat(9)}]\n`)
    .join('');
  const dir = await folder(t, {
    'README.md': '# nothing',
    'stray.yaml': imported('stray'),
    '.hidden/a.yaml': 'x: [',
    'not_a_label/a.yaml': '',
    'EU.west/b/deep.yml': `# two documents\n${imported('one')}---\n${imported('two')}---\n---\n`,
    'EU.west/c.json': JSON.stringify({ ...list, items }, null, 1),
    'EU.west/d.yaml': `${imported('three', '127.0.0.1')}---\n${imported('one')}---\nkind: Pod\n---\n- 7\n`,
    'EU.west/e.yaml': imported('bad.name'),
    'EU.west/f.json': JSON.stringify(big, null, 1),
    'EU.west/g.json': '{\n"kind": oops }',
    'EU.west/h.yaml': 'a: 1\nb: [\n',
    'EU.west/i.json': `// as people write it\n${JSON.stringify({ kind: 'List', items: [] })}`,
    'EU.west/j.yaml': bomb,
    'EU.west/.k.yaml': 'x: [',
    'EU.west/l.txt': 'x: [',
    'eu.west/m.yaml': '',
  });
  await writeFile(path.join(dir, 'EU.west/n.yaml'), Buffer.alloc(limits.lab.fileOctets + 1, 32));
  await symlink('..', path.join(dir, 'EU.west/b/loop'));
  const { clusters, findings } = await loadLab(dir);
  t.strictSame([...clusters.keys()], ['eu.west']);
  t.strictSame(
    clusters.get('eu.west')?.map(({ object }) => `${object.namespace}/${object.name}`),
    ['shop/one', 'shop/two', 'default/j1', 'default/j2', 'shop/three'],
  );
  const label = String.raw`spec.ports[0].name: "a\"\\" is not a DNS label`;
  const lines = said(findings, dir).map((line) => line.replace(/(Unexpected token) .*/, '$1')); // V8's own words
  t.strictSame(lines, [
    'error /eu.west: is left out: EU.west is the same cluster id',
    'error /not_a_label: is left out: "not_a_label" is no cluster id (DNS labels)',
    'warning /stray.yaml: is left out: manifests belong into the folder of their cluster',
    `warning /EU.west/c.json:10: ServiceImport default/j1: ${label}`,
    `warning /EU.west/c.json:25: ServiceImport default/j2: ${label}`,
    'warning /EU.west/d.yaml:4: ServiceImport shop/three: spec.ips[0]: "127.0.0.1" is a loopback address',
    'warning /EU.west/d.yaml:13: a list is not a Kubernetes object',
    'warning /EU.west/d.yaml:6: ServiceImport shop/one: is already in /EU.west/b/deep.yml:2, which stays',
    'error /EU.west/e.yaml:3: ServiceImport shop/bad.name: metadata.name: "bad.name" is not a DNS label',
    `warning /EU.west/f.json:15: ServiceImport default/j1: ${label}`,
    `warning /EU.west/f.json:30: ServiceImport default/j2: ${label}`,
    'warning /EU.west/f.json:42: a list is not a Kubernetes object',
    'warning /EU.west/f.json:10: ServiceImport default/j1: is already in /EU.west/c.json:5, which stays',
    'warning /EU.west/f.json:25: ServiceImport default/j2: is already in /EU.west/c.json:20, which stays',
    'error /EU.west/g.json:2: does not parse: Unexpected token',
    'error /EU.west/h.yaml:3: does not parse: Flow sequence in block collection must be sufficiently indented and end with a ]',
    'error /EU.west/i.json:1: does not parse: Unexpected token',
    'error /EU.west/j.yaml:1: does not parse: Excessive alias count indicates a resource exhaustion attack',
    'error /EU.west/n.yaml: is larger than 64 MiB',
  ]);
});

t.test('no lab', async (t) => {
  const dir = await folder(t, { file: '' });
  const store = new FleetStore({ addressConflict: 'servfail' });
  const missing = path.join(dir, 'missing');
  await t.rejects(loadLab(missing), new LabError(`${missing}: is not there`));
  await t.rejects(
    Lab.open(path.join(dir, 'file'), store, () => undefined),
    { message: /is not a folder$/ },
  );
  t.match(said((await loadLab(dir)).findings, dir), ['warning : has no folder: a lab has one for each cluster']);
});

/** Each service's addresses by cluster, as `a shop/web=10.0.0.1`. */
function held(store: FleetStore): string[] {
  return [...store.keys()]
    .flatMap((key) => store.gather(key).clusters.map((c) => `${c.cluster} ${key}=${c.serviceImport?.ips.join() ?? ''}`))
    .sort();
}

/** Waits until the store holds this, at most for so long, and says how long it took. */
async function until(t: Test, store: FleetStore, expected: readonly string[], what: string): Promise<number> {
  const start = performance.now();
  while (held(store).join() !== expected.join() && performance.now() - start < 3000) await delay(2);
  const took = performance.now() - start;
  t.strictSame(held(store), expected, `${what} (${took.toFixed(0)} ms)`);
  return took;
}

async function opened(t: Test, dir: string): Promise<{ store: FleetStore; lab: Lab; found: string[] }> {
  const store = new FleetStore({ addressConflict: 'servfail' });
  const found: string[] = [];
  const lab = await Lab.open(dir, store, (findings) => found.push(...said(findings, dir)));
  t.teardown(() => lab.close());
  await delay(150); // until it watches, so that what follows is seen as events
  return { store, lab, found };
}

t.test('changes on disk', async (t) => {
  const dir = await folder(t, { 'a/web.yaml': imported('web'), 'b/web.yaml': imported('web', '10.0.0.2') });
  const { store, lab, found } = await opened(t, dir);
  const a = path.join(dir, 'a/web.yaml');
  const b = 'b shop/web=10.0.0.2';
  t.strictSame(held(store), ['a shop/web=10.0.0.1', b], 'at once');
  const times: number[] = [];
  for (let i = 1; i <= 9; i++) {
    await writeFile(a, imported('web', `10.1.0.${i}`));
    times.push(await until(t, store, [`a shop/web=10.1.0.${i}`, b], 'written in place'));
    await delay(i * 10);
  }
  times.sort((x, y) => x - y);
  t.ok(times[4]! < 80, `in ${times[4]!.toFixed(0)} ms (median)`);
  await fill(dir, { 'a/web.yaml.tmp': imported('web', '10.1.0.20') });
  await rename(a + '.tmp', a);
  await until(t, store, ['a shop/web=10.1.0.20', b], 'renamed over');
  await fill(dir, { 'c/deep/er/web.json': JSON.stringify({ kind: 'List', items: [] }) });
  await fill(dir, { 'c/deep/er/web.yaml': imported('web') });
  await until(t, store, ['a shop/web=10.1.0.20', b, 'c shop/web=10.0.0.1'], 'a cluster appears');
  await fill(dir, { 'c/deep/er/db.yaml': imported('db') });
  await until(t, store, ['a shop/web=10.1.0.20', b, 'c shop/db=10.0.0.1', 'c shop/web=10.0.0.1'], 'a file appears');
  await rm(path.join(dir, 'c/deep/er/web.yaml'));
  await until(t, store, ['a shop/web=10.1.0.20', b, 'c shop/db=10.0.0.1'], 'a file goes');
  await rename(path.join(dir, 'c'), path.join(dir, 'C2'));
  await until(t, store, ['a shop/web=10.1.0.20', b, 'c2 shop/db=10.0.0.1'], 'a cluster gets another name');
  await rm(path.join(dir, 'C2'), { recursive: true });
  await until(t, store, ['a shop/web=10.1.0.20', b], 'a cluster goes');
  // Its files went first, the folder itself a moment later.
  for (let i = 0; i < 1000 && store.fleet().clusters.has('c2'); i++) await delay(5);
  t.notOk(store.fleet().clusters.has('c2'));
  t.strictSame(found, []);

  await writeFile(a, `${imported('web', '10.1.0.21')}---\nx: [\n`);
  await until(t, store, ['a shop/web=10.1.0.20', b], 'does not parse');
  await delay(200);
  await writeFile(a, `${imported('web', '10.1.0.22')}---\nx: [\n`);
  await delay(200);
  t.strictSame(held(store), ['a shop/web=10.1.0.20', b], 'keeps its last good objects');
  t.match(found, [/^error \/a\/web.yaml:\d+: does not parse: .*; its last good objects stay$/], 'said once');
  t.equal(lab.findings.length, 1);
  await writeFile(a, imported('web', '10.1.0.23'));
  await until(t, store, ['a shop/web=10.1.0.23', b], 'parses again');
  t.strictSame(lab.findings, []);

  await lab.close();
  await writeFile(a, imported('web', '10.1.0.24'));
  await delay(100);
  t.strictSame(held(store), ['a shop/web=10.1.0.23', b], 'closed');
});

t.test('symlinks that are swapped, as in a mounted ConfigMap', async (t) => {
  const dir = await folder(t, {
    'a/..1/web.yaml': imported('web', '10.0.0.1'),
    'a/..2/web.yaml': imported('web', '10.0.0.2'),
    '..v1/b/web.yaml': imported('web', '10.0.0.3'),
    '..v2/b/web.yaml': imported('web', '10.0.0.4'),
  });
  await symlink('..1', path.join(dir, 'a/..data'));
  await symlink('..data/web.yaml', path.join(dir, 'a/web.yaml'));
  await symlink('..v1', path.join(dir, '..data'));
  await symlink('..data/b', path.join(dir, 'b'));
  const { store } = await opened(t, dir);
  t.strictSame(held(store), ['a shop/web=10.0.0.1', 'b shop/web=10.0.0.3']);
  await symlink('..2', path.join(dir, 'a/..tmp'));
  await rename(path.join(dir, 'a/..tmp'), path.join(dir, 'a/..data'));
  await until(t, store, ['a shop/web=10.0.0.2', 'b shop/web=10.0.0.3'], 'within a cluster');
  await symlink('..v2', path.join(dir, '..tmp'));
  await rename(path.join(dir, '..tmp'), path.join(dir, '..data'));
  await until(t, store, ['a shop/web=10.0.0.2', 'b shop/web=10.0.0.4'], 'the lab itself');
  await delay(300);
  await writeFile(path.join(dir, '..v2/b/web.yaml'), imported('web', '10.0.0.5'));
  await until(t, store, ['a shop/web=10.0.0.2', 'b shop/web=10.0.0.5'], 'in place, in the new folder');
});

t.test('the lab itself is replaced', async (t) => {
  const parent = await folder(t, { 'lab/a/web.yaml': imported('web'), 'next/a/web.yaml': imported('web', '10.0.0.2') });
  const dir = path.join(parent, 'lab');
  const { store, found } = await opened(t, dir);
  await rename(dir, path.join(parent, 'old'));
  await delay(600);
  t.strictSame(held(store), ['a shop/web=10.0.0.1'], 'while it is not there, everything stays');
  t.strictSame(found, ['error : is not there; its last good objects stay']);
  await rename(path.join(parent, 'next'), dir);
  await until(t, store, ['a shop/web=10.0.0.2'], 'the other one');
  await delay(300);
  await writeFile(path.join(dir, 'a/web.yaml'), imported('web', '10.0.0.3'));
  await until(t, store, ['a shop/web=10.0.0.3'], 'the other one is followed');
});

t.test('what is configured about a cluster of a lab', async (t) => {
  const dir = await folder(t, { 'a/web.yaml': imported('web'), 'b/web.yaml': imported('web') });
  const store = new FleetStore({ addressConflict: 'servfail' });
  const lab = await Lab.open(
    dir,
    store,
    () => undefined,
    (id) => ({ ...policyOf(id), precedence: id === 'a' ? 1 : 2 }),
  );
  t.teardown(() => lab.close());
  t.strictSame(lab.ids, ['a', 'b']);
  t.strictSame(
    [...store.fleet().clusters].map(([id, { precedence }]) => [id, precedence]),
    [
      ['a', 1],
      ['b', 2],
    ],
  );
});

t.test('one folder of manifests as a cluster', async (t) => {
  const parent = await folder(t, {
    'c/web.yaml': imported('web'),
    'c/deep/db.yaml': imported('db'),
    'next/web.yaml': imported('web', '10.0.0.7'),
    'bad.yaml': 'x: [',
    file: '',
  });
  const dir = path.join(parent, 'c');
  const store = new FleetStore({ addressConflict: 'servfail' });
  store.addCluster(policyOf('one'));
  const found: string[] = [];
  const report = (findings: readonly Finding[]): unknown => found.push(...said(findings, parent));
  for (const [name, why] of [
    ['missing', 'is not there'],
    ['file', 'is not a folder'],
  ] as const) {
    const file = path.join(parent, name);
    await t.rejects(FollowedManifests.open('one', file, store, report), new FolderError(`${file}: ${why}`));
  }
  const followed = await FollowedManifests.open('one', dir, store, report);
  t.teardown(() => followed.close());
  t.equal(followed.id, 'one');
  t.strictSame(held(store), ['one shop/db=10.0.0.1', 'one shop/web=10.0.0.1'], 'at once');
  await writeFile(path.join(dir, 'web.yaml'), imported('web', '10.0.0.2'));
  await until(t, store, ['one shop/db=10.0.0.1', 'one shop/web=10.0.0.2'], 'written in place');
  await fill(dir, { 'new/er/api.json': '{}', 'new/er/api.yaml': imported('api') });
  await until(t, store, ['one shop/api=10.0.0.1', 'one shop/db=10.0.0.1', 'one shop/web=10.0.0.2'], 'a folder appears');
  await rm(path.join(dir, 'new'), { recursive: true });
  await rm(path.join(dir, 'deep'), { recursive: true });
  await until(t, store, ['one shop/web=10.0.0.2'], 'folders go');
  t.strictSame(found, []);
  await fill(dir, { 'bad.yaml': 'x: [' });
  while (found.length === 0) await delay(5);
  t.match(found, [/^error \/c\/bad.yaml:1: does not parse/]);
  t.equal(followed.findings.length, 1);
  await rm(path.join(dir, 'bad.yaml'));
  while (followed.findings.length > 0) await delay(5);
  await rename(dir, path.join(parent, 'old'));
  while (found.length < 2) await delay(5);
  t.equal(found[1], 'error /c: is not there; its last good objects stay');
  t.strictSame(held(store), ['one shop/web=10.0.0.2'], 'while it is not there, everything stays');
  await rename(path.join(parent, 'next'), dir);
  await until(t, store, ['one shop/web=10.0.0.7'], 'the other one');
  await writeFile(path.join(dir, 'web.yaml'), imported('web', '10.0.0.8'));
  await until(t, store, ['one shop/web=10.0.0.8'], 'the other one is followed');
  t.strictSame(followed.findings, []);
  await followed.close();
  await writeFile(path.join(dir, 'web.yaml'), imported('web', '10.0.0.9'));
  await delay(100);
  t.strictSame(held(store), ['one shop/web=10.0.0.8'], 'closed');
});
