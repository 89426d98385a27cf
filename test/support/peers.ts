// The daemons that tests run beside ours: where scripts/peers.sh put them, why they cannot run here, and one of them as
// a child process that ends with its test. Not what they are asked: kube.ts is.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

/** etcd as built for kube-apiserver, or Debian's of long ago, with which a watch-list is refused. */
export type EtcdVersion = '3.6' | '3.4';

/** What `t` must be able to do. */
export interface Teardown {
  teardown(end: () => Promise<void>): unknown;
}

const script = path.join(import.meta.dirname, '../../scripts/peers.sh');
const READY_MILLIS = 60_000;
const LOG_LINES = 200;

let folder: string | undefined;

/** A built command or a folder of peers.sh's cache. */
export function peer(name: string): string {
  folder ??= execFileSync('sh', [script, '--where'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  return path.join(folder, name);
}

/** The etcd command of this version. */
export function etcdCommand(version: EtcdVersion): string {
  return version === '3.6' ? peer('bin/etcd') : '/usr/bin/etcd';
}

/** Why real API servers cannot run here; undefined where they can. */
export function kubeMissing(etcd: EtcdVersion = '3.6'): string | undefined {
  try {
    if (!existsSync(peer('bin'))) return 'kube-apiserver is not built (npm run setup)';
  } catch {
    return 'kube-apiserver is not built: no Go';
  }
  try {
    execFileSync('kubectl', ['version', '--client'], { stdio: 'ignore' });
  } catch {
    return 'kubectl is not installed';
  }
  try {
    const said = execFileSync(etcdCommand(etcd), ['--version'], { encoding: 'utf8' });
    return said.includes(`etcd Version: ${etcd}.`) ? undefined : `etcd is not ${etcd}`;
  } catch {
    return `etcd ${etcd} is not installed`;
  }
}

/** A test's `skip`. Never where CI=true, which fails without them. */
export function withoutKube(etcd: EtcdVersion = '3.6'): string | false {
  return process.env['CI'] !== 'true' && (kubeMissing(etcd) ?? false);
}

/**
 * A free port of 127.0.0.1 that no outgoing connection takes meanwhile: a client that keeps dialling the port of a
 * daemon that was killed would in the end be given it as its own, and the daemon could not be started on it again.
 */
export async function freePort(): Promise<number> {
  const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1');
  const end = Number(range.split(/\s+/)[0]);
  const span = Math.min(12_000, end - 10_000);
  for (let tries = 0; tries < 100; tries++) {
    const wanted = span > 0 ? end - 1 - Math.floor(Math.random() * span) : 0;
    const server = createServer();
    try {
      await once(server.listen(wanted, '127.0.0.1'), 'listening');
      return (server.address() as AddressInfo).port;
    } catch {
      continue;
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  }
  throw new Error('no free port');
}

/** One run of a daemon, and the end of what it logged. */
export class Daemon {
  readonly log: string[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #isOver = false;

  constructor(command: string, flags: readonly string[]) {
    // `exit` is not reached when this process is killed; the kernel then kills the daemon.
    this.#child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
    createInterface({ input: this.#child.stderr! }).on('line', (line) => {
      this.log.push(line);
      if (this.log.length > LOG_LINES) this.log.shift();
    });
    this.#ended = once(this.#child, 'close')
      .catch((error: unknown) => this.log.push(String(error)))
      .finally(() => (this.#isOver = true));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Waits until it answers; throws with its log when it ends before, or takes too long. */
  async ready(isReady: () => Promise<boolean>): Promise<void> {
    const until = performance.now() + READY_MILLIS;
    while (!(await isReady().catch(() => false))) {
      if (this.#isOver || performance.now() > until) {
        await this.signal('SIGKILL');
        throw new Error(`${this.#child.spawnargs[3]!} did not become ready:\n${this.log.slice(-20).join('\n')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    if (this.#isOver) throw new Error(`another process answers in the place of ${this.#child.spawnargs[3]!}`);
  }

  /** Sends a signal; one that ends it is waited for. */
  async signal(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    this.#child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await this.#ended;
  }
}

/** Starts again on other ports when one was taken in the moment between. */
export async function onFreePorts<T>(start: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await start();
    } catch (error) {
      if (tries === 5 || !String(error).includes('address already in use')) throw error;
    }
  }
}
