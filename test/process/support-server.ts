// `serve` as a child process, for tests of the process itself: any flags, any environment, any user. It says what was
// logged and how it ended; and small clients whose replies dnsperf's and dig's place is too slow or too coarse to see.
import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { questionOf, readReply, type Reply } from '../zones/support-ask.ts';

export const root = path.join(import.meta.dirname, '../..');
export const exampleLab = path.join(root, 'examples/lab');
export const WEB = 'web.shop.svc.clusterset.local';
const READY_MILLIS = 20_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  /** From the spawn to the end. */
  readonly millis: number;
  readonly log: readonly string[];
}

export interface Options {
  /** Arguments of Node itself. */
  readonly node?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  /** Another checkout. */
  readonly root?: string;
}

export class ServerProcess {
  readonly child: ChildProcess;
  readonly log: string[] = [];
  readonly ended: Promise<Ended>;
  /** When the last line came in, by performance.now(). */
  isOver = false;

  constructor(flags: readonly string[], options: Options = {}) {
    const began = performance.now();
    const main = path.join(options.root ?? root, 'src/main.ts');
    const node = [process.execPath, ...(options.node ?? []), main, 'serve', '--log-format', 'json', ...flags];
    // tap gives every child a NODE_OPTIONS of its own; env(1) takes it away again and becomes the server.
    this.child = spawn('env', ['-u', 'NODE_OPTIONS', ...node], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...options.env },
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    });
    const lines = createInterface({ input: this.child.stderr! }).on('line', (line) => this.log.push(line));
    const kill = (): void => void this.child.kill('SIGKILL');
    process.once('exit', kill);
    this.ended = Promise.all([once(this.child, 'exit'), once(lines, 'close')]).then(([[code, signal]]) => {
      this.isOver = true;
      process.off('exit', kill);
      return {
        code: code as number | null,
        signal: signal as string | null,
        millis: performance.now() - began,
        log: this.log,
      };
    });
  }

  /** Waits for a line with this message; throws when the process ends without it. */
  async line(message: string, millis = READY_MILLIS): Promise<Record<string, string>> {
    const until = performance.now() + millis;
    for (;;) {
      for (const text of this.log) {
        if (!text.includes(`"message":"${message}`)) continue;
        return JSON.parse(text) as Record<string, string>;
      }
      if (this.isOver || performance.now() > until) throw new Error(`no line ${message}:\n${this.log.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Ready to answer; gives what it listens on. */
  async ready(): Promise<{ addresses: string[]; ports: number[]; engine: string }> {
    const listening = await this.line('listening');
    await this.line('ready');
    const addresses = listening['dns']!.split(' ');
    return {
      addresses,
      ports: addresses.map((address) => Number(/:(\d+)$/.exec(address)![1])),
      engine: listening['udp']!,
    };
  }

  /** SIGTERM, then the end; SIGKILL when it does not come. */
  async stop(millis = 10_000): Promise<Ended> {
    const late = setTimeout(() => this.child.kill('SIGKILL'), millis);
    this.child.kill('SIGTERM');
    const ended = await this.ended;
    clearTimeout(late);
    return ended;
  }
}

/** The usual flags: the example on a port of the system's choice, without admin port and lame duck. */
export function usual(...more: string[]): string[] {
  return ['--lab', exampleLab, '--admin', 'off', '--lameduck', '0', '--workers', '1', ...more];
}

/** Starts a server and stops it at the end of the test, which fails where that takes an error. */
export async function started(
  t: { teardown(end: () => Promise<void>): unknown },
  flags: readonly string[],
  options: Options = {},
): Promise<ServerProcess & { ports: number[]; addresses: string[]; engine: string }> {
  const server = new ServerProcess(flags, options);
  t.teardown(async () => {
    const wasOver = server.isOver;
    const { code, log } = await server.stop();
    if (!wasOver && code !== 0) throw new Error(`the server ended with ${String(code)}:\n${log.join('\n')}`);
  });
  return Object.assign(server, await server.ready());
}

/** A folder that is gone after the test. */
export function temporary(t: { teardown(end: () => void): unknown }, copyOf?: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'clusterset-dns-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  if (copyOf !== undefined) cpSync(copyOf, folder, { recursive: true });
  return folder;
}

/** Asks over UDP, again each half second as a resolver would; gives the reply and where it came from. */
export async function askUdp(
  host: string,
  port: number,
  name = WEB,
  type = 'A',
  millis = 5_000,
): Promise<Reply & { from: string }> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  const question = questionOf(name, type);
  const send = (): void => socket.send(question, port, host);
  const again = setInterval(send, 500);
  try {
    const reply = once(socket, 'message', { signal: AbortSignal.timeout(millis) }) as Promise<
      [Buffer, { address: string }]
    >;
    send();
    const [message, from] = await reply;
    return { ...readReply(message), from: from.address };
  } finally {
    clearInterval(again);
    socket.close();
  }
}

/** Asks over TCP. */
export async function askTcp(host: string, port: number, name = WEB, type = 'A'): Promise<Reply> {
  const socket = connect(port, host);
  const question = questionOf(name, type);
  const framed = Buffer.concat([Buffer.from([question.length >>> 8, question.length & 0xff]), question]);
  socket.write(framed);
  let got: Buffer = Buffer.alloc(0);
  try {
    while (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) {
      const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
      got = Buffer.concat([got, chunk]);
    }
    return readReply(got.subarray(2, 2 + got.readUInt16BE(0)));
  } finally {
    socket.destroy();
  }
}

export interface LoadResult {
  readonly sent: number;
  readonly answered: number;
  /** The longest time between two replies. */
  readonly longestGapMillis: number;
}

/** Asks without end with some questions under way, until `end` is called. */
export async function load(port: number, host = '127.0.0.1'): Promise<{ end(): Promise<LoadResult> }> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  const question = questionOf(WEB, 'A');
  let [sent, answered, last, longestGapMillis, isOver] = [0, 0, performance.now(), 0, false];
  const send = (): void => {
    if (isOver) return;
    socket.send(question, port, host);
    sent++;
  };
  socket.on('message', () => {
    answered++;
    const now = performance.now();
    longestGapMillis = Math.max(longestGapMillis, now - last);
    last = now;
    send();
  });
  for (let n = 0; n < 32; n++) send();
  // What was lost is asked again.
  const tick = setInterval(send, 20);
  return {
    async end() {
      isOver = true;
      clearInterval(tick);
      longestGapMillis = Math.max(longestGapMillis, performance.now() - last);
      await new Promise((resolve) => setTimeout(resolve, 50));
      socket.close();
      return { sent, answered, longestGapMillis };
    },
  };
}
