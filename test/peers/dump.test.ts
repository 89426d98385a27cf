/**
 * `dump` of the example as a master file in Knot and in NSD: 2,000 questions get the same answers from them and from us.
 * Compared: RCODE, AA, the answer section as a set with TTLs, and the SOA of negative answers.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import process from 'node:process';
import type { Answer } from 'dns-packet';
import t, { type Test } from 'tap';
import { exampleLab, root, started, temporary, usual } from '../process/support-server.ts';
import { questionOf, rdataText, readReply } from '../zones/support-ask.ts';

const ZONE = 'clusterset.local';
const QUESTIONS = 2_000;
const UNDER_WAY = 64;
const TYPES = ['A', 'AAAA', 'SRV', 'TXT', 'NS', 'SOA', 'MX', 'CNAME', 'PTR'] as const;

/** Where we differ on purpose: these parts of a reply are not compared. */
const DIFFERENCES = [
  { what: 'SERIAL of the SOA', why: 'a dump has the time of its own making' },
  { what: 'authority section of positive answers', why: 'NSD adds the NS set; we and Knot send what was asked for' },
  { what: 'additional section', why: 'which addresses go along is each server’s choice, and none may be relied on' },
  { what: 'letter case of names', why: 'a name that is a pointer into the question has the question’s letters' },
  { what: 'order of records', why: 'we rotate addresses' },
  { what: 'QTYPE ANY', why: 'we give one set (RFC 8482 4.1), Knot and NSD all of them over TCP' },
  { what: 'names outside the zone', why: 'we add Extended DNS Error 20 and they do not; all say REFUSED' },
] as const;

interface Line {
  readonly name: string;
  readonly type: string;
}

/** The two peers: how each is found, set up and started. */
const peers = {
  knot: {
    command: 'knotd',
    package: 'knot',
    configure: (folder: string, port: number) =>
      `server:\n  listen: 127.0.0.1@${String(port)}\n  rundir: ${folder}/run\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n` +
      `log:\n  - target: stderr\n    any: warning\ndatabase:\n  storage: ${folder}/db\n` +
      `template:\n  - id: default\n    storage: ${folder}\n    semantic-checks: on\nzone:\n  - domain: ${ZONE}.\n    file: ${ZONE}.zone\n`,
    flags: ['-c'],
  },
  nsd: {
    command: 'nsd',
    package: 'nsd',
    configure: (folder: string, port: number) =>
      `server:\n  ip-address: 127.0.0.1@${String(port)}\n  username: ""\n  chroot: ""\n  zonesdir: "${folder}"\n  database: ""\n  pidfile: "${folder}/nsd.pid"\n` +
      `  xfrdfile: "${folder}/xfrd.state"\n  zonelistfile: "${folder}/zone.list"\n  logfile: "${folder}/nsd.log"\n  server-count: 1\n  rrl-ratelimit: 0\n` +
      `remote-control:\n  control-enable: no\nzone:\n  name: "${ZONE}"\n  zonefile: "${ZONE}.zone"\n`,
    flags: ['-d', '-c'],
  },
} as const;

type Peer = (typeof peers)[keyof typeof peers];

/** Debian puts daemons where not every PATH leads. */
function find(command: string): string | undefined {
  try {
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin:/sbin` };
    return execFileSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8', env }).trim();
  } catch {
    return undefined;
  }
}

function dump(...flags: string[]): string {
  const main = path.join(root, 'src/main.ts');
  return execFileSync(process.execPath, [main, 'dump', '--lab', exampleLab, ...flags], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** A number below those that systems give out by themselves, free over UDP and TCP. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const [socket, server] = [createSocket('udp4'), createServer()];
    try {
      socket.bind(port, '127.0.0.1');
      await once(socket, 'listening');
      await once(server.listen(port, '127.0.0.1'), 'listening');
      return port;
    } catch {
      // Somebody has it: another.
    } finally {
      socket.close();
      server.close();
    }
  }
}

/** Starts a peer with the dumped zone and waits until it answers. */
async function startPeer(t: Test, peer: Peer, file: string, zone: string): Promise<number> {
  const folder = temporary(t);
  chmodSync(folder, 0o755);
  for (const sub of ['run', 'db']) mkdirSync(path.join(folder, sub));
  const port = await freePort();
  const settings = path.join(folder, 'peer.conf');
  writeFileSync(path.join(folder, `${ZONE}.zone`), zone);
  writeFileSync(settings, peer.configure(folder, port));
  const child = spawn(file, [...peer.flags, settings], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (text) => (said += String(text)));
  child.stderr.on('data', (text) => (said += String(text)));
  t.teardown(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await once(child, 'exit');
    clearTimeout(late);
  });
  const until = performance.now() + 15_000;
  let reply = '';
  do {
    if (child.exitCode !== null) break;
    [reply = ''] = await askAll(port, [{ name: ZONE, type: 'SOA' }], 300).catch(() => ['']);
    if (reply.startsWith('NOERROR')) return port;
    await new Promise((resolve) => setTimeout(resolve, 100));
  } while (performance.now() < until);
  throw new Error(`${peer.command} does not serve the zone (${reply}):\n${said}`);
}

/** The comparable part of each reply, in the order of the questions. */
async function askAll(port: number, questions: readonly Line[], patience = 3_000): Promise<string[]> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  const replies = new Map<number, string>();
  socket.on('message', (message) => {
    const reply = readReply(message);
    if (reply.packet.id !== undefined && !replies.has(reply.packet.id)) replies.set(reply.packet.id, comparable(reply));
  });
  socket.on('error', () => undefined);
  try {
    for (let from = 0; from < questions.length; from += UNDER_WAY) {
      const ids = questions.slice(from, from + UNDER_WAY).map((_, n) => from + n);
      await untilAnswered(socket, port, questions, ids, replies, patience);
    }
  } finally {
    socket.close();
  }
  return questions.map((_, id) => replies.get(id) ?? 'no reply');
}

async function untilAnswered(
  socket: Socket,
  port: number,
  questions: readonly Line[],
  ids: readonly number[],
  replies: ReadonlyMap<number, string>,
  patience: number,
): Promise<void> {
  const until = performance.now() + patience;
  let again = 0;
  for (;;) {
    const open = ids.filter((id) => !replies.has(id));
    if (open.length === 0) return;
    if (performance.now() > until) throw new Error(`no reply to ${questions[open[0]!]!.name}`);
    if (performance.now() >= again) {
      for (const id of open)
        socket.send(questionOf(questions[id]!.name, questions[id]!.type, true, id), port, '127.0.0.1');
      again = performance.now() + 500;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function comparable({ rcode, aa, tc, packet }: ReturnType<typeof readReply>): string {
  const answers = (packet.answers ?? []).map(line).sort();
  const negative = answers.length > 0 ? [] : (packet.authorities ?? []).map(line);
  return [rcode, aa ? 'AA' : 'no AA', tc ? 'TC' : '', ...answers, ...negative.map((soa) => `SOA ${soa}`)].join('\n');
}

function line(record: Answer): string {
  const { name, type, ttl } = record as { name: string; type: string; ttl?: number };
  const text = record.type === 'SOA' ? Object.values({ ...record.data, serial: 0 }).join(' ') : rdataText(record);
  return `${name} ${String(ttl)} ${type} ${text}`.toLowerCase();
}

/** Every owner, what lies between the owners and the apex, what is missing beside and below them: by every type. */
function questionsOf(lines: readonly Line[]): Line[] {
  const owners = new Set(lines.map(({ name }) => name.replace(/\.$/, '').toLowerCase()));
  const inside = [...owners].flatMap((name) => {
    const labels = name.split('.');
    return labels
      .map((_, n) => labels.slice(n).join('.'))
      .filter((above) => above === ZONE || above.endsWith('.' + ZONE));
  });
  const names = new Set(inside);
  const missing = [...names].flatMap((name) => [
    `nosuch.${name}`,
    `_nosuch._tcp.${name}`,
    `a.b.c.${name}`,
    ...(name === ZONE ? [] : [`x${name}`, `nosuch.${name.slice(name.indexOf('.') + 1)}`]),
  ]);
  const all = [...names].flatMap((name) => TYPES.map((type) => ({ name, type })));
  const absent = [...new Set(missing)].flatMap((name) => ['A', 'AAAA', 'SRV'].map((type) => ({ name, type })));
  const questions: Line[] = [...all, ...absent];
  // Letters in either case, as a resolver with 0x20 sends them.
  let random = 2_463_534_242;
  for (let n = 0; questions.length < QUESTIONS; n++) {
    const { name, type } = all[n % all.length]!;
    const mixed = Array.from(name, (letter) => letter).map((letter) => {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
      return random >>> 31 === 1 ? letter.toUpperCase() : letter;
    });
    questions.push({ name: mixed.join(''), type });
  }
  return questions;
}

t.test('the example’s dump gives the same answers in Knot and in NSD as here', async (t) => {
  for (const { what, why } of DIFFERENCES) t.comment(`not compared: ${what}: ${why}`);
  const zone = dump();
  const lines = JSON.parse(dump('-o', 'json')) as Line[];
  t.equal(
    zone.split('\n').filter((text) => text !== '' && !text.startsWith(';')).length,
    lines.length,
    'master file and JSON have the same records',
  );
  const questions = questionsOf(lines);
  t.ok(questions.length >= QUESTIONS, `${String(questions.length)} questions about ${String(lines.length)} records`);
  const server = await started(t, usual('--listen', '127.0.0.1:0'));
  const ours = await askAll(server.ports[0]!, questions);
  t.ok(ours.filter((reply) => reply.startsWith('NXDOMAIN')).length > 200, 'some of nothing');
  t.ok(ours.filter((reply) => /^NOERROR\nAA\n\n.* (a|aaaa|srv) /s.test(reply)).length > 100, 'some with records');
  for (const [name, peer] of Object.entries(peers)) {
    const file = find(peer.command);
    const missing = `${peer.command} is not here (Debian package ${peer.package}, or npm run setup)`;
    const skip = file === undefined && process.env['CI'] !== 'true' ? missing : false;
    await t.test(name, { skip }, async (t) => {
      if (file === undefined) {
        t.fail(missing);
        return;
      }
      const theirs = await askAll(await startPeer(t, peer, file, zone), questions);
      const different = questions.flatMap(({ name, type }, n) =>
        ours[n] === theirs[n] ? [] : [{ name, type, ours: ours[n], theirs: theirs[n] }],
      );
      t.same(
        different.slice(0, 5),
        [],
        `${String(questions.length - different.length)} of ${String(questions.length)} alike`,
      );
    });
  }
});
