// Our server as a process over real sockets, from its spawn on: when it answers right, when it is ready, what it holds and
// how long its main thread stood still. Compiled, as the package ships it.

import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stalls } from '../child/stalls.ts';
import { askAll, comparable } from './ask.ts';
import type { Question } from './fleet.ts';
import { addressesOf, unknownName } from './member.ts';
import { nameOf, questionOf } from './names.ts';
import { WrongAnswer } from './report.ts';
import { freePort } from './stage.ts';
import type { Player, Stage } from './stage.ts';

const GIVE_UP_MILLIS = 600_000;
const LOOK_MILLIS = 5;
const MB = 1_000_000;

export interface ServedOptions {
  /** The folder that compiled.ts made. */
  readonly compiled: string;
  /** Flags that name the clusters. */
  readonly flags: readonly string[];
  readonly watchStalls?: boolean;
}

interface ClusterShown {
  readonly state: string;
  readonly resources: Readonly<Record<string, { readonly phase: string; readonly objects: number }>>;
}

/** A running server. Times are milliseconds since its spawn. */
export class Served {
  readonly port: number;
  readonly player: Player;
  readonly #admin: number;
  readonly #spawned: number;
  #readyMillis: number | undefined;

  private constructor(player: Player, port: number, admin: number, spawned: number) {
    this.player = player;
    this.port = port;
    this.#admin = admin;
    this.#spawned = spawned;
  }

  static async start(stage: Stage, { compiled, flags, watchStalls = false }: ServedOptions): Promise<Served> {
    const [port, admin] = [await freePort(), await freePort()];
    const preload = watchStalls ? ['--import', path.join(compiled, 'bench', 'child', 'stalls.js')] : [];
    const sockets = ['--listen', `127.0.0.1:${String(port)}`, '--admin', `127.0.0.1:${String(admin)}`];
    const args = [path.join(compiled, 'src', 'main.js'), 'serve', ...flags, ...sockets, '--lameduck', '0'];
    const spawned = performance.now();
    const player = stage.start('serve', process.execPath, [...preload, ...args], { lines: true });
    const served = new Served(player, port, admin, spawned);
    return served;
  }

  get #millis(): number {
    return performance.now() - this.#spawned;
  }

  /** Waits for the first right answer for service `i`; gives when it came. */
  async answered(i: number, endpoints: number): Promise<number> {
    for (;;) {
      const [reply] = await this.#ask([questionOf(i)]).catch(() => []);
      const at = this.#millis;
      if (reply !== undefined && (reply[3]! & 0x0f) === 0 && isRight(reply, i, endpoints)) return at;
      await this.#again(`an answer for ${nameOf(i)}`);
    }
  }

  /** Waits until the sockets are there. */
  async listening(): Promise<number> {
    while ((await this.#ask([questionOf(0)]).catch(() => [])).length === 0) await this.#again('a listening server');
    return this.#millis;
  }

  /** Waits for the lines that `serve` prints when it is ready; gives when they came. */
  async ready(): Promise<number> {
    if (this.#readyMillis === undefined) {
      // Two lines to try follow the first.
      await this.player.line();
      this.#readyMillis = this.#millis;
      await this.player.line();
      await this.player.line();
    }
    return this.#readyMillis;
  }

  /** Answers of each kind, for these services; throws WrongAnswer. */
  async check(services: readonly number[], endpoints: number): Promise<void> {
    const a = services.map(questionOf);
    const srv = services.map((i): Question => ({ name: `_mysql._tcp.${nameOf(i)}`, type: 'SRV' }));
    const aaaa = services.map((i): Question => ({ name: nameOf(i), type: 'AAAA' }));
    const replies = await this.#ask([...a, ...srv, ...aaaa, { name: unknownName, type: 'A' }]);
    const count = services.length;
    services.forEach((i, n) => {
      if (!isRight(replies[n]!, i, endpoints)) throw wrong(a[n]!, replies[n]!);
      const ports = comparable(replies[count + n]!).must.match(/ SRV \{.*"port":3306/g) ?? [];
      if (ports.length !== endpoints) throw wrong(srv[n]!, replies[count + n]!);
      if (!comparable(replies[2 * count + n]!).must.startsWith('rcode 0 aa\n  authority')) {
        throw wrong(aaaa[n]!, replies[2 * count + n]!);
      }
    });
    const absent = replies.at(-1)!;
    if (!comparable(absent).must.startsWith('rcode 3 aa')) throw wrong({ name: unknownName, type: 'A' }, absent);
  }

  /** Of each cluster, its state. */
  async clusters(): Promise<readonly ClusterShown[]> {
    const { clusters } = JSON.parse(await get(this.#admin, '/ready')) as { clusters: readonly ClusterShown[] };
    return clusters;
  }

  /** Waits until every resource of every cluster is, or until one is not, followed. */
  async followed(is: boolean): Promise<number> {
    for (;;) {
      const shown = await this.clusters().catch(() => []);
      const phases = shown.flatMap(({ resources }) => Object.values(resources).map(({ phase }) => phase));
      if (phases.length > 0 && phases.every((phase) => phase === 'watching') === is) return this.#millis;
      await this.#again(is ? 'a fleet that is followed' : 'a relist');
    }
  }

  /** The longest stall of the main thread since the last call; `watchStalls` is needed. */
  async longestStall(): Promise<number> {
    process.kill(this.player.pid, 'SIGUSR2');
    return (JSON.parse(await this.player.line()) as Stalls).longestMillis;
  }

  /** Resident memory now and its peak, MB. */
  memory(): Memory {
    return memoryOf(this.player.pid);
  }

  /** The peak is that of what comes from now on. */
  forgetPeak(): void {
    writeFileSync(`/proc/${String(this.player.pid)}/clear_refs`, '5');
  }

  #ask(questions: readonly Question[]): Promise<Buffer[]> {
    return askAll(this.port, questions, 'tcp');
  }

  async #again(what: string): Promise<void> {
    if (this.#millis > GIVE_UP_MILLIS) throw new Error(`serve: ${what} did not come`);
    await Promise.race([sleep(LOOK_MILLIS), this.player.ended.then(() => this.player.line())]);
  }
}

export interface Memory {
  readonly rss: number;
  readonly peak: number;
}

/** MB, proc(5) status. */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${String(pid)}/status`, 'latin1');
  const field = (name: string): number =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) * 1_024) / MB;
  return { rss: field('VmRSS'), peak: field('VmHWM') };
}

/** Waits until a folder holds files and nothing more is written into it; gives their octets. */
export async function written(dir: string): Promise<number> {
  const until = performance.now() + GIVE_UP_MILLIS;
  for (let before = -1; ;) {
    const now = octetsOf(dir);
    if (now > 0 && now === before) return now;
    if (performance.now() > until) throw new Error(`nothing was written into ${dir}`);
    before = now;
    await sleep(500);
  }
}

function octetsOf(dir: string): number {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => {
      // A temporary name is gone by the time it is looked at.
      const found = statSync(path.join(parentPath, name), { throwIfNoEntry: false });
      return sum + (found?.size ?? 0);
    }, 0);
}

function isRight(reply: Buffer, i: number, endpoints: number): boolean {
  const { must } = comparable(reply);
  const found = [...must.matchAll(/ A "([\d.]+)"/g)].map(([, address]) => address!).sort();
  const wanted = addressesOf(i, endpoints).sort();
  return found.length === wanted.length && found.every((address, k) => address === wanted[k]);
}

function wrong({ name, type }: Question, reply: Buffer): WrongAnswer {
  return new WrongAnswer(`${name} ${type}: ${comparable(reply).must.slice(0, 500)}`);
}

function get(port: number, where: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: where }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(text));
    });
    asked.on('error', reject).end();
  });
}
