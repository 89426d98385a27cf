// One resource of one API server, listed and then watched for as long as the cluster is configured.
// States: waiting → listing → watching → backing off; absent and forbidden are polled slowly. Every failure keeps what is
// held; only a delete that was seen, or a list that was completed, takes an object away.
// Not here: what becomes of objects (holdings.ts), waits (backoff.ts), paths (discovery.ts), octets (watch-stream.ts).
// Kubernetes API concepts: efficient detection of changes, watch bookmarks, streaming lists (KEP-3157), 410 Gone.

import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiBody, ApiClient } from './api-client.ts';
import { Backoff } from './backoff.ts';
import type { ReflectorLimits } from './backoff.ts';
import { groupOf } from './discovery.ts';
import type { ServedResource } from './discovery.ts';
import { isRecord } from '../objects/fields.ts';
import type { ListGate } from './list-gate.ts';
import { asTrouble, readPages } from './list-pages.ts';
import { eventTrouble, isOverload, TroubleError } from './trouble.ts';
import { endsInitialEvents, readEvents, watchListTrouble, WithoutWatchList } from './watch-stream.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** Where a reflector's objects go. Called by one reflector at a time, in the order of the stream. */
export interface ReflectorSink {
  /** A list begins: what `initial` gets from now on. A list that was begun before is forgotten. */
  begin(served: ServedResource): void;
  /** An object of the list, of any shape. */
  initial(raw: unknown): void;
  /**
   * The list is whole: what it lacks is gone. Resolves when it is swapped in; `held`: it is not believed until a second
   * list says so too. `isAudit`: nothing should differ from what the watch brought up to `seenVersion`.
   */
  complete(audit: { readonly seenVersion: string } | undefined): Promise<'taken' | 'held'>;
  /** A change after a list that was taken. */
  change(type: ChangeType, raw: unknown): void;
  /** The server does not have the resource, or forbids it: whoever waits for its first list need not. */
  settle(): Promise<void>;
  /** While it is a promise, nothing more is read. */
  readonly busy: Promise<void> | undefined;
}

export type ReflectorPhase = 'waiting' | 'listing' | 'watching' | 'backing off' | 'absent' | 'forbidden';

export interface ReflectorState {
  readonly phase: ReflectorPhase;
  /** Why it is not watching; of a resource that is absent or forbidden, what was answered. */
  readonly reason: string | undefined;
  /** Milliseconds until the next attempt, where it waits for one. */
  readonly retryMillis: number | undefined;
}

/** What the server of a cluster cannot do, shared by its reflectors. */
export interface ServerTraits {
  /** No watch-list before this time (monotonic). */
  pagedUntilMillis: number;
}

export interface ReflectorOptions {
  readonly api: ApiClient;
  readonly traits: ServerTraits;
  /** How the resource is served; undefined: not at all. */
  readonly find: () => Promise<ServedResource | undefined>;
  /** What `find` said no longer holds. */
  readonly forget: () => void;
  readonly selector: string | undefined;
  readonly sink: ReflectorSink;
  readonly lists: ListGate;
  readonly limits: ReflectorLimits;
  readonly signal: AbortSignal;
  /** Reads the credentials again, after a 401. */
  readonly renew: () => Promise<void>;
  readonly onState: (state: ReflectorState) => void;
  readonly random: () => number;
}

export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #limits: ReflectorLimits;
  readonly #backoff: Backoff;
  /** Where the watch goes on; undefined: a list comes first. */
  #version: string | undefined;
  /** The API group of what was listed. */
  #group = '';
  /** Set while a list is an audit. */
  #audited: string | undefined;
  /** Trouble since the watch was last open: what changes meanwhile is not what the watch missed. */
  #isOut = false;
  #auditAtMillis = Infinity;
  /** Failures of the watch since it last brought anything. */
  #failures = 0;
  #unauthorized = 0;
  #absences = 0;
  #gone = 0;
  /** The widest gap between two bookmarks of this server. */
  #bookmarkGapMillis = 0;
  #bookmarkAtMillis: number | undefined;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#backoff = new Backoff(options.limits, options.random);
  }

  /** Runs until the signal. Never rejects for anything that a server does. */
  async run(): Promise<void> {
    const isOver = (): boolean => this.#options.signal.aborted;
    this.#tell('waiting');
    while (!isOver()) {
      try {
        await this.#attempt();
      } catch (error) {
        if (isOver()) return;
        const trouble = asTrouble(error);
        // Not of the server's making: an assertion of ours.
        if (!(trouble instanceof TroubleError)) throw error;
        await this.#recover(trouble);
      }
    }
  }

  async #attempt(): Promise<void> {
    const { find, signal, sink, traits } = this.#options;
    const served = await find();
    if (served === undefined) throw new TroubleError('absent', 'not served by this API server');
    const group = groupOf(served);
    // Those of another group are other objects; another version has the same ones.
    if (group !== this.#group) this.#version = undefined;
    if (this.#version !== undefined && performance.now() >= this.#auditAtMillis) {
      this.#audited = this.#isOut ? undefined : this.#version;
      this.#version = undefined;
    }
    if (this.#version !== undefined) return this.#watch(served);
    const leave = await this.#options.lists.enter(signal);
    try {
      this.#group = group;
      this.#tell('listing');
      sink.begin(served);
      if (performance.now() >= traits.pagedUntilMillis) {
        try {
          await this.#watchList(served, leave);
          return;
        } catch (error) {
          const isInvalid = error instanceof TroubleError && error.kind === 'invalid';
          if (!isInvalid && !(error instanceof WithoutWatchList)) throw error;
          traits.pagedUntilMillis = performance.now() + this.#limits.watchListAgainMillis;
          sink.begin(served);
        }
      }
      const version = await this.#pages(served);
      leave();
      await this.#complete(version);
    } finally {
      leave();
    }
  }

  /** The initial events of a watch, up to the bookmark that ends them; then the same stream is the watch. */
  async #watchList(served: ServedResource, leave: () => void): Promise<void> {
    const { sink } = this.#options;
    const stream = await this.#open(served, {
      ...this.#watchQuery(),
      sendInitialEvents: 'true',
      resourceVersionMatch: 'NotOlderThan',
    });
    let isInitial = true as boolean;
    const began = performance.now();
    await readEvents(stream, this.#limits.objectOctets, {
      busy: () => sink.busy,
      quietMillis: () => {
        if (!isInitial) return this.#idleMillis();
        const left = began + this.#limits.listMillis - performance.now();
        return Math.max(0, Math.min(this.#limits.initialQuietMillis, left));
      },
      onQuiet: () =>
        isInitial ? new WithoutWatchList('the initial events did not end in time') : this.#silentTrouble(),
      onEvent: (type, object) => {
        if (!isInitial) return this.#event(type, object);
        if (type === 'ADDED') sink.initial(object);
        else if (type === 'ERROR') throw watchListTrouble(object);
        else if (type === 'BOOKMARK') {
          // A server that sends ordinary bookmarks first has not understood what it was asked.
          if (!endsInitialEvents(object)) throw new WithoutWatchList('a bookmark before the initial events ended');
          const version = versionOf(object);
          if (version === '') throw new WithoutWatchList('initial events without a resourceVersion at their end');
          isInitial = false;
          leave();
          return this.#complete(version);
        } else throw new WithoutWatchList('an event among the initial ones that is none');
        return undefined;
      },
    });
    if (isInitial) throw new WithoutWatchList('a watch that ended before its initial events did');
  }

  #pages(served: ServedResource): Promise<string> {
    const { api, limits, selector, signal, sink } = this.#options;
    return readPages({ api, path: served.path, selector, limits, signal, onItem: (item) => sink.initial(item) });
  }

  async #watch(served: ServedResource): Promise<void> {
    const { sink } = this.#options;
    const began = performance.now();
    const stream = await this.#open(served, { ...this.#watchQuery(), resourceVersion: this.#version! });
    this.#bookmarkAtMillis = undefined;
    this.#tell('watching');
    this.#healthy();
    await readEvents(stream, this.#limits.objectOctets, {
      busy: () => sink.busy,
      quietMillis: () => this.#idleMillis(),
      onQuiet: () => this.#silentTrouble(),
      onEvent: (type, object) => this.#event(type, object),
    });
    // Whatever it brought: a server that ends each watch behind one event must not be asked without a pause.
    if (performance.now() - began < this.#limits.shortestWatchMillis) {
      throw new TroubleError('body', 'a watch that ended at once');
    }
  }

  #event(type: string, object: unknown): undefined {
    const { sink } = this.#options;
    if (type === 'ERROR') throw eventTrouble(object);
    if (type === 'BOOKMARK') {
      const now = performance.now();
      if (this.#bookmarkAtMillis !== undefined) {
        this.#bookmarkGapMillis = Math.max(this.#bookmarkGapMillis, now - this.#bookmarkAtMillis);
      }
      this.#bookmarkAtMillis = now;
    } else if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') sink.change(type, object);
    else return undefined;
    this.#failures = 0;
    const version = versionOf(object);
    // A stream goes forward, and versions compare by number (KEP-5504); one that goes back would bring again what we saw.
    if (version !== '' && !(Number(version) < Number(this.#version))) this.#version = version;
    return undefined;
  }

  async #complete(version: string): Promise<void> {
    const audited = this.#audited;
    const verdict = await this.#options.sink.complete(audited === undefined ? undefined : { seenVersion: audited });
    if (verdict === 'held') {
      throw new TroubleError('held', 'a list that would take most of the names away: waiting for a second one');
    }
    this.#audited = undefined;
    this.#version = version;
    this.#failures = 0;
    this.#auditAtMillis = performance.now() + this.#limits.auditMillis * (0.5 + this.#options.random());
    this.#bookmarkAtMillis = undefined;
    this.#tell('watching');
    this.#healthy();
  }

  async #recover(trouble: TroubleError): Promise<void> {
    const { forget, renew, signal, sink } = this.#options;
    const { kind, code } = trouble;
    let phase: ReflectorPhase = 'backing off';
    this.#isOut = true;
    if (kind !== 'held') this.#audited = undefined;
    if (kind === 'absent' && code === 404 && this.#absences++ === 0) {
      // This version ended; another one may be served.
      forget();
      return;
    }
    if (kind === 'absent' || kind === 'forbidden') {
      phase = kind;
      // A path that discovery says is served, and is not, tells nothing of what is there.
      if (code !== 404) await sink.settle();
    } else if (kind === 'gone') {
      this.#version = undefined;
      if (this.#gone++ === 0) return;
    } else if (kind === 'unauthorized') {
      // A token that was rotated is in its file by now.
      await renew();
      if (this.#unauthorized++ === 0) return;
    } else if (kind !== 'connection' && !isOverload(trouble) && ++this.#failures >= this.#limits.failuresToRelist) {
      this.#version = undefined;
      this.#failures = 0;
    }
    const waitMillis = this.#backoff.next(trouble, performance.now());
    this.#tell(phase, trouble.message, waitMillis);
    await sleep(waitMillis, undefined, { signal }).catch(() => undefined);
    if (phase !== 'backing off') forget();
  }

  #open(served: ServedResource, query: Readonly<Record<string, string>>): Promise<ApiBody> {
    const { api, selector, signal } = this.#options;
    const words = new URLSearchParams(query);
    if (selector !== undefined) words.set('labelSelector', selector);
    return api.open(`${served.path}?${words.toString()}`, signal);
  }

  #watchQuery(): Record<string, string> {
    const { watchSecondsLeast, watchSecondsMost } = this.#limits;
    const seconds = watchSecondsLeast + this.#options.random() * (watchSecondsMost - watchSecondsLeast);
    return { watch: 'true', allowWatchBookmarks: 'true', timeoutSeconds: String(Math.ceil(seconds)) };
  }

  #idleMillis(): number {
    return Math.max(this.#limits.idleMillis, 1.5 * this.#bookmarkGapMillis);
  }

  #silentTrouble(): TroubleError {
    // Not the connection's: after an etcd was restored, a watch from a version that is still to come is mute for ever.
    return new TroubleError('body', `a watch that was silent for ${Math.round(this.#idleMillis() / 1000)} s`);
  }

  #healthy(): void {
    this.#unauthorized = 0;
    this.#absences = 0;
    this.#gone = 0;
    this.#isOut = false;
    this.#backoff.healthy(performance.now());
  }

  #tell(phase: ReflectorPhase, reason?: string, retryMillis?: number): void {
    this.#options.onState({ phase, reason, retryMillis });
  }
}

/** metadata.resourceVersion, '' where there is none. */
export function versionOf(object: unknown): string {
  const metadata = isRecord(object) ? object['metadata'] : undefined;
  const version = isRecord(metadata) ? metadata['resourceVersion'] : undefined;
  return typeof version === 'string' ? version : '';
}
