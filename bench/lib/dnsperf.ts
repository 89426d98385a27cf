// One run of dnsperf against a server, and the CPU time that the server spent on it.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Server } from './peers.ts';
import { cpuNanos, environment } from './stage.ts';

const run = promisify(execFile);

export interface Load {
  /** File of questions. */
  readonly file: string;
  readonly seconds: number;
  /** Queries a second; 0: as many as 400 outstanding ones of 8 clients make. */
  readonly rate: number;
  readonly over: 'udp' | 'tcp';
}

export interface Loaded {
  readonly completed: number;
  readonly lost: number;
  readonly microsPerQuery: number;
  readonly queriesPerSecond: number;
}

export async function dnsperf(server: Server, load: Load): Promise<Loaded> {
  const args = ['-s', '127.0.0.1', '-p', String(server.port), '-d', load.file, '-l', String(load.seconds), '-t', '1'];
  args.push('-m', load.over, '-c', '8', '-q', '400', '-O', 'suppress=timeouts', '-W');
  if (load.rate > 0) args.push('-Q', String(load.rate));
  const before = cpuNanos(server.player.pid);
  const { stdout } = await run('dnsperf', args, { env: environment(), maxBuffer: 64 << 20 });
  const nanos = cpuNanos(server.player.pid) - before;
  const completed = figure(stdout, /Queries completed:\s+(\d+)/);
  if (completed === 0) throw new Error(`${server.name} answered nothing:\n${stdout}`);
  return {
    completed,
    lost: figure(stdout, /Queries lost:\s+(\d+)/),
    microsPerQuery: nanos / 1_000 / completed,
    queriesPerSecond: figure(stdout, /Queries per second:\s+([\d.]+)/),
  };
}

function figure(text: string, pattern: RegExp): number {
  const found = pattern.exec(text);
  if (found === null) throw new Error(`dnsperf printed no ${String(pattern)}:\n${text}`);
  return Number(found[1]);
}
