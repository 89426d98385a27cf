// The native slices of services that were exported after the slices were listed: asked for by selector, one service at a
// time, or all at once where many were exported. Not here: which slices count (holdings.ts).

import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from './api/api-client.ts';
import { Backoff } from './api/backoff.ts';
import type { ReflectorLimits } from './api/backoff.ts';
import type { ServedResource } from './api/discovery.ts';
import type { Holdings } from './holdings.ts';
import type { ListGate } from './api/list-gate.ts';
import { asTrouble, readPages } from './api/list-pages.ts';
import { TroubleError } from './api/trouble.ts';

/** Slices as their own cluster's controller makes them. */
export const NATIVE_SELECTOR = 'kubernetes.io/service-name,!multicluster.kubernetes.io/service-name';

export interface NativeSlicesOptions {
  readonly api: ApiClient;
  readonly find: () => Promise<ServedResource | undefined>;
  /** See ReflectorOptions. */
  readonly forget: () => void;
  readonly renew: () => Promise<void>;
  readonly lists: ListGate;
  readonly holdings: () => Holdings;
  readonly limits: ReflectorLimits;
  readonly signal: AbortSignal;
  readonly random: () => number;
  /** A list failed; it is tried again. */
  readonly onTrouble: (text: string | undefined) => void;
  /** An assertion failed. */
  readonly onBroken: (error: unknown) => void;
}

export class NativeSlices {
  readonly #options: NativeSlicesOptions;
  readonly #waiting = new Set<string>();
  readonly #backoff: Backoff;
  #isRunning = false;

  constructor(options: NativeSlicesOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.limits, options.random);
  }

  /** Asks for the slices of a service, soon. */
  want(service: string): void {
    this.#waiting.add(service);
    this.#start();
  }

  #start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#run().then(
      () => {
        this.#isRunning = false;
        // One that was wanted while the last list ended.
        if (this.#waiting.size > 0 && !this.#options.signal.aborted) this.#start();
      },
      (error: unknown) => this.#options.onBroken(error),
    );
  }

  async #run(): Promise<void> {
    const { forget, limits, renew, signal } = this.#options;
    const isOver = (): boolean => signal.aborted;
    // Exports come in groups: the rest of this turn's is taken along.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.size > 0 && !isOver()) {
      const isMany = this.#waiting.size > limits.exportsToList;
      const wanted = isMany ? [''] : [...this.#waiting];
      const taken = [...this.#waiting];
      this.#waiting.clear();
      try {
        for (const service of wanted) {
          await this.#list(service);
          if (service !== '') taken.splice(taken.indexOf(service), 1);
        }
        this.#options.onTrouble(undefined);
      } catch (error) {
        const trouble = asTrouble(error);
        if (isOver()) return;
        if (!(trouble instanceof TroubleError)) throw error;
        for (const service of taken) this.#waiting.add(service);
        this.#options.onTrouble(`slices of ${taken[0] ?? 'exports'}: ${trouble.message}`);
        // Watches that were let in with an old token do not notice that it ended.
        if (trouble.kind === 'unauthorized') await renew();
        else if (trouble.kind === 'absent') forget();
        await sleep(this.#backoff.next(trouble, performance.now()), undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Lists the native slices of a service; '': all. */
  async #list(service: string): Promise<void> {
    const { api, find, limits, lists, signal } = this.#options;
    const served = await find();
    if (served === undefined) return;
    const [namespace = '', name = ''] = service.split('/');
    const path =
      service === ''
        ? served.path
        : served.path.replace(/\/endpointslices$/, `/namespaces/${namespace}/endpointslices`);
    const selector =
      service === '' ? NATIVE_SELECTOR : `kubernetes.io/service-name=${name},!multicluster.kubernetes.io/service-name`;
    const leave = await lists.enter(signal);
    const adoption = this.#options.holdings().beginAdoption(service);
    try {
      await readPages({ api, path, selector, limits, signal, onItem: (item) => adoption.item(item) });
      leave();
      await adoption.take();
    } finally {
      leave();
      adoption.end();
    }
  }
}
