// The client side of bench `change`: asks for the service of each change in turn, as fast as replies come, until the
// change is seen, under a steady load of other queries on another socket. One that fell behind (the scheduler took its
// core) asks for several changes at once until it has caught up. Prints 'watching', and at the end when it saw each
// change, in milliseconds of the machine's monotonic clock.

import process from 'node:process';
import { loadLibc } from '../../src/dns/ffi.ts';
import { openUdpSocket } from '../../src/dns/udp-socket.ts';
import { monotonicMillis } from '../lib/clock.ts';
import { BATCH, Datagrams } from '../lib/datagrams.ts';
import { LoadGenerator, encodeAll } from '../lib/load.ts';
import { questionOf } from '../lib/names.ts';
import { changeIn, changedBy } from '../lib/services.ts';

export interface WatchTask {
  readonly port: number;
  readonly services: number;
  readonly changes: number;
  /** Queries a second beside those of the watch. */
  readonly rate: number;
}

export interface WatchResult {
  /** Of change n + 1. */
  readonly seen: readonly number[];
  readonly asked: number;
  /** From when to when the watcher itself did not run: nothing could be seen then. */
  readonly pauses: readonly (readonly [from: number, to: number])[];
  readonly sent: number;
  readonly received: number;
}

/** A reply that has not come after this is not waited for. */
const RETRY_MILLIS = 5;
/** Between two turns of the loop; a longer one is a pause. */
const TURN_MILLIS = 0.5;
/** A change that nobody sees ends the run. */
const GIVE_UP_MILLIS = 20_000;

const { port, services, changes, rate } = JSON.parse(process.argv[2]!) as WatchTask;
const libc = loadLibc();
if (typeof libc === 'string') throw new Error(libc);
const { fd } = openUdpSocket(libc, '127.0.0.1', 0);
const out = new Datagrams(libc, fd, port);
const replies = new Datagrams(libc, fd, port);
const questions = encodeAll(Array.from({ length: services }, (_, i) => questionOf(i)));
const load = new LoadGenerator(port, questions, rate, performance.now());
const clock = (): number => performance.now();

/** When change n + 1 was seen; 0: not yet. */
const seen = new Float64Array(changes);
let first = 0;
let asked = 0;
let askedAt = 0;
/** Questions of the last look whose replies have not come, and how many of its changes were not seen. */
let waiting = 0;
let unseen = 1;
let window = 1;
let lastSeenAt = monotonicMillis();

/** Asks for the next changes: more of them after a look at which all had happened already. */
function look(now: number): void {
  window = unseen === 0 ? Math.min(window * 2, BATCH, changes - first) : 1;
  for (let i = 0; i < window; i++) {
    const change = first + i + 1;
    out.set(i, questions[changedBy(change, services)]!, change & 0xffff);
  }
  out.send(window);
  asked += window;
  waiting = unseen = window;
  askedAt = now;
}

/** Takes the reply in message `i`: it shows the change it was asked for, or none. */
function take(i: number): void {
  const at = replies.at(i);
  const id = (replies.octets[at]! << 8) | replies.octets[at + 1]!;
  waiting--;
  // The id is the change, less what 16 bits do not hold; those asked for lie within a batch of the first unseen one.
  const change = first + 1 + ((id - (first + 1)) & 0xffff);
  if (change > first + BATCH || change > changes || seen[change - 1] !== 0) return;
  // A later change of the same service shows this one as well.
  if (changeIn(replies.octets, at, replies.length(i)) < change) return;
  lastSeenAt = monotonicMillis();
  seen[change - 1] = lastSeenAt;
  unseen--;
}

const pauses: [from: number, to: number][] = [];
let turnedAt = monotonicMillis();
process.stdout.write('watching\n');
while (first < changes) {
  const now = monotonicMillis();
  if (now - turnedAt > TURN_MILLIS) pauses.push([turnedAt, now]);
  turnedAt = now;
  if (now - lastSeenAt > GIVE_UP_MILLIS) throw new Error(`change ${String(first + 1)} was never seen`);
  if (waiting <= 0 || now - askedAt > RETRY_MILLIS) look(now);
  load.send(clock(), undefined);
  load.receive(clock, undefined);
  for (let count = replies.receive(), i = 0; i < count; i++) take(i);
  while (first < changes && seen[first] !== 0) first++;
}
const result: WatchResult = { seen: [...seen], asked, pauses, sent: load.sent, received: load.received };
process.stdout.write(`${JSON.stringify(result)}\n`);
