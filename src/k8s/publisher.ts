// From dirty services to the zone: gather, merge, apply, in slices of the main thread's time.
// Level-based: it never asks what happened, it makes the zone equal to the store. A service that changes again while it
// waits is published once, as it is then. Not here: what a merge decides, what an answer looks like.

import { limits } from '../limits.ts';
import { ImageFullError } from '../zones/arena.ts';
import { mergeService } from '../zones/merge.ts';
import type { ServiceKey } from '../zones/objects.ts';
import type { Zone } from '../zones/zone.ts';
import type { FleetStore } from './store.ts';

export class Publisher {
  private readonly store: FleetStore;
  private readonly zone: Zone;
  private readonly onFull: (key: ServiceKey, error: ImageFullError) => void;
  private readonly waiting = new Set<ServiceKey>();
  /** Services that the image had no room for: tried again by `retry`. */
  private readonly refused = new Set<ServiceKey>();
  private idle: (() => void)[] = [];
  private scheduled = false;

  /** `onFull`: told once of a service that the image has no room for; what stood for it goes on standing. */
  constructor(store: FleetStore, zone: Zone, onFull: (key: ServiceKey, error: ImageFullError) => void) {
    this.store = store;
    this.zone = zone;
    this.onFull = onFull;
    store.onChange(() => {
      this.schedule();
    });
  }

  /** Services that are not published as they are. While there are any, a missing name may be one of theirs. */
  get refusals(): number {
    return this.refused.size;
  }

  /** Whether everything that the store holds is published. */
  get isIdle(): boolean {
    return this.waiting.size === 0 && !this.store.isDirty;
  }

  /** Tries again what the image had no room for; at most once a second. */
  retry(): void {
    if (this.refused.size === 0) return;
    for (const key of this.refused) this.waiting.add(key);
    this.schedule();
  }

  /** Resolves when nothing waits to be published. */
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
        this.refused.delete(key);
      } catch (error) {
        if (!(error instanceof ImageFullError)) throw error;
        if (!this.refused.has(key)) this.onFull(key, error);
        this.refused.add(key);
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
