// One cluster of the fleet that is read from its API server: its credentials, its generations, and what is true of it now.
// A generation is made anew when the server or the credentials change, beside the one that serves, which ends when the new
// one has committed. Not here: what its state means for names and readiness (fleet.ts).

import type { Access, AccessSource } from './api/access.ts';
import { sameServer } from './api/access.ts';
import { Backoff } from './api/backoff.ts';
import type { ReflectorLimits } from './api/backoff.ts';
import type { ClusterSource } from './cluster-settings.ts';
import { readToken } from './credentials/credentials.ts';
import type { Credentials } from './credentials/credentials.ts';
import type { FileStamps } from './credentials/file-stamps.ts';
import type { FleetMember, MemberDetails, MemberState, MemberStatus, ResourceStatus } from './fleet-member.ts';
import { Generation } from './generation.ts';
import type { ListGate } from './api/list-gate.ts';
import type { PartName } from './part.ts';
import type { FleetStore } from './store.ts';
import { TroubleError } from './api/trouble.ts';

export interface MemberOptions {
  readonly id: string;
  readonly source: AccessSource;
  readonly store: FleetStore;
  readonly credentials: Credentials;
  readonly stamps: FileStamps;
  readonly lists: ListGate;
  readonly limits: ReflectorLimits;
  readonly random: () => number;
  /** A line for the log that is no change of state. */
  readonly onNote: (fields: Readonly<Record<string, unknown>>, message: string) => void;
  readonly onBroken: (error: unknown) => void;
}

const SHOWN: Readonly<Record<PartName, string>> = {
  imports: 'serviceimports',
  exports: 'serviceexports',
  mirrored: 'endpointslices (mirrored)',
  native: 'endpointslices (native)',
};

export class Member implements FleetMember {
  readonly #options: MemberOptions;
  #source: AccessSource;
  #access: Access | undefined;
  /** What the store holds. */
  #serving: Generation | undefined;
  /** What syncs beside it, or alone. */
  #coming: Generation | undefined;
  #hasSynced = false;
  #outSinceMillis: number | undefined = performance.now();
  #credentialTrouble: string | undefined;
  /** A list that is not believed yet. */
  #heldBack: string | undefined;
  #stamp = '';
  readonly #backoff: Backoff;
  #renewing: Promise<void> | undefined;
  #filesTimer: NodeJS.Timeout | undefined;
  #tokenTimer: NodeJS.Timeout | undefined;
  #expiryTimer: NodeJS.Timeout | undefined;
  #confirmTimer: NodeJS.Timeout | undefined;
  readonly #endings = new Set<Promise<void>>();
  /** Until something of it changes. */
  #status: MemberStatus | undefined;
  #isClosed = false;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#source = options.source;
    this.#backoff = new Backoff(options.limits, options.random);
  }

  /** Begins to read the cluster; what goes wrong is in its status, and is tried again. */
  start(): void {
    void this.renew();
    const { filesMillis, tokenMillis } = this.#options.limits;
    this.#filesTimer = setInterval(() => void this.#lookAtFiles(), filesMillis).unref();
    this.#tokenTimer = setInterval(() => void this.#readToken(), tokenMillis).unref();
  }

  /** What it holds stays until the new source has synced. */
  move(source: ClusterSource): boolean {
    if (source.kind === 'manifests') return false;
    this.#source = source;
    this.#stamp = '';
    void (this.#renewing ?? Promise.resolve()).then(() => this.renew());
    return true;
  }

  /** Reads the credentials again, and begins a generation where they say something else. Never rejects. */
  renew(): Promise<void> {
    this.#renewing ??= this.#readAccess().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  status(): MemberStatus {
    this.#status ??= this.#currentStatus();
    return this.#status;
  }

  details(): MemberDetails {
    const shown = this.#serving ?? this.#coming;
    const resources: Record<string, ResourceStatus> = {};
    for (const [part, { phase, reason }] of shown?.parts ?? []) {
      const objects = shown?.holdings.size(part) ?? 0;
      resources[SHOWN[part]] = { phase, objects, ...(reason === undefined ? {} : { reason }) };
    }
    const { refusedObjects = 0, firstRefusal } = shown?.holdings ?? {};
    return { resources, refusedObjects, firstRefusal };
  }

  /** Stops reading; the store keeps what it holds. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#filesTimer);
    clearInterval(this.#tokenTimer);
    clearTimeout(this.#expiryTimer);
    clearTimeout(this.#confirmTimer);
    this.#end(this.#serving);
    this.#end(this.#coming);
    await Promise.all(this.#endings);
  }

  #currentStatus(): MemberStatus {
    const shown = this.#serving ?? this.#coming;
    const phases = new Set<string>();
    const reasons: string[] = [];
    for (const [part, { phase, reason }] of shown?.parts ?? []) {
      // What is not served is no trouble while nothing of it is held.
      if (phase === 'absent' && shown?.holdings.size(part) === 0) continue;
      phases.add(phase);
      if (reason !== undefined) reasons.push(`${SHOWN[part]}: ${reason}`);
    }
    let state: MemberState = phases.has('listing') || phases.has('watching') ? 'syncing' : 'connecting';
    if (this.#hasSynced) state = phases.has('backing off') ? 'out of touch' : 'synced';
    if (!this.#hasSynced && this.#serving !== undefined && phases.has('forbidden')) state = 'degraded';
    if (state === 'synced' && (phases.has('forbidden') || phases.has('absent'))) state = 'degraded';
    const why = [this.#credentialTrouble, this.#heldBack, reasons[0], shown?.exportTrouble];
    return {
      state,
      reason: why.find((text) => text !== undefined),
      hasSynced: this.#hasSynced,
      hasRead: this.#serving?.holdings.isCommitted === true,
      outSinceMillis: this.#outSinceMillis,
    };
  }

  async #readAccess(): Promise<void> {
    const { credentials, stamps } = this.#options;
    const source = this.#source;
    const files = this.#files();
    let access: Access;
    let stamp: string;
    try {
      // Of the time before it is read: what changes meanwhile is read again.
      stamp = await stamps.of(files);
      access = await credentials.read(source);
      if (access.files.join('\n') !== files.join('\n')) stamp = await stamps.of(access.files);
    } catch (error) {
      if (this.#isClosed || source !== this.#source) return;
      this.#credentialTrouble = (error as Error).message;
      this.#status = undefined;
      clearTimeout(this.#expiryTimer);
      const wait = this.#backoff.next(new TroubleError('answer', this.#credentialTrouble), performance.now());
      this.#expiryTimer = setTimeout(() => void this.renew(), wait).unref();
      return;
    }
    if (this.#isClosed || source !== this.#source) return;
    this.#credentialTrouble = undefined;
    this.#status = undefined;
    this.#backoff.healthy(performance.now());
    this.#stamp = stamp;
    this.#take(access);
  }

  /** What credentials come from, as far as it is known. */
  #files(): readonly string[] {
    if (this.#access !== undefined) return this.#access.files;
    return this.#source.kind === 'kubeconfig' && this.#source.file !== undefined ? [this.#source.file] : [];
  }

  #take(access: Access): void {
    const before = this.#access;
    this.#access = access;
    clearTimeout(this.#expiryTimer);
    if (access.expiresAtMillis !== undefined) {
      const { expiryMillis } = this.#options.limits;
      const left = access.expiresAtMillis - Date.now() - expiryMillis;
      // Also where our clock is ahead, and all that a plugin gives has ended.
      const wait = Math.min(Math.max(left, expiryMillis / 6), 2 ** 31 - 1);
      this.#expiryTimer = setTimeout(() => void this.renew(), wait).unref();
    }
    if (before === undefined || !sameServer(before, access)) this.#begin(access, false);
    else this.#authorize(access.authorization);
  }

  /** A token that was rotated serves the requests to come; the watches that run were let in with the old one. */
  #authorize(authorization: string | undefined): void {
    for (const generation of [this.#serving, this.#coming]) {
      if (generation !== undefined) generation.api.authorization = authorization;
    }
  }

  #begin(access: Access, isBelieved: boolean): void {
    this.#end(this.#coming);
    clearTimeout(this.#confirmTimer);
    this.#heldBack = isBelieved ? this.#heldBack : undefined;
    const { id, store, lists, limits, random, onNote, onBroken } = this.#options;
    const generation: Generation = new Generation({
      cluster: id,
      access,
      store,
      lists,
      limits,
      random,
      isBelieved,
      renew: () => this.renew(),
      onCommitting: () => this.#committing(generation),
      onCommit: () => this.#committed(generation),
      onHeld: (missing, names) => {
        this.#heldBack = `its lists lack ${missing} of ${names} names: not believed before a second list says so too`;
        this.#status = undefined;
        clearTimeout(this.#confirmTimer);
        this.#confirmTimer = setTimeout(() => this.#begin(this.#access ?? access, true), limits.confirmMillis).unref();
      },
      onAudit: (part, missed) => {
        if (missed > 0) onNote({ resource: SHOWN[part], missed }, 'the watch had missed changes that a list brought');
      },
      onState: () => this.#follow(generation),
      onBroken,
    });
    this.#coming = generation;
    generation.start();
  }

  /** It writes from now on; the one before must not write over it. */
  #committing(generation: Generation): void {
    if (generation !== this.#coming) return;
    this.#end(this.#serving);
    this.#serving = generation;
    this.#coming = undefined;
  }

  #committed(generation: Generation): void {
    if (this.#isClosed || generation !== this.#serving) return;
    this.#heldBack = undefined;
    this.#follow(generation);
  }

  /** Keeps the time since when the cluster is not followed. */
  #follow(generation: Generation): void {
    this.#status = undefined;
    if (generation !== this.#serving) return;
    if (generation.isWhole) this.#hasSynced = true;
    let isFollowed = true;
    for (const [part, { phase }] of generation.parts) {
      // What is not served is followed while nothing of it is held.
      if (phase !== 'watching' && (phase !== 'absent' || generation.holdings.size(part) > 0)) isFollowed = false;
    }
    if (isFollowed) this.#outSinceMillis = undefined;
    else this.#outSinceMillis ??= performance.now();
  }

  #end(generation: Generation | undefined): void {
    if (generation === undefined) return;
    const ending = generation.close().finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
  }

  async #lookAtFiles(): Promise<void> {
    const files = this.#files();
    if (this.#renewing !== undefined || files.length === 0) return;
    const stamp = await this.#options.stamps.of(files);
    if (stamp === this.#stamp || this.#isClosed) return;
    // Looked at again only when it changes again: a file that is broken now is said once.
    this.#stamp = stamp;
    await this.renew();
  }

  async #readToken(): Promise<void> {
    const file = this.#access?.tokenFile;
    if (file === undefined) return;
    try {
      const authorization = await readToken(file);
      if (this.#isClosed || this.#access?.tokenFile !== file) return;
      this.#access = { ...this.#access, authorization };
      this.#authorize(authorization);
    } catch {
      // The one that is known goes on; a 401 reads everything again and says why.
    }
  }
}
