// Real API servers for tests: etcd and kube-apiserver as scripts/peers.sh builds them, with RBAC and the CRDs of KEP-1645
// and KEP-2149. No controller runs: namespaces have no ServiceAccount and never end, and every EndpointSlice is written
// by hand. Several API servers of one etcd are a fleet.
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TextDecoderStream } from 'node:stream/web';
import { Agent, fetch, type RequestInit, type Response } from 'undici';
import { parseAllDocuments, stringify } from 'yaml';
import { clusterPropertyCrd, readerRole, type Crd } from './kube-objects.ts';
import {
  Daemon,
  etcdCommand,
  freePort,
  kubeMissing,
  onFreePorts,
  peer,
  type EtcdVersion,
  type Teardown,
} from './peers.ts';

export const ADMIN_TOKEN = 'admin-token';
/** The user `reader`, who may do nothing until `reader(api)`. */
export const READER_TOKEN = 'reader-token';
const LISTED_MILLIS = 30_000;

export class Etcd {
  readonly endpoint: string;
  readonly #daemon: Daemon;

  private constructor(endpoint: string, daemon: Daemon) {
    this.endpoint = endpoint;
    this.#daemon = daemon;
  }

  static async start(t: Teardown, options: { readonly version?: EtcdVersion } = {}): Promise<Etcd> {
    const version = options.version ?? '3.6';
    const missing = kubeMissing(version);
    if (missing !== undefined) throw new Error(missing);
    return onFreePorts(async () => {
      const folder = temporary('etcd');
      const client = `http://127.0.0.1:${await freePort()}`;
      const peers = `http://127.0.0.1:${await freePort()}`;
      const daemon = new Daemon(etcdCommand(version), [
        ...['--name=test', `--data-dir=${folder}`, '--log-level=warn'],
        ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
        ...[`--listen-peer-urls=${peers}`, `--initial-advertise-peer-urls=${peers}`, `--initial-cluster=test=${peers}`],
        // What a power cut would lose, a test may lose.
        ...(version === '3.6' ? ['--unsafe-no-fsync'] : []),
      ]);
      t.teardown(async () => {
        await daemon.signal('SIGKILL');
        rmSync(folder, { recursive: true, force: true });
      });
      await daemon.ready(async () => (await fetch(`${client}/health`)).ok);
      return new Etcd(client, daemon);
    });
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  /** Forgets every revision before the last one. What an API server has in its watch cache it still serves. */
  async compact(): Promise<void> {
    const range = (await this.#post('range', { key: btoa('/') })) as { header: { revision: string } };
    await this.#post('compaction', { revision: range.header.revision, physical: true });
  }

  stop(): Promise<void> {
    return this.#daemon.signal('SIGKILL');
  }

  async #post(verb: string, body: unknown): Promise<unknown> {
    const response = await fetch(`${this.endpoint}/v3/kv/${verb}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd: ${verb}: ${await response.text()}`);
    return response.json();
  }
}

export interface KubeApiOptions {
  readonly etcd: Etcd;
  /** The cluster's name, also in kubeconfigs. */
  readonly name: string;
  /** Its keys in etcd; the name when left out. */
  readonly prefix?: string;
  /** More flags of kube-apiserver. */
  readonly flags?: readonly string[];
}

/** A line of a watch. */
export interface WatchEvent {
  readonly type: string;
  readonly object: Record<string, unknown> & { readonly metadata: Record<string, unknown> };
}

export class KubeApi {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly #folder: string;
  readonly #flags: readonly string[];
  #daemon: Daemon;
  #agent: Agent | undefined;

  private constructor(options: KubeApiOptions, port: number, folder: string) {
    this.name = options.name;
    this.port = port;
    this.url = `https://127.0.0.1:${port}`;
    this.#folder = folder;
    this.#flags = [
      `--etcd-servers=${options.etcd.endpoint}`,
      `--etcd-prefix=/${options.prefix ?? options.name}`,
      // Only Etcd.compact compacts.
      '--etcd-compaction-interval=0',
      ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', '--endpoint-reconciler-type=none'],
      ...[`--secure-port=${port}`, `--cert-dir=${folder}`, '--service-cluster-ip-range=10.96.0.0/16'],
      ...[`--token-auth-file=${folder}/tokens.csv`, '--authorization-mode=RBAC'],
      ...[`--service-account-key-file=${folder}/sa.pem`, `--service-account-signing-key-file=${folder}/sa.pem`],
      ...['--service-account-issuer=https://kubernetes.default.svc', '--disable-admission-plugins=ServiceAccount'],
      ...(options.flags ?? []),
    ];
    this.#daemon = new Daemon(peer('bin/kube-apiserver'), this.#flags);
  }

  static async start(t: Teardown, options: KubeApiOptions): Promise<KubeApi> {
    return onFreePorts(async () => {
      const folder = temporary(options.name);
      writeFileSync(
        `${folder}/tokens.csv`,
        `${ADMIN_TOKEN},admin,admin,"system:masters"\n${READER_TOKEN},reader,reader\n`,
      );
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      writeFileSync(`${folder}/sa.pem`, privateKey.export({ type: 'sec1', format: 'pem' }));
      const api = new KubeApi(options, await freePort(), folder);
      t.teardown(async () => {
        await api.kill();
        rmSync(folder, { recursive: true, force: true });
      });
      await api.#ready();
      writeFileSync(`${folder}/admin.kubeconfig`, api.kubeconfig({ user: 'admin', token: ADMIN_TOKEN }));
      return api;
    });
  }

  /** Its own CA, and the certificate it signed, in PEM. */
  get caFile(): string {
    return `${this.#folder}/apiserver.crt`;
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  /** A kubeconfig's text, of one context; the reader's when nothing is said. */
  kubeconfig(options: { readonly context?: string; readonly user?: string; readonly token?: string } = {}): string {
    const { context = this.name, user = 'reader', token = READER_TOKEN } = options;
    const certificates = readFileSync(this.caFile).toString('base64');
    return stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: this.name, cluster: { server: this.url, 'certificate-authority-data': certificates } }],
      users: [{ name: user, user: { token } }],
      contexts: [{ name: context, context: { cluster: this.name, user } }],
      'current-context': context,
    });
  }

  /** SIGKILL: it may still be said to be there by nobody but its clients. */
  async kill(): Promise<void> {
    await this.#daemon.signal('SIGKILL');
    await this.#agent?.destroy();
    this.#agent = undefined;
  }

  /** On the same port, with the same objects, certificate and tokens; killed before, if it still runs. */
  async restart(): Promise<void> {
    await this.kill();
    this.#daemon = new Daemon(peer('bin/kube-apiserver'), this.#flags);
    await this.#ready();
  }

  /** Connections stay open and are not answered until `thaw`. */
  freeze(): Promise<void> {
    return this.#daemon.signal('SIGSTOP');
  }

  thaw(): Promise<void> {
    return this.#daemon.signal('SIGCONT');
  }

  /** fetch() of a path, as the admin unless another token is given. */
  fetch(where: string, init: RequestInit & { readonly token?: string } = {}): Promise<Response> {
    this.#agent ??= new Agent({ connect: { ca: readFileSync(this.caFile) }, allowH2: false, bodyTimeout: 0 });
    const { token = ADMIN_TOKEN, headers, ...rest } = init;
    const sent = { ...(headers as Record<string, string> | undefined), authorization: `Bearer ${token}` };
    return fetch(this.url + where, { ...rest, headers: sent, dispatcher: this.#agent });
  }

  /** The lines of a watch, until it ends or the caller stops reading. */
  async *watch(where: string): AsyncGenerator<WatchEvent> {
    const over = new AbortController();
    const response = await this.fetch(where, { signal: over.signal });
    if (!response.ok) throw new Error(`${where}: ${response.status} ${await response.text()}`);
    let text = '';
    try {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        const lines = (text + chunk).split('\n');
        text = lines.pop()!;
        for (const line of lines) yield JSON.parse(line) as WatchEvent;
      }
    } finally {
      over.abort();
    }
  }

  /** kubectl as the admin: its standard output. */
  kubectl(words: readonly string[], stdin = ''): Promise<string> {
    const fixed = [`--kubeconfig=${this.#folder}/admin.kubeconfig`, `--cache-dir=${this.#folder}/cache`];
    return new Promise((resolve, reject) => {
      const child = execFile('kubectl', [...fixed, ...words], (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`kubectl ${words.join(' ')}: ${stderr.trim()}`));
      });
      child.stdin!.end(stdin);
    });
  }

  /** `kubectl apply` of manifests, as text or as objects. */
  async apply(...manifests: readonly (string | object)[]): Promise<void> {
    const texts = manifests.map((manifest) => (typeof manifest === 'string' ? manifest : stringify(manifest)));
    await this.kubectl(['apply', '--filename=-'], texts.join('\n---\n'));
  }

  /** ServiceImport and ServiceExport, served in these versions, and ClusterProperty; waits until all can be listed. */
  async applyCrds(served: readonly string[] = ['v1beta1', 'v1alpha1']): Promise<void> {
    const crds = [...readCrds(), clusterPropertyCrd];
    for (const { spec } of crds.slice(0, -1)) {
      for (const version of spec.versions) version.served = served.includes(version.name);
    }
    await this.apply(...crds);
    for (const { spec } of crds) {
      for (const { name, served } of spec.versions) {
        if (served) await this.untilListed(`/apis/${spec.group}/${name}/${spec.names.plural}`);
      }
    }
  }

  /** For a moment after a CRD is made, and after a restart, its lists are refused with 429. */
  async untilListed(where: string, token = ADMIN_TOKEN): Promise<void> {
    const until = performance.now() + LISTED_MILLIS;
    for (;;) {
      const response = await this.fetch(where, { token });
      await response.body?.cancel();
      if (response.ok) return;
      if (performance.now() > until) throw new Error(`${this.name}: ${where} is still ${response.status}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #ready(): Promise<void> {
    await this.#daemon.ready(async () => {
      try {
        const response = await this.fetch('/readyz');
        await response.body?.cancel();
        return response.ok;
      } catch {
        // The certificate may have been read while it was written.
        await this.#agent?.destroy();
        this.#agent = undefined;
        return false;
      }
    });
  }
}

/** Lets the user `reader` get, list and watch what a member's API server is asked for, and nothing else. */
export async function reader(api: KubeApi): Promise<void> {
  await api.apply(...readerRole);
  // The authorizer's own watch takes a moment.
  await api.untilListed('/apis/discovery.k8s.io/v1/endpointslices', READER_TOKEN);
}

function readCrds(): Crd[] {
  const folder = peer('crd');
  const texts = readdirSync(folder).map((name) => readFileSync(path.join(folder, name), 'utf8'));
  return texts.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as Crd));
}

function temporary(name: string): string {
  const folder = mkdtempSync(path.join(tmpdir(), `clusterset-dns-${name}-`));
  mkdirSync(`${folder}/cache`);
  return folder;
}
