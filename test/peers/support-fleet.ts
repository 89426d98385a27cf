// The real `serve` over real API servers, for the story of a fleet: its kubeconfig of several contexts, a server that is
// started again on the same port and state, and dig until it prints what is wanted.

import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { stringify } from 'yaml';
import { readFileSync } from 'node:fs';
import { ServerProcess, temporary, type Ended } from '../process/support-server.ts';
import { dig } from '../support/dig.ts';
import { READER_TOKEN, type KubeApi } from '../support/kube.ts';
import { freePort } from '../support/peers.ts';
import type { Server } from '../support/server.ts';

export interface ClusterReadiness {
  readonly id: string;
  readonly state: string;
  readonly reason?: string;
}

export class FleetServer {
  readonly folder: string;
  readonly port: number;
  readonly #admin: number;
  readonly #flags: readonly string[];
  #process: ServerProcess | undefined;

  private constructor(folder: string, port: number, admin: number, flags: readonly string[]) {
    this.folder = folder;
    this.port = port;
    this.#admin = admin;
    this.#flags = flags;
  }

  /** Not started yet; stopped with the test, and then it must have ended well. */
  static async open(t: Test, ...flags: string[]): Promise<FleetServer> {
    const [port, admin] = [await freePort(), await freePort()];
    const folder = temporary(t);
    const fixed = ['--kubeconfig', `${folder}/kubeconfig`, '--all-contexts', '--state-dir', `${folder}/state`];
    const listen = [
      '--listen',
      `127.0.0.1:${port}`,
      '--admin',
      `127.0.0.1:${admin}`,
      '--lameduck',
      '0',
      '--workers',
      '1',
    ];
    const server = new FleetServer(folder, port, admin, [...fixed, ...listen, ...flags]);
    t.teardown(() => server.stop());
    return server;
  }

  /** The reader of each cluster by its token, or by the token in a file. */
  writeKubeconfig(apis: readonly KubeApi[], tokenFiles: Readonly<Record<string, string>> = {}): void {
    const text = stringify({
      ...{ apiVersion: 'v1', kind: 'Config' },
      clusters: apis.map(({ name, url, caFile }) => ({
        name,
        cluster: { server: url, 'certificate-authority-data': readFileSync(caFile).toString('base64') },
      })),
      users: apis.map(({ name }) => ({
        name,
        user: tokenFiles[name] === undefined ? { token: READER_TOKEN } : { tokenFile: tokenFiles[name] },
      })),
      contexts: apis.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
    });
    writeFileSync(`${this.folder}/kubeconfig`, text);
  }

  /** Starts it; not ready yet. */
  start(): ServerProcess {
    this.#process = new ServerProcess(this.#flags);
    return this.#process;
  }

  get log(): readonly string[] {
    return this.#process!.log;
  }

  async kill(): Promise<void> {
    this.#process!.child.kill('SIGKILL');
    await this.#process!.ended;
  }

  async stop(): Promise<void> {
    const server = this.#process;
    if (server === undefined || server.isOver) return;
    const { code, log }: Ended = await server.stop();
    if (code !== 0) throw new Error(`the server ended with ${String(code)}:\n${log.join('\n')}`);
  }

  /** What dig prints, as dig.ts reads it. */
  dig(words: string): Promise<string> {
    return dig({ port: this.port } as Server, words);
  }

  /** Asks until dig prints these lines; milliseconds. Gives up after `millis`, with what it printed last. */
  async until(words: string, lines: readonly string[], millis = 10_000): Promise<number> {
    const began = performance.now();
    const wanted = lines.join('\n');
    for (;;) {
      // Before it listens dig fails.
      const got = await this.dig(words).catch(String);
      const took = performance.now() - began;
      if (got === wanted) return took;
      if (took > millis) {
        throw new Error(`dig ${words}\nsays:\n${got}\nand not:\n${wanted}\n${this.log.slice(-10).join('\n')}`);
      }
      await sleep(10);
    }
  }

  /** What /ready says. */
  async ready(): Promise<{ code: number; clusters: Readonly<Record<string, ClusterReadiness>> }> {
    const response = await fetch(`http://127.0.0.1:${this.#admin}/ready`);
    const { clusters } = (await response.json()) as { clusters: readonly ClusterReadiness[] };
    return { code: response.status, clusters: Object.fromEntries(clusters.map((each) => [each.id, each])) };
  }

  async untilReady(): Promise<void> {
    await this.#process!.line('ready');
  }

  /** Waits until /ready shows this state of a cluster. */
  async untilState(id: string, state: string, millis = 10_000): Promise<ClusterReadiness> {
    const until = performance.now() + millis;
    for (;;) {
      const cluster = (await this.ready()).clusters[id];
      if (cluster?.state === state) return cluster;
      if (performance.now() > until) throw new Error(`${id} is not ${state}: ${JSON.stringify(cluster)}`);
      await sleep(50);
    }
  }

  /** Lines of the log of this message about this cluster. */
  linesOf(id: string, message: string): readonly string[] {
    return this.log.filter((line) => line.includes(`"cluster":"${id}"`) && line.includes(message));
  }
}

/** A token of a ServiceAccount that ends with the Secret it is bound to (TokenRequest). */
export async function boundToken(api: KubeApi, namespace: string, account: string, secret: string): Promise<string> {
  const { metadata } = JSON.parse(
    await api.kubectl(['get', 'secret', `--namespace=${namespace}`, secret, '--output=json']),
  ) as {
    metadata: { uid: string };
  };
  const boundObjectRef = { apiVersion: 'v1', kind: 'Secret', name: secret, uid: metadata.uid };
  const response = await api.fetch(`/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
      spec: { expirationSeconds: 3_600, boundObjectRef },
    }),
  });
  if (!response.ok) throw new Error(`TokenRequest: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { status: { token: string } }).status.token;
}
