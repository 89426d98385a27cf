// Asks a set of questions over UDP all the time, and judges every reply at once: for chaos tests and long runs, so its
// memory is flat however long it goes on. A table says what is right; it may change while it runs, and a reply is judged
// by what was right at any time between its question and itself. Not here: what is right.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { questionOf, readReply, type Reply } from '../zones/support-ask.ts';

/** Undefined: right. Else what is wrong, in words. */
export type Verdict = (reply: Reply) => string | undefined;

export interface Violation {
  /** By performance.now(), of the reply. */
  readonly atMillis: number;
  readonly name: string;
  readonly type: string;
  readonly got: string;
}

export interface CheckerOptions {
  readonly port: number;
  readonly host?: string;
  /** 2,000. */
  readonly questionsPerSecond?: number;
  /** A question without a reply for so long is lost: 2 s. */
  readonly lostMillis?: number;
  /** Violations that are kept; more are only counted. */
  readonly kept?: number;
}

export interface CheckerReport {
  readonly sent: number;
  readonly answered: number;
  readonly violations: number;
  /** The first of them. */
  readonly first: readonly Violation[];
  readonly lost: number;
  /** The names of lost questions, by how many; bounded. */
  readonly lostNames: ReadonlyMap<string, number>;
  readonly slowestMillis: number;
  readonly slowestName: string;
  /** Replies to no question that is under way: late ones of lost questions, or doubles. */
  readonly strays: number;
  /** The longest time between two replies. */
  readonly longestGapMillis: number;
}

interface Expectation {
  readonly name: string;
  readonly type: string;
  readonly packet: Buffer;
  verdict: Verdict;
  /** The one before. */
  old: Verdict | undefined;
  changedAtMillis: number;
  isActive: boolean;
}

const TICK_MILLIS = 5;
const IDS = 65_536;
/** More than this at once after a stall would only be lost in our own socket's buffer. */
const BURST = 200;
const LOST_NAMES = 100;

export class Checker {
  readonly #socket: Socket;
  readonly #options: Required<CheckerOptions>;
  readonly #table = new Map<string, Expectation>();
  #asked: Expectation[] = [];
  #next = 0;
  /** What was asked with each id, and when; ids go round, so the oldest question under way is `#oldest`. */
  readonly #pending = new Array<Expectation | undefined>(IDS).fill(undefined);
  readonly #sentAt = new Float64Array(IDS);
  /** What was right when it was asked. */
  readonly #verdicts = new Array<Verdict | undefined>(IDS).fill(undefined);
  #id = 0;
  #oldest = 0;
  #timer: NodeJS.Timeout | undefined;
  #tickAt = 0;
  #owed = 0;
  #lastReplyAt = 0;
  #report = emptyReport();

  private constructor(socket: Socket, options: Required<CheckerOptions>) {
    this.#socket = socket;
    this.#options = options;
    socket.on('message', (message) => this.#receive(message));
    // A server that is away: the question is lost, which is counted.
    socket.on('error', () => undefined);
  }

  /** A connected socket; nothing is asked before `run`. */
  static async open(options: CheckerOptions): Promise<Checker> {
    const { host = '127.0.0.1', questionsPerSecond = 2_000, lostMillis = 2_000, kept = 100 } = options;
    const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
    socket.connect(options.port, host);
    await once(socket, 'connect');
    return new Checker(socket, { host, questionsPerSecond, lostMillis, kept, port: options.port });
  }

  /** From now on this question is asked and judged so. Questions under way may still be answered as before. */
  expect(name: string, type: string, verdict: Verdict): void {
    const key = `${name} ${type}`;
    const entry = this.#table.get(key);
    if (entry !== undefined) {
      entry.old = entry.verdict;
      entry.verdict = verdict;
      entry.changedAtMillis = performance.now();
      return;
    }
    const packet = questionOf(name, type);
    const fresh = { name, type, packet, verdict, old: undefined, changedAtMillis: 0, isActive: true };
    this.#table.set(key, fresh);
    this.#asked.push(fresh);
  }

  /** The question is no longer asked; replies under way are not judged. */
  forget(name: string, type: string): void {
    const key = `${name} ${type}`;
    const entry = this.#table.get(key);
    if (entry === undefined) return;
    entry.isActive = false;
    this.#table.delete(key);
    this.#asked = this.#asked.filter((each) => each !== entry);
  }

  run(): void {
    if (this.#timer !== undefined) return;
    this.#tickAt = this.#lastReplyAt = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MILLIS);
  }

  /** Asks no more, for now; replies still count. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  get report(): CheckerReport {
    return { ...this.#report, first: [...this.#report.first], lostNames: new Map(this.#report.lostNames) };
  }

  /** Counts from nothing again, as after a phase of a test. */
  reset(): void {
    this.#report = emptyReport();
    this.#lastReplyAt = performance.now();
  }

  /** Waits for what is under way, and closes the socket. */
  async stop(): Promise<CheckerReport> {
    this.pause();
    for (;;) {
      this.#drop(performance.now());
      if (this.#oldest === this.#id) break;
      await new Promise((resolve) => setTimeout(resolve, TICK_MILLIS));
    }
    this.#socket.close();
    return this.report;
  }

  #tick(): void {
    const now = performance.now();
    this.#owed = Math.min(BURST, this.#owed + ((now - this.#tickAt) / 1_000) * this.#options.questionsPerSecond);
    this.#tickAt = now;
    this.#drop(now);
    for (; this.#owed >= 1; this.#owed--) this.#ask(now);
  }

  #ask(now: number): void {
    const after = (this.#id + 1) % IDS;
    if (this.#asked.length === 0 || after === this.#oldest) return;
    const question = this.#asked[this.#next++ % this.#asked.length]!;
    // dgram keeps the octets until they are sent, which may be later: each question has its own.
    const packet = Buffer.from(question.packet);
    packet.writeUInt16BE(this.#id, 0);
    this.#pending[this.#id] = question;
    this.#verdicts[this.#id] = question.verdict;
    this.#sentAt[this.#id] = now;
    this.#id = after;
    this.#report.sent++;
    this.#socket.send(packet, noop);
  }

  /** Moves `#oldest` past questions that were answered or are lost. */
  #drop(now: number): void {
    for (; this.#oldest !== this.#id; this.#oldest = (this.#oldest + 1) % IDS) {
      const question = this.#pending[this.#oldest];
      if (question === undefined) continue;
      if (now - this.#sentAt[this.#oldest]! < this.#options.lostMillis) return;
      this.#pending[this.#oldest] = undefined;
      if (!question.isActive) continue;
      const { lostNames } = this.#report;
      this.#report.lost++;
      const count = lostNames.get(question.name);
      if (count !== undefined || lostNames.size < LOST_NAMES) lostNames.set(question.name, (count ?? 0) + 1);
    }
  }

  #receive(message: Buffer): void {
    const now = performance.now();
    const id = message.length >= 2 ? message.readUInt16BE(0) : -1;
    const question = this.#pending[id];
    if (question === undefined) {
      this.#report.strays++;
      return;
    }
    this.#pending[id] = undefined;
    const report = this.#report;
    report.answered++;
    report.longestGapMillis = Math.max(report.longestGapMillis, now - this.#lastReplyAt);
    this.#lastReplyAt = now;
    const millis = now - this.#sentAt[id]!;
    if (millis > report.slowestMillis) {
      report.slowestMillis = millis;
      report.slowestName = question.name;
    }
    if (!question.isActive) return;
    const wrong = judge(question, message, this.#sentAt[id]!, this.#verdicts[id]!);
    if (wrong === undefined) return;
    report.violations++;
    if (report.first.length >= this.#options.kept) return;
    report.first.push({ atMillis: now, name: question.name, type: question.type, got: wrong });
  }
}

/** What is wrong with a reply to a question sent then, when `first` was right. */
function judge(question: Expectation, message: Buffer, sentAtMillis: number, first: Verdict): string | undefined {
  const { name, type, verdict, old, changedAtMillis } = question;
  let reply: Reply;
  try {
    reply = readReply(message);
  } catch (error) {
    return `does not decode: ${String(error)}`;
  }
  const asked = reply.packet.questions?.[0];
  if (asked?.name.toLowerCase() !== name.toLowerCase() || asked.type !== type) {
    return `the reply to ${String(asked?.name)} ${String(asked?.type)}`;
  }
  const wrong = verdict(reply);
  if (wrong === undefined || old === undefined || sentAtMillis >= changedAtMillis) return wrong;
  return old(reply) === undefined || first(reply) === undefined ? undefined : wrong;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function emptyReport(): Mutable<Omit<CheckerReport, 'first' | 'lostNames'>> & {
  first: Violation[];
  lostNames: Map<string, number>;
} {
  return {
    ...{ sent: 0, answered: 0, violations: 0, first: [], lost: 0, lostNames: new Map<string, number>() },
    ...{ slowestMillis: 0, slowestName: '', strays: 0, longestGapMillis: 0 },
  };
}

function noop(): void {
  // An unreachable server is a lost question, which is counted where it is missed.
}

/** Right when the answer section is exactly this, in any order (`owner TYPE rdata`), with this RCODE. */
export function answers(lines: readonly string[], rcode = 'NOERROR'): Verdict {
  const wanted = [...lines].sort().join('\n');
  return (reply) => {
    const got = reply.answers.join('\n');
    return reply.rcode === rcode && got === wanted ? undefined : shown(reply);
  };
}

/** Right when one of these is. */
export function anyOf(...verdicts: readonly Verdict[]): Verdict {
  return (reply) => (verdicts.some((verdict) => verdict(reply) === undefined) ? undefined : shown(reply));
}

function shown({ rcode, answers: lines }: Reply): string {
  return [rcode, ...lines.slice(0, 10), ...(lines.length > 10 ? [`and ${lines.length - 10} more`] : [])].join('; ');
}
