// A Kubernetes API server for tests, in this process: lists and watches as kube-apiserver 1.36 serves them (meta/v1,
// KEP-956 bookmarks, KEP-3157 watch-list), with every rule to be broken on command. HTTP/1.1 with or without TLS. Reading
// order: model.ts (what it holds), serve.ts (right answers), watch.ts, faults.ts (wrong ones), wire.ts (their octets).

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { fail } from './fail.ts';
import { FaultTable, type AnswerFault, type Fault, type Shape, type Where } from './faults.ts';
import { eventLine } from './json.ts';
import { Listener } from './listener.ts';
import { Model, type RawObject, type Snapshot } from './model.ts';
import { readRequest, RequestLog, type ApiRequest, type RequestKind } from './request.ts';
import { resourceNames, resources, type ResourceName } from './resources.ts';
import { sendStatus, serve, type Api } from './serve.ts';
import { status } from './status.ts';
import type { Watch } from './watch.ts';
import { Wire } from './wire.ts';

export interface FaultServerOptions {
  /** PEM. With `ca` a client's certificate that it signed is as good as a token. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string };
  /** Bearer tokens that are taken; undefined: everyone is let in, unless `tls.ca` is given. */
  readonly token?: string | readonly string[];
  readonly port?: number;
  readonly versions?: Readonly<Partial<Record<ResourceName, readonly string[]>>>;
  readonly watchList?: Api['watchList'];
  /** 60 s, as the real one. */
  readonly bookmarkMillis?: number;
  readonly watchMillis?: number;
  readonly tooLargeMillis?: number;
  /** Changes that can still be watched from, a resource. */
  readonly history?: number;
  readonly loggedRequests?: number;
  readonly onRequest?: (request: ApiRequest) => void;
}

/** Options that make it the oldest that members are read with. */
export const kubernetes122: FaultServerOptions = {
  versions: { ClusterProperty: [], EndpointSlice: ['v1', 'v1beta1'] },
  watchList: 'refused',
};

export class FaultServer {
  readonly model: Model;
  readonly requests: RequestLog;
  readonly port: number;
  readonly url: string;
  readonly api: Api;
  /** The most requests of a kind that were under way at once. */
  readonly peak = new Map<RequestKind, number>();
  readonly #options: FaultServerOptions;
  readonly #faults = new FaultTable();
  readonly #http: Server;
  readonly #listener: Listener;
  readonly #underWay = new Map<RequestKind, number>();
  #tokens: ReadonlySet<string> | undefined;
  #held: (() => void)[] = [];

  private constructor(options: FaultServerOptions, http: Server, listener: Listener) {
    this.#options = options;
    this.#http = http;
    this.#listener = listener;
    this.port = listener.port;
    this.url = `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${this.port}`;
    this.#tokens = options.token === undefined ? undefined : new Set([options.token].flat());
    this.requests = new RequestLog(options.loggedRequests ?? 10_000);
    this.model = new Model(options.history ?? 10_000, (resource, change) => {
      for (const watch of this.api.watches) if (watch.resource === resource) watch.offer(change);
    });
    const served = resourceNames.map((name) => [name, options.versions?.[name] ?? resources[name].versions] as const);
    this.api = {
      model: this.model,
      faults: this.#faults,
      versions: new Map<ResourceName, readonly string[]>(served),
      initializing: new Map(),
      watches: new Set(),
      watchList: options.watchList ?? 'served',
      bookmarkMillis: options.bookmarkMillis ?? 60_000,
      watchMillis: options.watchMillis,
      tooLargeMillis: options.tooLargeMillis ?? 3_000,
    };
    http.on('request', (message, response) => this.#receive(message, response));
  }

  static async start(options: FaultServerOptions = {}): Promise<FaultServer> {
    const http = createHttp(options.tls);
    const listener = await Listener.start(options.port ?? 0, (socket) => http.emit('connection', socket));
    return new FaultServer(options, http, listener);
  }

  /** Adds or replaces the object; its resourceVersion from now on. */
  put(object: RawObject): number {
    return this.model.put(object);
  }

  /** Any text in an object's place. */
  putRaw(resource: ResourceName, namespace: string, name: string, value: unknown, labels: RawObject = {}): number {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return this.model.putRaw(resource, namespace, name, text, labels);
  }

  remove(resource: ResourceName, namespace: string, name: string): number | undefined {
    return this.model.remove(resource, namespace, name);
  }

  /** Every resourceVersion before now is 410; watches that are open go on. */
  compact(): void {
    this.model.compact();
  }

  snapshot(): Snapshot {
    return this.model.snapshot();
  }

  /** An etcd that was restored. Its API servers are restarted with it, unless the test keeps the connections. */
  restore(snapshot: Snapshot, connections: 'cut' | 'kept' = 'cut'): void {
    this.model.restore(snapshot);
    if (connections === 'cut') this.cut();
  }

  /** The versions served from now on. None: the CRD is deleted, its objects first. */
  setVersions(resource: ResourceName, versions: readonly string[], initializingMillis = 0): void {
    const had = this.api.versions.get(resource) ?? [];
    if (versions.length === 0 && had.length > 0) this.model.removeAll(resource);
    if (initializingMillis > 0) this.initialize(initializingMillis, resource);
    this.api.versions.set(resource, versions);
    for (const watch of this.api.watches) {
      if (watch.resource === resource && !versions.includes(watch.request.parts!.version)) watch.end('end');
    }
  }

  /** Lists and watches are 429 for so long, as of a new CRD or after a restart. */
  initialize(millis: number, resource?: ResourceName): void {
    for (const each of resource === undefined ? resourceNames : [resource]) {
      this.api.initializing.set(each, performance.now() + millis);
    }
  }

  /** The bearer tokens that are taken from now on; undefined: everyone. */
  accept(tokens: readonly string[] | undefined): void {
    this.#tokens = tokens === undefined ? undefined : new Set(tokens);
  }

  /** Breaks a rule until `heal()`, `where.times`, or the returned function is called. */
  fault(fault: Fault, where: Where = {}): () => void {
    return this.#faults.add(fault, where);
  }

  /** No fault any more; what was held is answered and sent, and it listens. */
  async heal(): Promise<void> {
    this.#faults.clear();
    for (const resume of this.#held.splice(0)) resume();
    for (const watch of this.api.watches) watch.release();
    this.#listener.thaw();
    await this.#listener.listen();
  }

  /** New connections are accepted and never read, until `heal()`. */
  freeze(): void {
    this.#listener.freeze();
  }

  /** A network that loses everything: nothing is answered or sent until `heal()`, and nothing is closed. */
  partition(): void {
    this.#listener.freeze();
    this.fault({ type: 'hold' });
    this.fault({ type: 'held' });
  }

  /** ECONNREFUSED, and all connections are reset. */
  refuse(): Promise<void> {
    return this.#listener.refuse();
  }

  /** Listens again, on the same port. */
  listen(): Promise<void> {
    return this.#listener.listen();
  }

  /** Resets every connection. */
  cut(): void {
    this.#listener.cut();
  }

  async close(): Promise<void> {
    this.#held = [];
    await this.#listener.refuse();
    this.#http.close();
  }

  /** Open sockets. */
  connections(): number {
    return this.#listener.connections;
  }

  /** Open watches. */
  watches(where: Where = {}): readonly Watch[] {
    return [...this.api.watches].filter(
      ({ request }) =>
        (where.resource ?? request.resource) === request.resource &&
        (where.kinds?.includes(request.kind) ?? true) &&
        (where.when?.(request) ?? true),
    );
  }

  /** Sends octets as they are into open watches: half lines, wrong JSON, 9 MiB. Gives how many it reached. */
  inject(octets: string | Buffer, where: Where = {}): number {
    const watches = this.watches(where);
    for (const watch of watches) watch.inject(Buffer.from(octets));
    return watches.length;
  }

  /** An event that the model knows nothing of. */
  injectEvent(type: string, object: unknown, where: Where = {}): number {
    return this.inject(eventLine(type, Buffer.from(JSON.stringify(object))), where);
  }

  /** An ERROR event; the watch stays open. */
  injectError(code: number, where: Where = {}, parts: Parameters<typeof status>[1] = {}): number {
    return this.injectEvent('ERROR', status(code, parts), where);
  }

  endWatches(how: 'end' | 'fin' | 'reset' = 'end', where: Where = {}): number {
    const watches = this.watches(where);
    for (const watch of watches) watch.end(how);
    return watches.length;
  }

  /** A bookmark now, to all watches that asked for them. */
  bookmark(where: Where = {}): void {
    for (const watch of this.watches(where)) {
      if (watch.request.query.has('allowWatchBookmarks')) watch.bookmark();
    }
  }

  #receive(message: IncomingMessage, response: ServerResponse): void {
    const request = readRequest(message, this.requests.count + 1);
    this.requests.add(request);
    this.#count(request, response);
    this.#options.onRequest?.(request);
    const shape = this.#faults.shape(request);
    const answer = this.#faults.answer(request);
    const go = (): void => this.#answer(request, response, shape, answer);
    if (answer?.type === 'hold') this.#held.push(go);
    else if (shape.delayMillis > 0) setTimeout(go, shape.delayMillis);
    else go();
  }

  #count(request: ApiRequest, response: ServerResponse): void {
    const add = (n: number): number => {
      const now = (this.#underWay.get(request.kind) ?? 0) + n;
      this.#underWay.set(request.kind, now);
      return now;
    };
    this.peak.set(request.kind, Math.max(add(1), this.peak.get(request.kind) ?? 0));
    response.once('close', () => {
      add(-1);
      request.code = response.headersSent ? response.statusCode : 0;
      request.endedAtMillis = performance.now();
    });
  }

  #answer(request: ApiRequest, response: ServerResponse, shape: Shape, fault: AnswerFault | undefined): void {
    if (response.destroyed) return;
    const destroy = (how: 'fin' | 'reset'): void => {
      if (how === 'reset') this.#listener.reset(request.clientPort);
      else response.socket?.destroySoon();
    };
    const wire = new Wire(response, shape, destroy);
    if (fault !== undefined && fault.type !== 'hold') return fail(wire, fault);
    if (!this.#isKnown(request, response)) return sendStatus(wire, status(401));
    serve(this.api, request, wire, shape.listMetadata).catch((error: unknown) => {
      // A fault of this server, not of the client under test.
      process.nextTick(() => {
        throw error as Error;
      });
    });
  }

  #isKnown(request: ApiRequest, response: ServerResponse): boolean {
    const asksForCertificate = this.#options.tls?.ca !== undefined;
    if (this.#tokens === undefined && !asksForCertificate) return true;
    if (asksForCertificate && (response.socket as TLSSocket | null)?.authorized === true) return true;
    const [, token] = /^Bearer (.+)$/.exec(request.authorization ?? '') ?? [];
    return token !== undefined && (this.#tokens?.has(token) ?? false);
  }
}

function createHttp(tls: FaultServerOptions['tls']): Server {
  const http =
    tls === undefined
      ? createServer()
      : createTlsServer({ ...tls, requestCert: tls.ca !== undefined, rejectUnauthorized: false });
  // An API server's idle connections stay longer than any test.
  http.keepAliveTimeout = 0;
  http.headersTimeout = 0;
  http.requestTimeout = 0;
  http.on('tlsClientError', () => undefined);
  return http;
}
