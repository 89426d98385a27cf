// What a chaos run's clusters hold, and what may be answered from it. Every state of every object is kept for as long as a
// server that has not heard of the next one may still answer it; a cluster's window says how long that is.
//
// Window: a cluster in good health is followed within HEAL_MILLIS. From the begin of a fault on, nothing that was answered
// then need be forgotten, until HEAL_MILLIS after the first sound answers of its API server. A restart of our server may
// go back to its last snapshot, which is up to SNAPSHOT_MILLIS old.
// A reply is judged object by object: of each EndpointSlice exactly one state of the window, whole, must be seen.

import type { Reply } from '../zones/support-ask.ts';
import type { ClusterId } from './support-config.ts';

export const HEAL_MILLIS = 5_000;
export const SNAPSHOT_MILLIS = 12_000;

interface Entry<T> {
  readonly value: T;
  /** When the next one was there for sure; undefined: this is the last one. */
  until: number | undefined;
}

/** The states of one thing; newest last. */
export class History<T> {
  #entries: Entry<T>[];

  constructor(first: T) {
    this.#entries = [{ value: first, until: undefined }];
  }

  get last(): T {
    return this.#entries.at(-1)!.value;
  }

  /** Answered from now on, maybe; the one before may be until the returned function is called, and its window has passed. */
  put(value: T): () => void {
    const before = this.#entries.at(-1)!;
    this.#entries.push({ value, until: undefined });
    return () => {
      before.until = performance.now();
    };
  }

  /** What may be answered where everything up to `since` is known. Never empty. */
  since(since: number): T[] {
    const first = this.#entries.findLastIndex(({ until }) => until !== undefined && until < since) + 1;
    return this.#entries.slice(first).map(({ value }) => value);
  }

  /** Forgets what no restart can bring back. */
  prune(before: number): readonly T[] {
    const first = this.#entries.findIndex(({ until }) => until === undefined || until >= before);
    return this.#entries.splice(0, Math.max(0, first)).map(({ value }) => value);
  }
}

/** How far back a cluster may be answered from. */
export class Window {
  #frozen: number | undefined;
  /** Since when it is not known to be followed. */
  faultSince: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #restarted = false;

  get since(): number {
    return this.#frozen ?? performance.now() - HEAL_MILLIS;
  }

  freeze(backMillis = 0): void {
    clearTimeout(this.#timer);
    const now = performance.now();
    this.#frozen = Math.min(this.#frozen ?? Infinity, now - HEAL_MILLIS - backMillis);
    this.faultSince ??= now;
  }

  /** A snapshot's age counts for who is withdrawn. */
  restart(backMillis: number): void {
    this.freeze(backMillis);
    this.#restarted = true;
  }

  /** Its API server answers soundly again: HEAL_MILLIS from now all is as it should be. */
  reached(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#frozen = this.faultSince = undefined;
      this.#restarted = false;
    }, HEAL_MILLIS);
  }

  get isSound(): boolean {
    return this.#frozen === undefined;
  }

  /** Our server was restarted, and has not read it since. */
  get isRestarted(): boolean {
    return this.#restarted;
  }

  /** Whether a policy that withdraws after so long may have done it. */
  mayBeOutFor(millis: number): boolean {
    if (this.#restarted) return true;
    return this.faultSince !== undefined && performance.now() - this.faultSince >= millis * 0.9;
  }
}

export interface Cluster {
  readonly id: ClusterId;
  readonly number: number;
  /** Its endpoints are withdrawn when it is out of touch for so long. */
  readonly withdrawnAfterMillis: number | undefined;
  readonly window: Window;
  readonly drained: History<boolean>;
  /** The configuration is followed whatever becomes of API servers. */
  readonly drainedWindow: Window;
}

/** What one cluster gives to a service by one EndpointSlice. */
export class Contribution {
  readonly cluster: Cluster;
  readonly key: string;
  readonly isNative: boolean;
  /** Addresses, sorted and joined; '': there is no slice. */
  readonly slice: History<string>;
  /** Whether the service is exported there, one for all its slices; of native slices only. */
  readonly exported: History<boolean>;

  constructor(cluster: Cluster, key: string, isNative: boolean, first: string, exported = new History(true)) {
    this.cluster = cluster;
    this.key = key;
    this.isNative = isNative;
    this.exported = exported;
    this.slice = new History(first);
  }

  /** Every state that it may be answered in, without withdrawal. */
  states(): Set<string> {
    const { window, drained, drainedWindow } = this.cluster;
    const states = new Set(this.slice.since(window.since));
    if (!this.isNative) return states;
    if (this.exported.since(window.since).includes(false)) states.add('');
    const drains = drained.since(drainedWindow.since);
    if (!drains.includes(false)) return new Set(['']);
    if (drains.includes(true)) states.add('');
    // Not exported at any moment of the window: nothing of it counts.
    if (!this.exported.since(window.since).includes(true)) return new Set(['']);
    return states;
  }

  get mayBeWithdrawn(): boolean {
    const { window, withdrawnAfterMillis } = this.cluster;
    return withdrawnAfterMillis !== undefined && window.mayBeOutFor(withdrawnAfterMillis);
  }
}

/** A service and what its name may be answered with. */
export interface Service {
  readonly name: string;
  readonly kind: 'native' | 'mirrored' | 'ips';
  /** Where its import may go and come; undefined where it stays. */
  readonly owner: Cluster | undefined;
  readonly imported: History<boolean>;
  readonly contributions: readonly Contribution[];
}

export interface Known {
  /** Who ever had an address. */
  readonly ownerOf: ReadonlyMap<string, string>;
  /** What a name that is not there may be answered with: SERVFAIL, too, while a required cluster was not read. */
  readonly absent: ReadonlySet<string>;
}

/** What is wrong with a reply's addresses; undefined: nothing. */
export function judgeAddresses(
  service: Service,
  { rcode, answers }: Reply,
  { ownerOf, absent }: Known,
): string | undefined {
  const got = new Map<string, string[]>();
  for (const answer of answers) {
    const address = answer.slice(answer.lastIndexOf(' ') + 1);
    const owner = ownerOf.get(address);
    if (owner === undefined) return `${address} was never of any object`;
    const list = got.get(owner);
    if (list === undefined) got.set(owner, [address]);
    else list.push(address);
  }
  const imports = service.owner === undefined ? [true] : service.imported.since(service.owner.window.since);
  if (answers.length === 0) {
    // A headless service without endpoints is not there (KEP-1645 2.4.1).
    if (!absent.has(rcode)) return `${rcode} and no address`;
    if (imports.includes(false)) return undefined;
  } else {
    if (rcode !== 'NOERROR') return `${rcode} with addresses`;
    if (!imports.includes(true)) return 'addresses of a name that is not imported';
  }
  for (const contribution of service.contributions) {
    const seen = joined(got.get(contribution.key) ?? []);
    got.delete(contribution.key);
    const states = contribution.states();
    if (states.has(seen)) continue;
    // Withdrawn, while others answer.
    if (seen === '' && contribution.mayBeWithdrawn && answers.length > 0) continue;
    return `${contribution.key} is answered as [${seen}], and may be ${[...states].map((each) => `[${each}]`).join(' ')}`;
  }
  const [stranger] = got.keys();
  return stranger === undefined ? undefined : `an address of ${stranger}`;
}

/** A per-endpoint name of a native slice: the first address of one of its states. */
export function judgeEndpoint(
  service: Service,
  contribution: Contribution,
  { rcode, answers }: Reply,
  { absent }: Known,
): string | undefined {
  const states = contribution.states();
  if (answers.length === 0) {
    const others = service.contributions.filter(({ cluster }) => cluster !== contribution.cluster);
    const isOut =
      contribution.mayBeWithdrawn && others.some((other) => [...other.states()].some((each) => each !== ''));
    if (absent.has(rcode) && (states.has('') || isOut)) return undefined;
    return `${rcode} of an endpoint that is there`;
  }
  const seen = answers.map((answer) => answer.slice(answer.lastIndexOf(' ') + 1));
  if (seen.length === 1 && [...states].some((each) => each.split(',')[0] === seen[0])) return undefined;
  return `answered as [${joined(seen)}], and may be ${[...states].map((each) => `[${each}]`).join(' ')}`;
}

export function joined(addresses: readonly string[]): string {
  return [...addresses].sort().join(',');
}
