// From dirty services to the zone: gather, merge, apply, in slices of the main thread's time.
// Level-based: it never asks what happened, it makes the zone equal to the store. A service that changes again while it
// waits is published once, as it is then. Not here: what a merge decides, what an answer looks like.

import { limits } from '../limits.ts';
import { mergeService } from '../zones/merge.ts';
import type { ServiceKey } from '../zones/objects.ts';
import type { Zone } from '../zones/zone.ts';
import type { FleetStore } from './store.ts';

export class Publisher {
  private readonly store: FleetStore;
  private readonly zone: Zone;
  private readonly onError: (key: ServiceKey, error: unknown) => void;
  private readonly waiting = new Set<ServiceKey>();
  private idle: (() => void)[] = [];
  private scheduled = false;

  /** `onError`: the service that could not be published (the image is full); what stood for it goes on standing. */
  constructor(store: FleetStore, zone: Zone, onError: (key: ServiceKey, error: unknown) => void) {
    this.store = store;
    this.zone = zone;
    this.onError = onError;
    store.onChange(() => {
      this.schedule();
    });
  }

  /** Resolves when everything that is dirty now has been published. */
  drained(): Promise<void> {
    this.schedule();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.publish();
    });
  }

  /** One slice; the rest follows in the next turn. */
  private publish(): void {
    this.scheduled = false;
    const { store, waiting } = this;
    for (const key of store.takeDirty()) waiting.add(key);
    const end = performance.now() + limits.zone.publishSliceMillis;
    const fleet = store.fleet();
    for (const key of waiting) {
      waiting.delete(key);
      const objects = store.gather(key);
      try {
        this.zone.apply(objects.namespace, objects.name, mergeService(objects, fleet));
      } catch (error) {
        this.onError(key, error);
      }
      if (performance.now() >= end) break;
    }
    if (waiting.size > 0) {
      this.schedule();
      return;
    }
    const { idle } = this;
    this.idle = [];
    for (const resolve of idle) resolve();
  }
}
