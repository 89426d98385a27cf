// The API servers of a chaos run, as a process of their own: orders come from the run, in their order, by IPC. After a
// fault has ended it looks out for the first sound answer to each resource's list or watch, and says so.

import process from 'node:process';
import { FaultServer, type FaultServerOptions } from '../support/api/fault-server.ts';
import type { RawObject, Snapshot } from '../support/api/model.ts';
import type { ApiRequest } from '../support/api/request.ts';
import type { ResourceName } from '../support/api/resources.ts';
import { beginFault, endFault, type Ending, type Random } from './support-faults.ts';
import { randomNumbers } from '../../bench/lib/stats.ts';

export interface MembersTask {
  readonly tls: { readonly cert: string; readonly key: string };
  readonly count: number;
  readonly token: string;
  readonly seed: number;
}

export type Order =
  | { readonly do: 'put'; readonly objects: readonly RawObject[] }
  | { readonly do: 'remove'; readonly resource: ResourceName; readonly namespace: string; readonly name: string }
  | { readonly do: 'begin'; readonly fault: string }
  | { readonly do: 'end'; readonly fault: string; readonly track: number }
  | { readonly do: 'save' }
  | { readonly do: 'restore' }
  | { readonly do: 'accept'; readonly tokens: readonly string[] }
  /** Looks out anew: the client was restarted, or let in again. */
  | { readonly do: 'track'; readonly track: number; readonly ending: Ending }
  | { readonly do: 'connections' };

export interface OrderMessage {
  readonly id: number;
  readonly member: number;
  readonly order: Order;
}

export type Message =
  | { readonly ports: readonly number[] }
  | { readonly id: number; readonly value: number; readonly error?: string }
  | { readonly reached: number; readonly member: number };

const PARTS = 4;
const LOOK_MILLIS = 10;
/** A watch that its client has given up is known to be gone after this. */
const SURE_MILLIS = 250;

class ChaosMember {
  readonly server: FaultServer;
  readonly #number: number;
  readonly #random: Random;
  #saved: Snapshot | undefined;
  #requests: ApiRequest[] | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(server: FaultServer, number: number, seed: number, heard: { take: (r: ApiRequest) => void }) {
    this.server = server;
    this.#number = number;
    this.#random = randomNumbers(seed + number);
    heard.take = (request) => this.#requests?.push(request);
  }

  static async start(number: number, { tls, token, seed }: MembersTask): Promise<ChaosMember> {
    const heard = { take: (_: ApiRequest): void => undefined };
    const options: FaultServerOptions = {
      ...{ tls, token, bookmarkMillis: 2_000, history: 2_000, loggedRequests: 100 },
      onRequest: (request) => heard.take(request),
    };
    return new ChaosMember(await FaultServer.start(options), number, seed, heard);
  }

  async obey(order: Order): Promise<number> {
    const { server } = this;
    switch (order.do) {
      case 'put':
        for (const object of order.objects) server.put(object);
        return 0;
      case 'remove':
        return server.remove(order.resource, order.namespace, order.name) ?? 0;
      case 'begin':
        clearInterval(this.#timer);
        await beginFault(server, order.fault, this.#random);
        return 0;
      case 'end':
        this.#track(order.track, await endFault(server, order.fault));
        return 0;
      case 'save':
        this.#saved = server.snapshot();
        return 0;
      case 'restore': {
        clearInterval(this.#timer);
        const { version } = server.model;
        server.restore(this.#saved!);
        // `etcdutl snapshot restore --bump-revision --mark-compacted`, as Kubernetes asks for.
        server.model.version = version + 1_000;
        server.compact();
        return 0;
      }
      case 'accept':
        server.accept(order.tokens);
        // Requests that were let in go on for minutes.
        server.cut();
        return 0;
      case 'track':
        this.#track(order.track, order.ending);
        return 0;
      case 'connections':
        return server.connections();
    }
  }

  #track(track: number, ending: Ending): void {
    clearInterval(this.#timer);
    const requests: ApiRequest[] = (this.#requests = []);
    const began = performance.now();
    const open = ending === 'open' ? [...this.server.api.watches] : [];
    this.#timer = setInterval(() => {
      const watches = this.server.api.watches;
      const live = new Set([...watches].map(({ request }) => request));
      const reached = new Set<string>();
      for (const request of requests) if (request.code === 200 || live.has(request)) reached.add(partOf(request));
      if (performance.now() - began > SURE_MILLIS) {
        for (const watch of open) if (watches.has(watch)) reached.add(partOf(watch.request));
      }
      reached.delete('');
      if (reached.size < PARTS) return;
      clearInterval(this.#timer);
      this.#requests = undefined;
      say({ reached: track, member: this.#number });
    }, LOOK_MILLIS);
  }
}

/** Which of a member's four streams a request is of; '': none. */
function partOf({ kind, resource, query }: ApiRequest): string {
  if (kind !== 'list' && kind !== 'watch' && kind !== 'watch-list') return '';
  if (resource === 'ServiceImport' || resource === 'ServiceExport') return resource;
  const selector = query.get('labelSelector') ?? '';
  if (resource !== 'EndpointSlice' || selector.includes('=')) return '';
  return selector.includes('!') ? 'native' : 'mirrored';
}

function say(message: Message): void {
  process.send!(message);
}

const task = JSON.parse(process.argv[2]!) as MembersTask;
const members = await Promise.all(Array.from({ length: task.count }, (_, i) => ChaosMember.start(i, task)));
const queues = members.map(() => Promise.resolve());
process.on('message', ({ id, member, order }: OrderMessage) => {
  queues[member] = queues[member]!.then(async () => {
    try {
      say({ id, value: await members[member]!.obey(order) });
    } catch (error) {
      say({ id, value: 0, error: String(error) });
    }
  });
});
process.on('disconnect', () => process.exit());
say({ ports: members.map(({ server }) => server.port) });
