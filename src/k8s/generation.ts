// One access to one cluster, from its first request to its last: discovery, four reflectors, and what they hold.
// A cluster whose credentials or server change gets a new generation beside the old one, which ends when the new one has
// committed. A generation that was closed does nothing more, however late an answer comes.
// Not here: when a generation begins (member.ts).

import type { Access } from './api/access.ts';
import { ApiClient } from './api/api-client.ts';
import type { ReflectorLimits } from './api/backoff.ts';
import { Discovery } from './api/discovery.ts';
import type { ResourceName, ServedResource } from './api/discovery.ts';
import { Holdings } from './holdings.ts';
import type { ListGate } from './api/list-gate.ts';
import { NATIVE_SELECTOR, NativeSlices } from './native-slices.ts';
import type { PartName } from './part.ts';
import { Reflector } from './api/reflector.ts';
import type { ReflectorState, ServerTraits } from './api/reflector.ts';
import type { FleetStore } from './store.ts';

export interface GenerationOptions {
  readonly cluster: string;
  readonly access: Access;
  readonly store: FleetStore;
  readonly lists: ListGate;
  readonly limits: ReflectorLimits;
  readonly random: () => number;
  /** See Holdings. */
  readonly isBelieved: boolean;
  readonly onCommitting: () => void;
  /** The server answered 401: the credentials are to be read again. */
  readonly renew: () => Promise<void>;
  readonly onCommit: () => void;
  readonly onHeld: (missing: number, names: number) => void;
  readonly onAudit: (part: PartName, missed: number) => void;
  /** Some state of `parts` changed. */
  readonly onState: () => void;
  /** An assertion failed. */
  readonly onBroken: (error: unknown) => void;
}

const RESOURCE: Readonly<Record<PartName, { readonly name: ResourceName; readonly selector: string | undefined }>> = {
  imports: { name: 'serviceimports', selector: undefined },
  exports: { name: 'serviceexports', selector: undefined },
  mirrored: { name: 'endpointslices', selector: 'multicluster.kubernetes.io/service-name' },
  native: { name: 'endpointslices', selector: NATIVE_SELECTOR },
};

const PART_NAMES: readonly PartName[] = ['imports', 'exports', 'mirrored', 'native'];

export class Generation {
  readonly api: ApiClient;
  readonly holdings: Holdings;
  /** The state of each part's reflector. */
  readonly parts = new Map<PartName, ReflectorState>();
  /** Parts that were listed once, or that the server does not have: not those that it forbids. */
  readonly #known = new Set<PartName>();
  /** Why slices of a new export are not here yet. */
  exportTrouble: string | undefined;
  readonly #options: GenerationOptions;
  readonly #discovery: Discovery;
  readonly #closing = new AbortController();
  #runs: Promise<unknown> = Promise.resolve();

  constructor(options: GenerationOptions) {
    this.#options = options;
    const { cluster, store, limits, random, isBelieved, onCommitting, onCommit, onHeld, onAudit, onState } = options;
    const { signal } = this.#closing;
    this.api = new ApiClient(options.access, limits);
    this.#discovery = new Discovery(this.api, signal);
    const slices = new NativeSlices({
      api: this.api,
      find: () => this.#discovery.find('endpointslices'),
      forget: () => this.#discovery.forget(),
      renew: options.renew,
      lists: options.lists,
      holdings: (): Holdings => this.holdings,
      limits,
      signal,
      random,
      onTrouble: (text) => {
        this.exportTrouble = text;
        onState();
      },
      onBroken: options.onBroken,
    });
    this.holdings = new Holdings({
      cluster,
      store,
      limits,
      isBelieved,
      onExport: (service) => slices.want(service),
      onCommitting,
      onCommit,
      onHeld,
      onAudit,
    });
  }

  /** The store holds it, and nothing of it was forbidden from the start. */
  get isWhole(): boolean {
    return this.holdings.isCommitted && this.#known.size === PART_NAMES.length;
  }

  /** Begins to read. */
  start(): void {
    const traits: ServerTraits = { pagedUntilMillis: 0 };
    this.#runs = Promise.all(PART_NAMES.map((name) => this.#run(name, traits))).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#options.onBroken(error);
    });
  }

  /** Ends every request; nothing is written to the store from now on. */
  async close(): Promise<void> {
    this.holdings.close();
    this.#closing.abort();
    await this.api.close();
    await this.#runs;
  }

  async #run(name: PartName, traits: ServerTraits): Promise<void> {
    const { lists, limits, random, renew, onState } = this.#options;
    const { signal } = this.#closing;
    const onPart = (state: ReflectorState): void => {
      this.parts.set(name, state);
      if (state.phase === 'watching' || state.phase === 'absent') this.#known.add(name);
      onState();
    };
    onPart({ phase: 'waiting', reason: undefined, retryMillis: undefined });
    // Without the exports nobody knows which native slices to keep.
    if (name === 'native') await this.holdings.exportsKnown;
    await new Reflector({
      api: this.api,
      traits,
      find: (): Promise<ServedResource | undefined> => this.#discovery.find(RESOURCE[name].name),
      forget: () => this.#discovery.forget(),
      selector: RESOURCE[name].selector,
      sink: this.holdings.sink(name),
      lists,
      limits,
      signal,
      renew,
      onState: onPart,
      random,
    }).run();
  }
}
