/**
 * The engines over real sockets: which address a reply leaves from, several sockets and several workers, what the kernel
 * refuses to send, and node:dgram where recvmmsg cannot be called. Names and answers are not the matter here.
 */
import { execFile, execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { cpSync, existsSync, readdirSync, symlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { errno, loadLibc } from '../../src/dns/ffi.ts';
import { counter, countersOf, header } from '../../src/dns/image.ts';
import { UdpLoop } from '../../src/dns/mmsg.ts';
import { openUdpSocket } from '../../src/dns/udp-socket.ts';
import { DataPlane } from '../../src/dns/data-plane.ts';
import { limits } from '../../src/limits.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { Zone } from '../../src/zones/zone.ts';
import { clusterSetIP, settings, v4 } from '../zones/support-services.ts';
import { WEB, askTcp, askUdp, load, root, started, temporary, usual } from '../process/support-server.ts';
import { questionOf, readReply } from '../zones/support-ask.ts';

const run = promisify(execFile);
const hasIPv6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);
const isRoot = process.getuid?.() === 0;
const koffi = typeof loadLibc() !== 'string';
const engines = koffi ? (['mmsg', 'dgram'] as const) : (['dgram'] as const);
const loopback6 = 'fd00:c1::53';

/** A second IPv6 address of this machine, if one can be had. */
function secondAddress6(t: Test): string | undefined {
  try {
    execFileSync('ip', ['-6', 'addr', 'add', `${loopback6}/128`, 'dev', 'lo', 'nodad'], { stdio: 'ignore' });
    t.teardown(() => execFileSync('ip', ['-6', 'addr', 'del', `${loopback6}/128`, 'dev', 'lo'], { stdio: 'ignore' }));
    return loopback6;
  } catch {
    return undefined;
  }
}

t.test('IPv4 and IPv6, one socket and several, one worker and several, both engines', async (t) => {
  for (const engine of engines) {
    for (const workers of ['1', '3']) {
      const listen = ['127.0.0.1:0', '127.0.0.1:0', ...(hasIPv6 ? ['[::1]:0'] : [])];
      for (const addresses of [listen.slice(0, 1), listen]) {
        const flags = addresses.flatMap((address) => ['--listen', address]);
        const server = await started(t, usual('--udp', engine, ...flags, '--workers', workers));
        const name = `${engine}, ${workers} workers, ${String(addresses.length)} sockets`;
        t.equal(server.engine, engine, name);
        t.equal(new Set(server.ports).size, server.ports.length, `${name}: a number for each`);
        for (const address of server.addresses) {
          const [, host = '', port] = /^\[?(.*?)\]?:(\d+)$/.exec(address)!;
          const replies = await Promise.all(Array.from({ length: 16 }, () => askUdp(host, Number(port))));
          t.ok(
            replies.every((reply) => reply.from === host && reply.answers.length > 0),
            `${name}: ${host} over UDP`,
          );
          t.ok((await askTcp(host, Number(port))).answers.length > 0, `${name}: ${host} over TCP on the same number`);
        }
        await server.stop();
      }
    }
  }
});

t.test('a wildcard socket answers from the address that was asked', async (t) => {
  const second = hasIPv6 ? secondAddress6(t) : undefined;
  if (second === undefined) t.comment('no second IPv6 address can be added here: only ::1 is asked');
  for (const engine of engines) {
    const flags = ['--listen', '0.0.0.0:0', ...(hasIPv6 ? ['--listen', '[::]:0'] : [])];
    const server = await started(t, usual('--udp', engine, ...flags));
    const [four, six] = server.ports;
    // dgram is bound to the addresses that this machine lists: 127.0.0.2 is none of them.
    const fours = ['127.0.0.1', ...(engine === 'mmsg' ? ['127.0.0.2', '127.9.8.7'] : []), ...outward('IPv4')];
    for (const host of fours) t.equal((await askUdp(host, four!)).from, host, `${engine}: ${host}`);
    const sixes = hasIPv6 ? ['::1', ...(second === undefined ? [] : [second]), ...outward('IPv6')] : [];
    for (const host of sixes) t.equal((await askUdp(host, six!)).from, host, `${engine}: ${host}`);
    for (const host of linkLocal())
      t.equal(
        (await askUdp(host, six!).catch(() => ({ from: 'silence' }))).from,
        engine === 'mmsg' ? host : 'silence',
        `${engine}: ${host}`,
      );
    await server.stop();
  }
});

function outward(family: string): string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((local) => local.family === family && !local.internal && !local.address.startsWith('fe80:'))
    .map((local) => local.address);
}

function linkLocal(): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? []).filter((local) => local.address.startsWith('fe80:')).map((local) => `${local.address}%${name}`),
  );
}

t.test('port 0 takes one number for UDP and TCP, and a number of its own for each address', async (t) => {
  const server = await started(t, usual('--listen', '127.0.0.1:0', '--listen', '127.0.0.2:0'));
  for (const [n, host] of ['127.0.0.1', '127.0.0.2'].entries()) {
    t.ok(server.ports[n]! > 0);
    t.ok((await askUdp(host, server.ports[n]!)).answers.length > 0, `${host} over UDP`);
    t.ok((await askTcp(host, server.ports[n]!)).answers.length > 0, `${host} over TCP`);
  }
});

t.test(
  'source port 0 is answered by nothing and harms nothing',
  { skip: isRoot && existsSync('/usr/bin/env') ? false : 'raw sockets are for root' },
  async (t) => {
    const question = questionOf(WEB, 'A').toString('hex');
    for (const engine of engines) {
      const server = await started(t, usual('--udp', engine, '--listen', '127.0.0.1:0'));
      const port = server.ports[0]!;
      const script = [
        'import socket, struct',
        `data = bytes.fromhex("${question}")`,
        's = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)',
        `for n in range(200): s.sendto(struct.pack("!HHHH", 0, ${String(port)}, 8 + len(data), 0) + data, ("127.0.0.1", 0))`,
      ];
      const sent = await run('python3', ['-c', script.join('\n')]).then(
        () => '',
        (error: unknown) => String(error),
      );
      if (sent !== '') {
        t.comment(`no raw socket through python3 here: ${sent.split('\n')[0]!}`);
        continue;
      }
      t.ok((await askUdp('127.0.0.1', port)).answers.length > 0, `${engine}: the next query is answered`);
      t.notOk(server.isOver, `${engine}: and the server lives`);
    }
  },
);

t.test(
  'a reply that the kernel refuses costs no other reply of its batch',
  { skip: koffi ? false : 'koffi is not here' },
  (t) => {
    const libc = loadLibc();
    if (typeof libc === 'string') throw new Error(libc);
    const writer = imageOfOneService();
    const socket = openUdpSocket(libc, '127.0.0.1', 0);
    const calls: number[] = [];
    let refusals = 0;
    // One receive of what the test has sent; then the flag is set. `refuse` decides which datagram the kernel will not send.
    const serveOnce = (refuse: (name: number) => boolean): void => {
      let received = 0;
      let number = 0;
      const stubborn = {
        ...libc,
        recvmmsg(...args: Parameters<typeof libc.recvmmsg>): number {
          if (received > 0) {
            Atomics.store(new Int32Array(writer.buffer, 0, 16), header.STOP, 1);
            number = errno.EAGAIN;
            return -1;
          }
          return (received = libc.recvmmsg(...args));
        },
        sendmmsg(fd: number, messages: bigint, count: number, flags: number): number {
          calls.push(count);
          // As the kernel does: it sends up to the first that it refuses, and says so only when that is the first.
          const first = received - count;
          const stop = Array.from({ length: count }, (_, n) => first + n).findIndex(refuse);
          if (stop === 0) {
            refusals++;
            number = errno.EPERM;
            return -1;
          }
          return libc.sendmmsg(fd, messages, stop < 0 ? count : stop, flags);
        },
        errno: () => number,
      };
      Atomics.store(new Int32Array(writer.buffer, 0, 16), header.STOP, 0);
      new UdpLoop(stubborn, [socket], writer.buffer, 0).run();
    };
    const client = createSocket('udp4');
    t.teardown(() => {
      client.close();
      libc.close(socket.fd);
    });
    const got: number[] = [];
    client.on('message', (message) => got.push(readReply(message).packet.id ?? -1));
    const ask = async (ids: readonly number[]): Promise<void> => {
      await Promise.all(
        ids.map(
          (id) =>
            new Promise((resolve) => client.send(questionOf(WEB, 'A', true, id), socket.port, '127.0.0.1', resolve)),
        ),
      );
    };
    const cases: [string, (n: number) => boolean, number[]][] = [
      ['none', () => false, []],
      ['the first', (n) => n === 0, [0]],
      ['one in the middle', (n) => n === 5, [5]],
      ['two in a row', (n) => n === 5 || n === 6, [5, 6]],
      ['the last', (n) => n === 11, [11]],
      ['all', () => true, Array.from({ length: 12 }, (_, n) => n)],
    ];
    const all = Array.from({ length: 12 }, (_, n) => n);
    return (async () => {
      for (const [what, refuse, lost] of cases) {
        got.length = 0;
        refusals = 0;
        const before = countersOf(writer.buffer, 0)[counter.SEND_REFUSED]!;
        await ask(all);
        serveOnce(refuse);
        const until = performance.now() + 1_000;
        while (got.length < all.length - lost.length && performance.now() < until)
          await new Promise((resolve) => setTimeout(resolve, 5));
        t.same(
          [...got].sort((a, b) => a - b),
          all.filter((id) => !lost.includes(id)),
          `${what} refused: the others arrive`,
        );
        t.equal(refusals, lost.length, `${what} refused: tried once`);
        t.equal(countersOf(writer.buffer, 0)[counter.SEND_REFUSED]! - before, lost.length, `${what} refused: counted`);
      }
    })();
  },
);

function imageOfOneService(): ImageWriter {
  const zone = new Zone(new ImageWriter(1), settings);
  zone.setUnknown(false);
  zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(1)]));
  zone.seal(1_800_000_000);
  return zone.writer;
}

t.test('silence in the middle of a batch is silence for one only', async (t) => {
  for (const engine of engines) {
    const server = await started(t, usual('--udp', engine, '--listen', '127.0.0.1:0'));
    const client = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
    const got: number[] = [];
    client.on('message', (message) => got.push(readReply(message).packet.id ?? -1));
    const reply = questionOf(WEB, 'A');
    reply[2]! |= 0x80;
    for (let id = 0; id < 300; id++) {
      client.send(questionOf(WEB, 'A', true, id), server.ports[0], '127.0.0.1');
      client.send(id % 3 === 0 ? reply : Buffer.alloc(id % 12), server.ports[0], '127.0.0.1');
    }
    const until = performance.now() + 3_000;
    while (got.length < 300 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
    t.same(
      [...got].sort((a, b) => a - b),
      Array.from({ length: 300 }, (_, id) => id),
      `${engine}: each query once`,
    );
    client.close();
    await server.stop();
  }
});

t.test('several workers share the load of a socket', async (t) => {
  for (const udp of engines) {
    const { buffer } = imageOfOneService();
    const host = '127.0.0.1';
    const plane = await DataPlane.start({
      image: buffer,
      listen: [{ host, port: 0 }],
      workers: 3,
      udp,
      tcpLimits: limits.tcp,
      onHint: () => undefined,
      onDeath: (reason) => t.fail(String(reason)),
    });
    const { port } = plane.listening[0]!;
    const clients = await Promise.all(Array.from({ length: 12 }, () => load(port)));
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const results = await Promise.all(clients.map((client) => client.end()));
    await plane.close();
    const counts = [0, 1, 2].map((reader) => countersOf(buffer, reader)[counter.QUERIES]!);
    const answered = results.reduce((sum, result) => sum + result.answered, 0);
    t.ok(counts.filter((count) => count > 0).length >= 2, `${udp}: ${counts.join(', ')} queries`);
    t.ok(
      counts.reduce((sum, count) => sum + count, 0) >= answered,
      `${udp}: every answer was counted, ${String(answered)}`,
    );
    t.ok(
      results.every((result) => result.answered > 0),
      `${udp}: every client was answered`,
    );
  }
});

t.test('without koffi: node:dgram, with one line in the log; --udp mmsg ends with one', async (t) => {
  const copy = temporary(t);
  for (const part of ['src', 'package.json']) cpSync(path.join(root, part), path.join(copy, part), { recursive: true });
  const modules = path.join(copy, 'node_modules');
  cpSync(path.join(root, 'package.json'), path.join(modules, 'package.json'));
  for (const name of readdirSync(path.join(root, 'node_modules'))) {
    if (!/koffi|^\.|^@koromix$|^package\.json$/.test(name))
      symlinkSync(path.join(root, 'node_modules', name), path.join(modules, name));
  }
  const server = await started(t, usual('--listen', '127.0.0.1:0'), { root: copy });
  t.equal(server.engine, 'dgram');
  const lines = server.log.filter((line) => line.includes('koffi'));
  t.equal(lines.length, 1, server.log.join('\n'));
  t.match(lines[0], /"level":"warn".*node:dgram/);
  t.equal((await askUdp('127.0.0.1', server.ports[0]!)).from, '127.0.0.1');
  const forced = await started({ teardown: () => undefined }, usual('--udp', 'mmsg', '--listen', '127.0.0.1:0'), {
    root: copy,
  }).catch((error: unknown) => String(error));
  t.match(forced, /--udp mmsg: koffi cannot be loaded/);
});
