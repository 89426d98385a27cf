// What goes wrong with the API servers of a chaos run: every fault of the fault server, and what brings each to its end.
// Not here: when (support-run.ts), and what may be answered meanwhile (support-truth.ts).

import type { FaultServer } from '../support/api/fault-server.ts';
import { rewrites, type Fault, type Where } from '../support/api/faults.ts';
import type { ApiRequest } from '../support/api/request.ts';
import type { ResourceName } from '../support/api/resources.ts';

export type Random = () => number;

/**
 * How a fault ends. `cut`: connections are reset, so that no request of the fault's time lives on. `relist`: so are they,
 * and nobody may go on from before, since events were lost for which no client could know. `open`: watches that are open
 * are sound.
 */
export type Ending = 'cut' | 'relist' | 'open';

interface Kind {
  readonly ending: Ending;
  begin(server: FaultServer, random: Random): unknown;
  /** What `heal()` does not undo. */
  end?(server: FaultServer): unknown;
  /** Takes its minute to end, by the slow poll of what is absent or forbidden. */
  readonly isSlow?: boolean;
}

const resources: readonly ResourceName[] = ['ServiceImport', 'ServiceExport', 'EndpointSlice'];
const watching = ['watch', 'watch-list'] as const;
const reading = ['list', ...watching] as const;

/** The whole server, or one of its resources. */
function somewhere(random: Random, kinds?: Where['kinds']): Where {
  const resource = resources[Math.floor(random() * resources.length * 2)];
  return { ...(kinds === undefined ? {} : { kinds }), ...(resource === undefined ? {} : { resource }) };
}

/** Answers or shapes of requests to come; the connections that are open are reset, so that there are some. */
function requests(of: (random: Random) => Fault, kinds: Where['kinds'] = reading): Kind {
  return {
    ending: 'cut',
    begin: (server, random) => {
      server.fault(of(random), somewhere(random, kinds));
      server.cut();
    },
  };
}

function lines(ending: Ending, of: (random: Random) => Fault): Kind {
  return {
    ending,
    begin: (server, random) => {
      const open = new Set(server.watches().map(({ request }) => request));
      // A list that lacks objects is no fault but another truth: initial events come as they are.
      const when = (request: ApiRequest): boolean => request.kind === 'watch' || open.has(request);
      const losesEvents = ending === 'relist';
      server.fault(of(random), { ...somewhere(random, watching), ...(losesEvents ? { when } : {}) });
    },
  };
}

function once(begin: (server: FaultServer, random: Random) => unknown, ending: Ending = 'open'): Kind {
  return { begin, ending };
}

function number(random: Random, least: number, most: number): number {
  return Math.floor(least + random() * (most - least + 1));
}

function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)]!;
}

function watchList(mode: 'refused' | 'ignored' | 'old-etcd'): Kind {
  return {
    ending: 'cut',
    begin: (server) => {
      server.api.watchList = mode;
      server.compact();
      server.cut();
    },
    end: (server) => (server.api.watchList = 'served'),
  };
}

const halfLine = '{"type":"MODIFIED","object":{"metadata":{"name":"x';

export const faultKinds: Readonly<Record<string, Kind>> = {
  // The network.
  refused: { ending: 'open', begin: (server) => server.refuse() },
  cut: once((server) => server.cut()),
  partition: { ending: 'open', begin: (server) => server.partition() },
  frozen: {
    ending: 'cut',
    begin: (server) => {
      server.freeze();
      server.cut();
    },
  },
  // Answers.
  'black hole': requests(() => ({ type: 'black-hole' })),
  'headers only': requests(() => ({ type: 'headers-only' })),
  reset: requests(() => ({ type: 'reset' })),
  'hang up': requests(() => ({ type: 'hang-up' })),
  'nothing at all': requests(() => ({ type: 'empty' })),
  'status 500': requests(() => ({ type: 'status', code: 500 })),
  'status 503': requests((random) => ({ type: 'status', code: 503, retryAfter: String(number(random, 0, 2)) })),
  'status 429': requests(() => ({ type: 'status', code: 429, retryAfterSeconds: 1 })),
  'status 400': requests(() => ({ type: 'status', code: 400 })),
  'status 401': requests(() => ({ type: 'status', code: 401 })),
  'status 502 of a proxy': requests(() => ({ type: 'status', code: 502, isText: true, message: '<html>' })),
  'status 403': { ...requests(() => ({ type: 'status', code: 403 })), isSlow: true },
  'status 404': { ...requests(() => ({ type: 'status', code: 404 })), isSlow: true },
  'no JSON': requests(() => ({ type: 'raw', body: '<html>' })),
  'half JSON': requests(() => ({ type: 'raw', body: halfLine })),
  'ERROR 410 first': requests(() => ({ type: 'error-event', code: 410 }), watching),
  'ERROR 500 first': requests(() => ({ type: 'error-event', code: 500 }), watching),
  'discovery fails': requests(() => ({ type: 'status', code: 503 }), ['discovery']),
  'storage initializes': {
    ending: 'cut',
    begin: (server) => {
      server.cut();
      server.initialize(2_000);
    },
  },
  // The right answer in the wrong octets, so that lists break off in the middle.
  delay: requests((random) => ({ type: 'delay', millis: number(random, 50, 3_000) })),
  'cut answers': relisting((random) => ({
    type: 'cut',
    afterOctets: number(random, 1, 8_000),
    by: oneOf(random, ['reset', 'fin'] as const),
  })),
  'small chunks': relisting(() => ({ type: 'chunks', octets: 7 })),
  trickle: relisting(() => ({ type: 'trickle', octetsPerSecond: 500 })),
  gzip: relisting(() => ({ type: 'gzip' })),
  'another content type': relisting(() => ({ type: 'content-type', value: 'text/html' })),
  'no resourceVersion': relisting(() => ({ type: 'list-metadata', metadata: { resourceVersion: undefined } })),
  // Lines of watches.
  silent: lines('cut', () => ({ type: 'silent' })),
  held: lines('open', () => ({ type: 'held' })),
  'no bookmarks': lines('open', () => ({ type: 'no-bookmarks' })),
  'events twice': lines('open', () => ({ type: 'rewrite', line: rewrites.twice() })),
  'events lost': lines('relist', () => ({ type: 'rewrite', line: rewrites.skipped() })),
  'events swapped': lines('relist', () => ({ type: 'rewrite', line: rewrites.swapped() })),
  'events of no type': lines('relist', () => ({ type: 'rewrite', line: rewrites.typed('SOMETHING') })),
  'events without version': lines('relist', () => ({ type: 'rewrite', line: rewrites.versioned(undefined) })),
  'events of odd versions': lines('relist', () => ({ type: 'rewrite', line: rewrites.versioned('abc') })),
  'half a line': once((server) => server.inject(halfLine), 'cut'),
  'a line of no JSON': once((server) => server.inject('not JSON\n')),
  'a line of 9 MiB': once((server, random) => server.inject(`${'x'.repeat(9 << 20)}\n`, somewhere(random, watching))),
  'ERROR events': once((server, random) => server.injectError(oneOf(random, [410, 500, 504]))),
  'watches end': once((server, random) => server.endWatches(oneOf(random, ['end', 'fin', 'reset'] as const))),
  // The server's history.
  compaction: once((server) => {
    server.compact();
    server.cut();
  }),
  'watch-list refused': watchList('refused'),
  'pages cut off': {
    ...watchList('refused'),
    begin: (server, random) => {
      server.api.watchList = 'refused';
      server.fault({ type: 'cut', afterOctets: number(random, 500, 8_000) }, { kinds: ['list'] });
      server.compact();
      server.cut();
    },
  },
  'watch-list ignored': watchList('ignored'),
  'watch-list of an old etcd': watchList('old-etcd'),
  'an older API version': {
    ending: 'open',
    begin: (server) => server.setVersions('ServiceImport', ['v1alpha1']),
    end: (server) => server.setVersions('ServiceImport', ['v1beta1', 'v1alpha1']),
  },
};

/** Shapes meet lists: what was known is compacted away. */
function relisting(of: (random: Random) => Fault): Kind {
  const kind = requests(of);
  return {
    ...kind,
    begin: (server, random) => {
      kind.begin(server, random);
      server.compact();
    },
  };
}

export async function beginFault(server: FaultServer, name: string, random: Random): Promise<void> {
  await faultKinds[name]!.begin(server, random);
}

/** Ends it; from now on the server does all that it should. */
export async function endFault(server: FaultServer, name: string): Promise<Ending> {
  const kind = faultKinds[name]!;
  const { ending } = kind;
  await kind.end?.(server);
  await server.heal();
  if (ending !== 'open') server.cut();
  if (ending === 'relist') server.compact();
  return ending;
}
