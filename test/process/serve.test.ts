/**
 * The process: how it starts, what ends it, with which exit code and line, and that answers go on meanwhile. Faults of
 * threads are planted from outside, by a module that Node loads before ours in every thread (--import).
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { DataPlane } from '../../src/dns/data-plane.ts';
import { limits } from '../../src/limits.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import {
  ServerProcess,
  WEB,
  askTcp,
  askUdp,
  load,
  started,
  temporary,
  usual,
  type Options,
  root,
} from './support-server.ts';

const isRoot = process.getuid?.() === 0;
const ANY = ['--listen', '127.0.0.1:0'];

/** A preload module with this source, as arguments of Node. In it `isTime()` is true once `now` was called. */
function preload(t: Test, source: string): Options & { now(): void } {
  const folder = temporary(t);
  const [file, mark] = [path.join(folder, 'preload.mjs'), path.join(folder, 'now')];
  const head = [
    "import { existsSync } from 'node:fs';",
    "import { isMainThread, workerData } from 'node:worker_threads';",
    `const isTime = () => existsSync(${JSON.stringify(mark)});`,
    'const at = (act) => { const timer = setInterval(() => { if (isTime()) { clearInterval(timer); act(); } }, 20); };',
  ];
  writeFileSync(file, [...head, source].join('\n'));
  return { node: ['--import', pathToFileURL(file).href], now: () => writeFileSync(mark, '') };
}

/** Runs until it ends by itself and compares code and the one line that says why. */
async function refuses(
  t: Test,
  what: string,
  flags: string[],
  code: number,
  line: RegExp,
  options: Options = {},
): Promise<void> {
  const server = new ServerProcess(flags, options);
  const late = setTimeout(() => server.child.kill('SIGKILL'), 15_000);
  const ended = await server.ended;
  clearTimeout(late);
  t.equal(ended.code, code, `${what}: exit code`);
  const matching = ended.log.filter((text) => line.test(text));
  t.equal(matching.length, 1, `${what}: one line says ${String(line)}, of\n${ended.log.join('\n')}`);
  t.notOk(
    ended.log.some((text) => /^\s+at /.test(text)),
    `${what}: no stack trace`,
  );
}

t.test('what cannot be served ends with one line that names it', async (t) => {
  const udp = createSocket('udp4');
  await new Promise<void>((resolve) => udp.bind(0, '127.0.0.1', resolve));
  // One for each case: they run side by side, and bind the same number over UDP meanwhile.
  const servers = [createServer(), createServer(), createServer()];
  for (const server of servers) await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    udp.close();
    for (const server of servers) server.close();
  });
  const udpPort = udp.address().port;
  const [tcpPort, secondPort, adminPort] = servers.map((server) => (server.address() as AddressInfo).port);
  // A few at a time: each is a process.
  const cases: (() => Promise<void>)[] = [];
  for (const engine of ['mmsg', 'dgram']) {
    const over = `127.0.0.1:${String(udpPort)}`;
    cases.push(() =>
      refuses(
        t,
        `UDP port in use, ${engine}`,
        usual('--udp', engine, '--listen', over),
        1,
        new RegExp(`--listen ${over}: the port is in use \\(UDP\\)`),
      ),
    );
  }
  const over = `127.0.0.1:${String(tcpPort)}`;
  cases.push(() =>
    refuses(
      t,
      'TCP port in use',
      usual('--listen', over),
      1,
      new RegExp(`--listen ${over}: the port is in use \\(TCP\\)`),
    ),
  );
  cases.push(() =>
    refuses(
      t,
      'the second of two in use',
      usual(...ANY, '--listen', `127.0.0.1:${String(secondPort)}`),
      1,
      new RegExp(`--listen 127.0.0.1:${String(secondPort)}: the port is in use`),
    ),
  );
  cases.push(() =>
    refuses(
      t,
      'admin port in use',
      usual(...ANY).map((flag) => (flag === 'off' ? `127.0.0.1:${String(adminPort)}` : flag)),
      1,
      /--admin.*(in use|EADDRINUSE)/,
    ),
  );
  for (const port of ['0', '15353']) {
    cases.push(() =>
      refuses(
        t,
        `an address of nobody here, port ${port}`,
        usual('--listen', `192.0.2.77:${port}`),
        1,
        /--listen 192\.0\.2\.77:\d+: this machine has no such address/,
      ),
    );
    cases.push(() =>
      refuses(
        t,
        `the same over IPv6, port ${port}`,
        usual('--listen', `[2001:db8::77]:${port}`),
        1,
        /--listen \[2001:db8::77\]:\d+: this machine has no such address/,
      ),
    );
  }
  const missing = path.join(temporary(t), 'nosuch');
  cases.push(() => refuses(t, 'DIR missing', ['--lab', missing, '--admin', 'off', ...ANY], 2, /--lab .*nosuch/));
  const file = path.join(temporary(t), 'file');
  writeFileSync(file, '');
  cases.push(() => refuses(t, 'DIR that is a file', ['--lab', file, '--admin', 'off', ...ANY], 2, /--lab .*file/));
  cases.push(() => refuses(t, 'a value out of range', usual(...ANY, '--workers', '0'), 2, /--workers/));
  while (cases.length > 0) await Promise.all(cases.splice(0, 4).map((start) => start()));
});

const lowestPort = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
const skip53 = !isRoot
  ? 'only root can be somebody else'
  : lowestPort <= 53
    ? `ports from ${String(lowestPort)} on are free to all here`
    : false;

t.test('port 53 without permission', { skip: skip53 }, async (t) => {
  // The checkout may lie where nobody may go.
  const copy = temporary(t);
  chmodSync(copy, 0o755);
  for (const part of ['src', 'examples', 'package.json'])
    cpSync(path.join(root, part), path.join(copy, part), { recursive: true });
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
  const flags = ['--lab', path.join(copy, 'examples/lab'), '--admin', 'off', '--listen', '127.0.0.1:53'];
  for (const engine of ['auto', 'dgram']) {
    await refuses(
      t,
      `as nobody, ${engine}`,
      [...flags, '--udp', engine],
      1,
      /--listen 127\.0\.0\.1:53: no permission for this port/,
      { uid: 65_534, root: copy },
    );
  }
});

t.test('SIGTERM in the middle of load: exit 0, answering on for the lame duck', async (t) => {
  for (const engine of ['mmsg', 'dgram']) {
    await Promise.all(
      (['SIGTERM', 'SIGINT'] as const).map(async (signal) => {
        const server = new ServerProcess([...usual(...ANY, '--udp', engine), '--lameduck', '700ms', '--workers', '2']);
        const { ports } = await server.ready();
        const clients = await Promise.all([load(ports[0]!), load(ports[0]!)]);
        await sleep(300);
        const before = performance.now();
        server.child.kill(signal);
        await sleep(400);
        const reply = await askUdp('127.0.0.1', ports[0]!);
        const overTcp = await askTcp('127.0.0.1', ports[0]!);
        const answeredAfter = performance.now() - before;
        const late = setTimeout(() => server.child.kill('SIGKILL'), 10_000);
        const { code } = await server.ended;
        clearTimeout(late);
        const millis = performance.now() - before;
        const results = await Promise.all(clients.map((client) => client.end()));
        const name = `${engine}, ${signal}`;
        t.equal(code, 0, `${name}: exit code`);
        t.ok(millis > 650 && millis < 4_000, `${name}: ${millis.toFixed(0)} ms for a lame duck of 700`);
        t.ok(
          answeredAfter > 400 && reply.answers.length > 0 && overTcp.answers.length > 0,
          `${name}: answers after the signal`,
        );
        t.ok(
          results.every(({ answered }) => answered > 300),
          `${name}: under load`,
        );
      }),
    );
  }
});

t.test('a second SIGTERM ends the lame duck', async (t) => {
  const server = new ServerProcess([...usual(...ANY), '--lameduck', '60s']);
  const { ports } = await server.ready();
  const client = await load(ports[0]!);
  server.child.kill('SIGTERM');
  await server.line('stopping');
  await sleep(300);
  t.notOk(server.isOver, 'the first one leaves it answering');
  const before = performance.now();
  const { code } = await server.stop();
  t.equal(code, 0);
  t.ok(performance.now() - before < 2_000, 'at once');
  await client.end();
});

t.test('SIGTERM before it is ready', async (t) => {
  const server = new ServerProcess(usual(...ANY));
  await server.line('listening');
  const { code, signal } = await server.stop();
  t.same([code, signal], [0, null]);
});

t.test('a throw in the main thread ends the process, though a worker is blocked in the kernel', async (t) => {
  const fault = (): ReturnType<typeof preload> =>
    preload(t, "if (isMainThread) at(() => { throw new Error('planted in main'); });");
  const rejection = preload(t, "if (isMainThread) at(() => { void Promise.reject(new Error('planted in main')); });");
  const cases = [
    ['mmsg', fault()],
    ['dgram', fault()],
    ['mmsg', rejection],
  ] as const;
  await Promise.all(
    cases.map(async ([engine, options]) => {
      const server = new ServerProcess([...usual(...ANY, '--udp', engine), '--workers', '2'], options);
      const late = setTimeout(() => server.child.kill('SIGKILL'), 12_000);
      await server.ready();
      options.now();
      const before = performance.now();
      const { code, log } = await server.ended;
      const millis = performance.now() - before;
      clearTimeout(late);
      t.equal(code, 1, `${engine}: exit code`);
      t.ok(millis < 3_000, `${engine}: ${millis.toFixed(0)} ms from the fault to the end`);
      t.ok(
        log.some((line) => line.includes('planted in main')),
        `${engine}: it says why`,
      );
    }),
  );
});

t.test('a throw in a thread of the data plane ends the whole process, saying why', async (t) => {
  await Promise.all(
    ['mmsg', 'dgram', 'tcp'].map(async (engine) => {
      // A receiver by recvmmsg has no event loop: it fails where it looks at the stop flag.
      const throwing =
        engine === 'mmsg'
          ? "const load = Atomics.load; Atomics.load = (...args) => { if (isTime()) throw new Error('planted in mmsg'); return load(...args); };"
          : `at(() => { throw new Error('planted in ${engine}'); });`;
      const options = preload(t, `if (!isMainThread && workerData?.serve?.engine === '${engine}') { ${throwing} }`);
      const server = new ServerProcess(
        [...usual(...ANY, '--udp', engine === 'dgram' ? 'dgram' : 'mmsg'), '--workers', '2'],
        options,
      );
      const late = setTimeout(() => server.child.kill('SIGKILL'), 12_000);
      await server.ready();
      options.now();
      const before = performance.now();
      const { code, log } = await server.ended;
      const millis = performance.now() - before;
      clearTimeout(late);
      t.equal(code, 1, `${engine}: exit code`);
      t.ok(millis < 3_000, `${engine}: ${millis.toFixed(0)} ms from the fault to the end`);
      const why = log.filter((line) => line.includes(`planted in ${engine}`));
      t.ok(why.length > 0, `${engine}: it says why: ${log.at(-1) ?? ''}`);
    }),
  );
});

t.test('a thread that ends without an error, or fails before it is bound, ends the process as well', async (t) => {
  const ends = preload(t, "if (!isMainThread && workerData?.serve?.engine === 'tcp') at(() => process.exit(0));");
  const dies = preload(
    t,
    "if (!isMainThread && workerData?.serve?.engine === 'tcp') throw new Error('planted at its start');",
  );
  for (const [what, options, line] of [
    ['ends', ends, /ended by itself/],
    ['dies', dies, /planted at its start/],
  ] as const) {
    const server = new ServerProcess(usual(...ANY), options);
    const late = setTimeout(() => server.child.kill('SIGKILL'), 12_000);
    if (what === 'ends') await server.ready();
    options.now();
    const { code, log } = await server.ended;
    clearTimeout(late);
    t.equal(code, 1, `${what}: exit code`);
    t.ok(
      log.some((text) => line.test(text)),
      `${what}: ${log.join('\n')}`,
    );
  }
});

t.test('answers go on while the main thread is busy for three seconds', async (t) => {
  // The first invariant of ARCHITECTURE.md.
  const busy = preload(
    t,
    'if (isMainThread) process.on("SIGUSR2", () => { const end = performance.now() + 3000; console.error("spinning"); while (performance.now() < end); console.error("spun"); });',
  );
  const server = await started(t, usual(...ANY), busy);
  const client = await load(server.ports[0]!);
  await sleep(200);
  server.child.kill('SIGUSR2');
  const seen = (word: string): boolean => server.log.includes(word);
  while (!seen('spinning')) await sleep(10);
  const before = performance.now();
  let overTcp = 0;
  while (performance.now() - before < 2_000) {
    if ((await askTcp('127.0.0.1', server.ports[0]!)).answers.length > 0) overTcp++;
    await sleep(50);
  }
  t.notOk(seen('spun'), 'the main thread is still busy');
  const { answered, longestGapMillis } = await client.end();
  while (!seen('spun')) await sleep(50);
  t.ok(answered > 2_000, `${String(answered)} answers over UDP`);
  t.ok(longestGapMillis < 500, `the longest pause was ${longestGapMillis.toFixed(1)} ms`);
  t.ok(overTcp > 15, `${String(overTcp)} over TCP`);
});

t.test('what changes on disk shows in the answer', async (t) => {
  const lab = temporary(t);
  const folder = path.join(lab, 'east');
  mkdirSync(folder);
  const file = path.join(folder, 'web.yaml');
  const text = (address: string): string =>
    `apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {namespace: shop, name: web}\nspec: {type: ClusterSetIP, ips: ["${address}"], ports: [{name: http, protocol: TCP, port: 80}]}\n`;
  writeFileSync(file, text('10.0.0.1'));
  const server = await started(t, ['--lab', lab, '--admin', 'off', '--lameduck', '0', ...ANY]);
  const port = server.ports[0]!;
  const until = async (expected: string, what: string): Promise<void> => {
    const end = performance.now() + 8_000;
    let got = '';
    while (performance.now() < end) {
      const reply = await askUdp('127.0.0.1', port);
      got = reply.answers.join() || reply.rcode;
      if (got === expected) break;
      await sleep(20);
    }
    t.equal(got, expected, what);
  };
  await until(`${WEB} A 10.0.0.1`, 'at the start');
  const serial = async (): Promise<string> => (await askUdp('127.0.0.1', port, 'clusterset.local', 'SOA')).answers[0]!;
  const before = await serial();
  writeFileSync(file, text('10.0.0.2'));
  await until(`${WEB} A 10.0.0.2`, 'written over');
  writeFileSync(`${file}~`, text('10.0.0.3'));
  renameSync(`${file}~`, file);
  await until(`${WEB} A 10.0.0.3`, 'renamed over, as an editor does');
  writeFileSync(file, '{ this is no YAML');
  await sleep(500);
  await until(`${WEB} A 10.0.0.3`, 'a broken file keeps its last good objects');
  rmSync(file);
  await until('NXDOMAIN', 'removed');
  // One version a second of the clock: the start may have taken this one already.
  let after = before;
  for (let tries = 0; tries < 40 && after === before; tries++) {
    await sleep(100);
    after = await serial();
  }
  t.not(after, before, 'and the serial has moved');
});

t.test('the data plane as a library: closing it ends its threads, and its socket is free again', async (t) => {
  const host = '127.0.0.1';
  const options = {
    workers: 2,
    tcpLimits: limits.tcp,
    onHint: () => undefined,
    onDeath: (reason: Error) => t.fail(String(reason)),
  };
  for (const udp of ['mmsg', 'dgram'] as const) {
    const first = await DataPlane.start({
      image: new ImageWriter(1).buffer,
      listen: [{ host, port: 0 }],
      udp,
      ...options,
    });
    const [bound] = first.listening;
    t.ok(bound !== undefined && bound.port > 0, `${udp}: a number was taken`);
    const before = performance.now();
    await first.close();
    await first.close();
    t.ok(performance.now() - before < 2_000, `${udp}: closed in ${(performance.now() - before).toFixed(0)} ms`);
    const again = DataPlane.start({ image: new ImageWriter(1).buffer, listen: [bound!], udp, ...options });
    await t.resolves(again, `${udp}: the same address can be had again`);
    await (await again.catch(() => undefined))?.close();
  }
});
