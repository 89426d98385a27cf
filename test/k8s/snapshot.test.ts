// Snapshots on a real disk: what was saved comes back, and what a disk, a person or a kill does to a file costs that file
// and no more. Run with `save FOLDER …` this file is the process that is killed, refused or out of room.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { packEndpoints } from '../../src/k8s/objects/packed-endpoints.ts';
import { PackedSlice } from '../../src/k8s/objects/packed-slice.ts';
import { SnapshotFolder } from '../../src/k8s/snapshot.ts';
import type { ClusterSnapshot, SnapshotProblem } from '../../src/k8s/snapshot.ts';
import type { FleetObject } from '../../src/k8s/objects/trim.ts';
import type { Endpoint, EndpointSlice } from '../../src/zones/objects.ts';

const SOURCE = 'kubeconfig /etc/fleet.yaml context eu';

function slices(count: number, uid = 'ad0be000-0000-4000-8000-00000000abcd'): FleetObject[] {
  return Array.from({ length: count }, (_, i): FleetObject => {
    const endpoints = Array.from({ length: 100 }, (_, j): Endpoint => {
      return { addresses: [`10.${i >> 8}.${i & 255}.${j}`], hostname: '', ready: true, uid };
    });
    const packed = packEndpoints(endpoints);
    const fields = { form: 'native', sourceCluster: '', addressType: 'IPv4', ports: [] } as const;
    return {
      kind: 'EndpointSlice',
      object: new PackedSlice({ ...fields, namespace: 'ns', name: `web-${i}`, service: 'web', packed }),
    };
  });
}

/** Saves over and over, counting up in `asOfMillis`, until it is killed or a save fails; says how each went. */
async function saveForEver(folder: string, count: number, rounds: number): Promise<void> {
  const say = (text: string): void => void process.stdout.write(text + '\n');
  const snapshots = await SnapshotFolder.open(folder, ({ message }) => say(message));
  const objects = slices(count);
  for (let round = 1; round <= rounds; round++) {
    say(`${round} ${await snapshots.save('eu', SOURCE, round, objects)}`);
  }
}

const [, self = '', mode, ...args] = process.argv;
if (mode === 'save') {
  process.on('SIGXFSZ', () => undefined);
  await saveForEver(args[0]!, Number(args[1]), Number(args[2]));
  process.exit();
}

/** Without tap's loaders. */
const PLAIN = { ...process.env, NODE_OPTIONS: '' };

interface Opened {
  readonly folder: SnapshotFolder;
  readonly problems: SnapshotProblem[];
}

async function openFolder(dir: string): Promise<Opened> {
  const problems: SnapshotProblem[] = [];
  return { folder: await SnapshotFolder.open(dir, (problem) => problems.push(problem)), problems };
}

function plain(snapshots: readonly ClusterSnapshot[]): object[] {
  return snapshots.map(({ objects, ...header }) => {
    return { ...header, objects: objects.map(({ kind, object }) => ({ kind, object: plainObject(object) })) };
  });
}

function plainObject(object: object): object {
  return object instanceof PackedSlice ? object.toJSON() : object;
}

const record = <T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(fields, { noNullPrototype: true }) as fc.Arbitrary<T>;
const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('\n', '\u2028', '"\\'));
const ports = fc.array(
  record({ name: text, protocol: fc.constantFrom('tcp', 'udp', 'sctp'), port: fc.integer({ min: 1, max: 65535 }) }),
);
const names = { namespace: text, name: text };
const slice = record<EndpointSlice>({
  ...names,
  service: text,
  form: fc.constantFrom('native', 'mirrored'),
  sourceCluster: text,
  addressType: fc.constantFrom('IPv4', 'IPv6', 'FQDN'),
  ports,
  endpoints: fc.array(
    record({
      addresses: fc.array(fc.oneof(fc.ipV4(), fc.ipV6())),
      hostname: text,
      ready: fc.boolean(),
      uid: fc.uuid(),
    }),
  ),
});
const fleetObject: fc.Arbitrary<FleetObject> = fc.oneof(
  record({
    ...names,
    type: fc.constantFrom('ClusterSetIP', 'Headless'),
    ips: fc.array(text),
    ports,
    createdSeconds: fc.oneof(fc.integer(), fc.constant(Infinity)),
    ipsFromSlices: fc.boolean(),
  }).map((object) => ({ kind: 'ServiceImport', object }) as const),
  record({ ...names, valid: fc.boolean() }).map((object) => ({ kind: 'ServiceExport', object }) as const),
  slice.map((object) => ({ kind: 'EndpointSlice', object }) as const),
  slice.map(({ endpoints, ...fields }) => {
    const object = new PackedSlice({ ...fields, packed: packEndpoints(endpoints) });
    return { kind: 'EndpointSlice', object } as const;
  }),
);

t.test('what was saved comes back', async (t) => {
  const { folder, problems } = await openFolder(t.testdir());
  const asOf = fc.integer({ min: 0, max: 2 ** 50 });
  await fc.assert(
    fc.asyncProperty(text, asOf, fc.array(fleetObject), async (source, asOfMillis, objects) => {
      const isSaved = await folder.save('eu', source, asOfMillis, objects);
      const given = { cluster: 'eu', source, asOfMillis, objects };
      return isSaved && isDeepStrictEqual(plain(await folder.load()), plain([given]));
    }),
    { numRuns: 100 },
  );
  t.strictSame(problems, []);
});

t.test('a file a cluster, whatever its id', async (t) => {
  const dir = path.join(t.testdir(), 'deep', 'state');
  const { folder, problems } = await openFolder(dir);
  t.equal(statSync(dir).mode & 0o777, 0o700);
  const long = ('a'.repeat(62) + '.').repeat(4);
  const ids = ['eu', 'eu.snapshot', 'a.snapshot.00000000.tmp', `${long}b`, `${long}c`].sort();
  for (const id of ids) t.ok(await folder.save(id, SOURCE, 1, []));
  const again = await openFolder(dir);
  t.strictSame((await again.folder.load()).map(({ cluster }) => cluster).sort(), ids);
  t.equal(statSync(path.join(dir, 'eu.snapshot')).mode & 0o777, 0o600);
  await folder.forget('eu');
  await folder.forget('never-there');
  t.strictSame(
    (await folder.load()).map(({ cluster }) => cluster).sort(),
    ids.filter((id) => id !== 'eu'),
  );
  t.strictSame([...problems, ...again.problems], []);
});

t.test('saves of one cluster, and its end, in the order they were asked for', async (t) => {
  const { folder } = await openFolder(t.testdir());
  const many = slices(300);
  const saved = await Promise.all([folder.save('eu', SOURCE, 1, many), folder.save('eu', SOURCE, 2, many.slice(1))]);
  t.strictSame(saved, [true, true]);
  t.match(await folder.load(), [{ asOfMillis: 2, objects: { length: 299 } }]);
  const live = [...many];
  const saving = folder.save('eu', SOURCE, 3, live);
  live.length = 0;
  t.ok(await saving);
  t.match(await folder.load(), [{ asOfMillis: 3, objects: { length: 300 } }], 'as of the moment of the call');
  await Promise.all([folder.save('eu', SOURCE, 4, many), folder.forget('eu')]);
  t.strictSame(await folder.load(), []);
});

t.test('a file that is not whole, or not ours, is moved aside by name', async (t) => {
  const dir = t.testdir();
  const { folder, problems } = await openFolder(dir);
  const file = path.join(dir, 'eu.snapshot');
  const exported: FleetObject = { kind: 'ServiceExport', object: { namespace: 'ns', name: 'web', valid: true } };
  await folder.save('eu', SOURCE, 7, [...slices(1), exported]);
  const whole = readFileSync(file);
  const refusalOf = async (octets: Uint8Array | string): Promise<string> => {
    writeFileSync(file, octets);
    const loaded = await folder.load();
    const [problem, ...others] = problems.splice(0);
    if (loaded.length > 0 || problem?.file !== file || others.length > 0 || existsSync(file)) return 'not refused';
    if (!readFileSync(file + '.refused').equals(Buffer.from(octets))) return 'not kept';
    return problem.message.replace(': moved to eu.snapshot.refused', '');
  };
  const places = [...Array(200).keys(), ...Array.from({ length: 100 }, (_, i) => whole.length - 100 + i)];
  for (const length of [...places, whole.length >> 1]) {
    const said = await refusalOf(whole.subarray(0, length));
    if (said !== (length < 24 ? 'is no snapshot' : 'is cut off')) t.fail(`cut at ${length}: ${said}`);
  }
  for (const place of [...places, whole.length >> 1]) {
    const octets = Buffer.from(whole);
    octets[place]! ^= 1 << (place % 8);
    const said = await refusalOf(octets);
    if (!/^(is|has a wrong checksum$)/.test(said)) t.fail(`flipped at ${place}: ${said}`);
  }
  t.equal(await refusalOf(''), 'is no snapshot');
  t.equal(await refusalOf('kind: Config\n'), 'is no snapshot');
  t.equal(await refusalOf(Buffer.concat([whole, Buffer.from('\n')])), 'is cut off');
  t.equal(await refusalOf(Buffer.concat([whole, whole])), 'is cut off');
  const newer = whole.toString().replace('snapshot 1 ', 'snapshot 2 ');
  t.equal(await refusalOf(newer), 'is of format 2, and this program reads format 1');
  await folder.save('us', SOURCE, 1, []);
  const other = readFileSync(path.join(dir, 'us.snapshot'));
  await folder.forget('us');
  t.equal(await refusalOf(other), 'is the snapshot of cluster "us"');
  writeFileSync(file, whole);
  t.match(await folder.load(), [{ cluster: 'eu', asOfMillis: 7, objects: { length: 2 } }], 'the file itself is good');
  mkdirSync(path.join(dir, 'folder.snapshot'));
  t.equal((await folder.load()).length, 1);
  t.match(problems, [{ file: path.join(dir, 'folder.snapshot'), message: /^is not read: / }]);
});

t.test('a folder that cannot be used', async (t) => {
  const dir = t.testdir({ file: '' });
  const file = path.join(dir, 'file');
  for (const folder of [file, path.join(file, 'state')]) {
    const message = new RegExp(`^--state-dir ${folder}: is not a folder \\(E[A-Z]+\\)$`);
    await t.rejects(openFolder(folder), { name: 'UsageError', message });
  }
});

const asNobodyNeeds =
  process.getuid?.() !== 0
    ? 'only root may become somebody without permission'
    : !isReadableByNobody(self) && 'nobody may not read this checkout';
t.test('without permission', { skip: asNobodyNeeds }, async (t) => {
  const dir = t.testdir();
  const asNobody = (): string => {
    const drop = ['--reuid=65534', '--clear-groups'];
    return spawnSync('setpriv', [...drop, process.execPath, self, 'save', dir, '1', '1'], {
      env: PLAIN,
    }).stdout.toString();
  };
  chmodSync(dir, 0o777);
  t.equal(asNobody(), '1 true\n');
  chmodSync(dir, 0o755);
  t.equal(asNobody(), '', 'refused at the start');
  const { folder, problems } = await openFolder(dir);
  t.match(await folder.load(), [{ asOfMillis: 1 }]);
  t.strictSame(problems, []);
});

/** Whether every folder on the way lets others pass. */
function isReadableByNobody(file: string): boolean {
  const folder = path.dirname(file);
  return folder === file || ((statSync(folder).mode & 0o001) !== 0 && isReadableByNobody(folder));
}

t.test('a folder that is gone', async (t) => {
  const dir = t.testdir();
  const { folder, problems } = await openFolder(path.join(dir, 'state'));
  execFileSync('rm', ['-r', path.join(dir, 'state')]);
  t.equal(await folder.save('eu', SOURCE, 1, []), false);
  const file = path.join(dir, 'state', 'eu.snapshot');
  t.strictSame(problems, [{ file, message: 'is not written: it is gone (ENOENT)' }]);
  t.strictSame(await folder.load(), []);
  t.equal(problems.length, 2);
});

t.test('a file that may not grow', async (t) => {
  const dir = t.testdir();
  const { folder, problems } = await openFolder(dir);
  await folder.save('eu', SOURCE, 99, slices(2));
  const script = 'ulimit -f 64; exec "$0" "$@"';
  const args = ['-c', script, process.execPath, self, 'save', dir, '200', '1'];
  const { stdout } = spawnSync('sh', args, { env: PLAIN });
  t.equal(stdout.toString(), 'is not written: the file would be too large (EFBIG)\n1 false\n');
  t.strictSame(readdirSync(dir), ['eu.snapshot']);
  t.match(await folder.load(), [{ asOfMillis: 99, objects: { length: 2 } }]);
  t.strictSame(problems, []);
});

// Not in tap's folder, which is removed before a teardown could unmount.
const disk = mkdtempSync(path.join(tmpdir(), 'snapshot-test-'));
const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk]).status === 0;
t.teardown(() => {
  if (isMounted) spawnSync('umount', [disk]);
  rmdirSync(disk);
});
const diskNeeds = !isMounted && 'no right to mount a small file system';
t.test('a disk that is full, and one that is read-only', { skip: diskNeeds }, async (t) => {
  const dir = disk;
  const { folder, problems } = await openFolder(dir);
  t.ok(await folder.save('eu', SOURCE, 1, slices(2)));
  t.equal(await folder.save('eu', SOURCE, 2, slices(100)), false);
  t.match(problems.splice(0), [{ message: 'is not written: the disk is full (ENOSPC)' }]);
  t.strictSame(readdirSync(dir), ['eu.snapshot']);
  t.match(await folder.load(), [{ asOfMillis: 1, objects: { length: 2 } }]);
  t.ok(await folder.save('eu', SOURCE, 3, slices(2)), 'room again');
  execFileSync('mount', ['-o', 'remount,ro', dir]);
  t.equal(await folder.save('eu', SOURCE, 4, []), false);
  t.match(problems.splice(0), [{ message: 'is not written: the file system is read-only (EROFS)' }]);
  t.match(await folder.load(), [{ asOfMillis: 3 }]);
  await t.rejects(openFolder(dir), { message: `--state-dir ${dir}: the file system is read-only (EROFS)` });
});

t.test('killed in the middle of a save', { timeout: 120_000 }, async (t) => {
  const dir = t.testdir();
  let unfinished = 0;
  for (let run = 0; run < 20 && unfinished < 2; run++) {
    const child = spawn(process.execPath, [self, 'save', dir, '1000', '1000'], {
      env: PLAIN,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    const isWriting = (): boolean => readdirSync(dir).some((name) => name.endsWith('.tmp'));
    const end = Date.now() + 10_000;
    while (!isWriting() && Date.now() < end) await new Promise((resolve) => setImmediate(resolve));
    child.kill('SIGKILL');
    await ended;
    if (isWriting()) unfinished++;
    const { folder, problems } = await openFolder(dir);
    t.strictSame(readdirSync(dir), ['eu.snapshot'], 'what was begun is removed');
    t.match(await folder.load(), [{ cluster: 'eu', objects: { length: 1000 } }], 'the one before is whole');
    t.strictSame(problems, []);
  }
  t.ok(unfinished > 0, 'a save was cut');
});
