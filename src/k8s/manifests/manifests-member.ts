// A cluster of the fleet whose objects are a folder of manifests: it has synced when the folder was read, and a folder that
// is not there is tried again. Not here: reading and following the folder (manifests-follow.ts).

import { FolderError } from './folder-watch.ts';
import { FollowedManifests } from './manifests-follow.ts';
import type { Finding } from './manifests.ts';
import type { FleetMember, MemberDetails, MemberStatus } from '../fleet-member.ts';
import type { FleetStore } from '../store.ts';

const RETRY_MILLIS = 2_000;

export class ManifestsMember implements FleetMember {
  readonly #id: string;
  readonly #dir: string;
  readonly #store: FleetStore;
  readonly #report: (findings: readonly Finding[]) => void;
  readonly #startedMillis = performance.now();
  readonly #opening: Promise<void>;
  #followed: FollowedManifests | undefined;
  #trouble: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #wake: () => void = () => undefined;
  #isClosed = false;

  constructor(id: string, dir: string, store: FleetStore, report: (findings: readonly Finding[]) => void) {
    this.#id = id;
    this.#dir = dir;
    this.#store = store;
    this.#report = report;
    this.#opening = this.#open();
  }

  status(): MemberStatus {
    const hasSynced = this.#followed !== undefined;
    return {
      state: hasSynced ? 'synced' : 'connecting',
      reason: this.#trouble,
      hasSynced,
      hasRead: hasSynced,
      outSinceMillis: hasSynced ? undefined : this.#startedMillis,
    };
  }

  details(): MemberDetails {
    const [first] = this.#followed?.findings ?? [];
    return {
      resources: { manifests: { phase: 'watching', objects: [...this.#store.objectsOf(this.#id)].length } },
      refusedObjects: this.#followed?.findings.length ?? 0,
      firstRefusal: first === undefined ? undefined : `${first.file}: ${first.message}`,
    };
  }

  move(): boolean {
    return false;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#wake();
    await this.#opening;
    await this.#followed?.close();
  }

  async #open(): Promise<void> {
    while (!this.#isClosed) {
      try {
        this.#followed = await FollowedManifests.open(this.#id, this.#dir, this.#store, this.#report);
        this.#trouble = undefined;
        return;
      } catch (error) {
        if (!(error instanceof FolderError)) throw error;
        this.#trouble = error.message;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#retry = setTimeout(resolve, RETRY_MILLIS);
      });
    }
  }
}
