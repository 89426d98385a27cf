// API servers of members as a process of their own, so that their time and memory are not the watcher's: FaultServers
// that break no rule. Prints their ports; each line of input is an ApiOrder, each answered by one line of JSON.

import process from 'node:process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createInterface } from 'node:readline';
import { FaultServer } from '../../test/support/api/fault-server.ts';
import type { FaultServerOptions } from '../../test/support/api/fault-server.ts';
import type { ApiRequest } from '../../test/support/api/request.ts';
import { monotonicMillis } from '../lib/clock.ts';
import { objectsOf, sliceOf } from '../lib/member.ts';
import type { MemberSize } from '../lib/member.ts';
import { changedBy } from '../lib/services.ts';

export interface ApiTask {
  readonly tls: { readonly cert: string; readonly key: string };
  /** One each. */
  readonly members: readonly MemberSize[];
  readonly watchList: 'served' | 'refused';
}

export type ApiOrder =
  /** Its watches end, and what they would go on from is 410: everything is listed anew. */
  | { readonly do: 'expire'; readonly member: number; readonly how: 'end' | 'cut' }
  /** Connections are refused, or taken again. */
  | { readonly do: 'refuse' | 'listen' }
  | { readonly do: 'count' }
  /** So many changed slices of the first member, at a rate a second; answered with when each was written. */
  | { readonly do: 'change'; readonly changes: number; readonly rate: number };

export interface ApiCounts {
  readonly connections: number;
  /** Requests for slices or imports that began with their list. */
  readonly lists: number;
  /** Paged lists under way at once, over all members. */
  readonly peakLists: number;
}

const { tls, members, watchList } = JSON.parse(process.argv[2]!) as ApiTask;
const lists: ApiRequest[] = [];
const onRequest = (request: ApiRequest): void => {
  if (request.kind === 'list' || request.kind === 'watch-list') lists.push(request);
};
const options: FaultServerOptions = { tls, watchList, onRequest };
const servers = await Promise.all(members.map(() => FaultServer.start(options)));
for (const [i, member] of members.entries()) for (const object of objectsOf(member)) servers[i]!.put(object);
say(servers.map(({ port }) => port));

for await (const line of createInterface(process.stdin)) say(await obey(JSON.parse(line) as ApiOrder));

async function obey(order: ApiOrder): Promise<unknown> {
  switch (order.do) {
    case 'expire': {
      const server = servers[order.member]!;
      server.compact();
      if (order.how === 'cut') server.cut();
      else server.endWatches('end');
      return monotonicMillis();
    }
    case 'refuse':
      await Promise.all(servers.map((server) => server.refuse()));
      return null;
    case 'listen':
      await Promise.all(servers.map((server) => server.listen()));
      return null;
    case 'count': {
      const connections = servers.reduce((sum, server) => sum + server.connections(), 0);
      return { connections, lists: lists.length, peakLists: peakOf(lists) } satisfies ApiCounts;
    }
    case 'change':
      return change(order);
  }
}

/** Most paged lists at once. A watch-list is left out: where its list ends, nothing is seen here. */
function peakOf(requests: readonly ApiRequest[]): number {
  const ends = requests.flatMap(({ kind, atMillis, endedAtMillis = Infinity }) =>
    kind === 'list' ? [[atMillis, 1] as const, [endedAtMillis, -1] as const] : [],
  );
  ends.sort(([a, first], [b, second]) => a - b || first - second);
  let [now, peak] = [0, 0];
  for (const [, step] of ends) peak = Math.max(peak, (now += step));
  return peak;
}

/** As events come from a busy cluster: a few each millisecond, the process asleep between. */
async function change({ changes, rate }: Extract<ApiOrder, { do: 'change' }>): Promise<number[]> {
  const [server, { services, endpoints }] = [servers[0]!, members[0]!];
  const written: number[] = [];
  const began = monotonicMillis();
  while (written.length < changes) {
    const due = Math.min(changes, Math.floor(((monotonicMillis() - began) * rate) / 1_000) + 1);
    while (written.length < due) {
      const number = written.length + 1;
      const slice = sliceOf(changedBy(number, services), endpoints, number);
      written.push(monotonicMillis());
      server.put(slice);
    }
    await nextTurn();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return written;
}

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
