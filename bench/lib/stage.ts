// What a bench starts and must end: one temporary folder and the processes in it. They are ended by pid, at the end, on
// an error and on a signal alike. Also what is read of a process from the outside: its CPU time, its memory, its cores.
// Sources: proc(5) (task/TID/schedstat, task/TID/children), taskset(1).

import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The package's folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Time that a process gets to end after SIGTERM. */
const END_MILLIS = 5_000;
/** What a process said last, for the error that tells that it ended. */
const MOST_SAID = 4_000;

/** A process on the stage. */
export interface Player {
  readonly name: string;
  readonly pid: number;
  /** The next line it prints. Rejects when it ends first. */
  line(): Promise<string>;
  /** Writes a line to its standard input. */
  tell(text: string): void;
  /** Resolves with its exit code. */
  readonly ended: Promise<number>;
  end(): Promise<void>;
}

export interface PlayOptions {
  /** The only processor it may run on. */
  readonly core?: number;
  /** Its standard output is kept as lines; otherwise it is only what is shown when it fails. */
  readonly lines?: boolean;
}

export interface ChildOptions extends PlayOptions {
  /** Of Node. */
  readonly flags?: readonly string[];
  readonly compiled?: string;
}

const playing = new Set<ChildProcess>();
const dirs = new Set<string>();
process.on('exit', () => {
  for (const child of playing) child.kill('SIGKILL');
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
] as const) {
  process.once(signal, () => process.exit(128 + number));
}

export class Stage {
  readonly dir: string;
  private readonly players: Player[] = [];

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Runs `play` on a new stage, and leaves nothing behind. */
  static async open<T>(play: (stage: Stage) => Promise<T>): Promise<T> {
    const stage = new Stage(await mkdtemp(path.join(tmpdir(), 'clusterset-bench-')));
    dirs.add(stage.dir);
    try {
      return await play(stage);
    } finally {
      for (const player of stage.players.reverse()) await player.end();
      await rm(stage.dir, { recursive: true, force: true });
      dirs.delete(stage.dir);
    }
  }

  file(name: string): string {
    return path.join(this.dir, name);
  }

  /** Starts a program. */
  start(name: string, command: string, args: readonly string[], options: PlayOptions = {}): Player {
    const pinned = options.core === undefined ? [] : ['taskset', '-c', String(options.core)];
    const [program, ...rest] = [...pinned, command, ...args];
    const child = spawn(program!, rest, { cwd: this.dir, env: environment(), stdio: ['pipe', 'pipe', 'pipe'] });
    const player = play(name, child, options.lines === true);
    this.players.push(player);
    return player;
  }

  /**
   * Starts one of the programs in bench/child with this Node; its argument is JSON, its output lines of JSON.
   * `compiled`: the folder that compiled.ts made; without it, Node strips the types.
   */
  child(name: string, task: unknown, options: ChildOptions = {}): Player {
    const { compiled, flags = [] } = options;
    const file = path.join(compiled ?? root, 'bench', 'child', `${name}.${compiled === undefined ? 'ts' : 'js'}`);
    return this.start(name, process.execPath, [...flags, file, JSON.stringify(task)], { ...options, lines: true });
  }
}

function play(name: string, child: ChildProcess, keepsLines: boolean): Player {
  playing.add(child);
  let said = '';
  const hear = (text: string): void => {
    said = (said + text).slice(-MOST_SAID);
  };
  child.stderr!.setEncoding('utf8').on('data', hear);
  const lines: string[] = [];
  const waiting: { resolve: (line: string) => void; reject: (error: Error) => void }[] = [];
  let isOver = false;
  if (keepsLines) {
    createInterface(child.stdout!).on('line', (line) => {
      const next = waiting.shift();
      if (next === undefined) lines.push(line);
      else next.resolve(line);
    });
  } else child.stdout!.setEncoding('utf8').on('data', hear);
  child.stdin!.on('error', () => undefined);
  const over = (): Error => new Error(`${name} ended: ${said.trim()}`);
  const ended = new Promise<number>((resolve) => {
    child.on('error', (error) => hear(String(error)));
    child.on('close', (code) => {
      playing.delete(child);
      isOver = true;
      for (const { reject } of waiting) reject(over());
      resolve(code ?? -1);
    });
  });
  return {
    name,
    get pid() {
      if (child.pid === undefined) throw new Error(`${name} could not be started: is it installed?`);
      return child.pid;
    },
    line: () => {
      const line = lines.shift();
      if (line !== undefined) return Promise.resolve(line);
      if (isOver) return Promise.reject(over());
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    tell: (text) => void child.stdin!.write(`${text}\n`),
    ended,
    end: async () => {
      if (isOver) return;
      // A stopped process takes SIGTERM only once it goes on.
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MILLIS);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** This process's environment without what would change another Node. */
export function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, ...rest } = process.env;
  return rest;
}

/** A process and those it started: NSD answers in a child of its first process. */
function tree(pid: number): number[] {
  const children = readdirSync(`/proc/${String(pid)}/task`).flatMap((thread) =>
    readFileSync(`/proc/${String(pid)}/task/${thread}/children`, 'utf8')
      .trim()
      .split(' '),
  );
  return [pid, ...children.filter((child) => child !== '').flatMap((child) => tree(Number(child)))];
}

/** CPU time in nanoseconds of every thread of the process and of those it started. */
export function cpuNanos(pid: number): number {
  let nanos = 0;
  for (const each of tree(pid)) {
    for (const thread of readdirSync(`/proc/${String(each)}/task`)) {
      const [running = '0'] = readFileSync(`/proc/${String(each)}/task/${thread}/schedstat`, 'utf8').split(' ');
      nanos += Number(running);
    }
  }
  return nanos;
}

/** Lets every thread of the process and of those it started run on these processors only. */
export async function pin(pid: number, cores: string): Promise<void> {
  for (const each of tree(pid)) await run('taskset', ['-a', '-p', '-c', cores, String(each)]);
}

/** Every processor of this machine, as taskset names them. */
export const allCores = `0-${String(availableParallelism() - 1)}`;

/** A port of 127.0.0.1 that is free over UDP and TCP. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = createSocket('udp4');
    const isFree = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false));
      socket.bind(port, '127.0.0.1', () => resolve(true));
    });
    socket.close();
    server.close();
    await once(server, 'close');
    if (isFree) return port;
  }
}
