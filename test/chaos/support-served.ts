// The server under test in a chaos run: started again and again on the same port and state, and what it costs.

import { readdirSync, readFileSync } from 'node:fs';
import { askUdp, ServerProcess } from '../process/support-server.ts';

const MEBI = 1_048_576;
const START_MILLIS = 30_000;

export interface Sample {
  readonly atMillis: number;
  readonly rssMebioctets: number;
  readonly descriptors: number;
}

export class Served {
  readonly #flags: readonly string[];
  readonly #root: string | undefined;
  readonly #port: number;
  /** A name of each cluster that is always there. */
  readonly #known: readonly string[];
  #server: ServerProcess;
  /** Of the process that runs now. */
  samples: Sample[] = [];
  readonly log: string[] = [];
  #timer: NodeJS.Timeout;

  constructor(flags: readonly string[], port: number, known: readonly string[], root?: string) {
    this.#flags = flags;
    this.#port = port;
    this.#known = known;
    this.#root = root;
    this.#server = this.#spawn();
    this.#timer = setInterval(() => this.#sample(), 1_000);
  }

  get current(): ServerProcess {
    return this.#server;
  }

  /** Waits until every cluster's names are answered; milliseconds from `since`, and to the first right answer. */
  async answering(since: number): Promise<{ firstMillis: number; allMillis: number }> {
    let firstMillis = NaN;
    for (const name of this.#known) {
      while (!(await this.#answers(name))) {
        if (performance.now() - since > START_MILLIS || this.#server.isOver) {
          throw new Error(`${name} is not answered:\n${this.#server.log.slice(-20).join('\n')}`);
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      if (Number.isNaN(firstMillis)) firstMillis = performance.now() - since;
    }
    return { firstMillis, allMillis: performance.now() - since };
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#server.child.kill(signal);
    const { code } = await this.#server.ended;
    if (signal === 'SIGTERM' && code !== 0) throw new Error(`SIGTERM ended the server with ${String(code)}`);
  }

  start(): void {
    this.log.push(...this.#server.log.splice(0));
    this.#server = this.#spawn();
    this.samples = [];
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (!this.#server.isOver) await this.#server.stop();
    this.log.push(...this.#server.log);
  }

  #spawn(): ServerProcess {
    return new ServerProcess(this.#flags, this.#root === undefined ? {} : { root: this.#root });
  }

  async #answers(name: string): Promise<boolean> {
    try {
      const { rcode, answers } = await askUdp('127.0.0.1', this.#port, name, 'A', 300);
      return rcode === 'NOERROR' && answers.length > 0;
    } catch {
      return false;
    }
  }

  #sample(): void {
    const { pid } = this.#server.child;
    try {
      const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid!}/status`, 'utf8'))?.[1]) * 1_024;
      const descriptors = readdirSync(`/proc/${pid!}/fd`).length;
      this.samples.push({ atMillis: performance.now(), rssMebioctets: rss / MEBI, descriptors });
    } catch {
      // It is away.
    }
  }
}

/** Least squares over the samples behind the first `warmMillis`; NaN where there are too few. */
export function slopePerMinute(samples: readonly Sample[], warmMillis: number): number {
  const began = (samples[0]?.atMillis ?? 0) + warmMillis;
  const points = samples.filter(({ atMillis }) => atMillis >= began);
  if (points.length < 10) return NaN;
  const mean = (of: (sample: Sample) => number): number =>
    points.reduce((sum, each) => sum + of(each), 0) / points.length;
  const [x, y] = [mean(({ atMillis }) => atMillis), mean(({ rssMebioctets }) => rssMebioctets)];
  const above = points.reduce((sum, each) => sum + (each.atMillis - x) * (each.rssMebioctets - y), 0);
  const below = points.reduce((sum, each) => sum + (each.atMillis - x) ** 2, 0);
  return (above / below) * 60_000;
}
