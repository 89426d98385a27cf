// One member of a fleet against a list/watch server of ours: the store that it fills, the zone that is made of it, and
// waiting for something to become true.

import type { Access } from '../../src/k8s/api/access.ts';
import type { ReflectorLimits } from '../../src/k8s/api/backoff.ts';
import type { Credentials } from '../../src/k8s/credentials/credentials.ts';
import { FileStamps } from '../../src/k8s/credentials/file-stamps.ts';
import { ListGate } from '../../src/k8s/api/list-gate.ts';
import { Member } from '../../src/k8s/member.ts';
import { policyOf } from '../../src/k8s/policy.ts';
import { FleetStore } from '../../src/k8s/store.ts';
import { limits } from '../../src/limits.ts';
import type { Ends } from '../support/server.ts';

/** Short enough for a test to wait for; the order between them is that of the real ones. */
export const quick: ReflectorLimits = {
  ...limits.reflector,
  headersMillis: 1_000,
  listMillis: 4_000,
  initialQuietMillis: 1_000,
  idleMillis: 1_500,
  shortestWatchMillis: 300,
  backoffMillis: 50,
  backoffConnectionMillis: 250,
  backoffAnswerMillis: 500,
  healthyMillis: 1_000,
  slowPollMillis: 400,
  confirmMillis: 400,
  filesMillis: 200,
  tokenMillis: 400,
};

export function accessTo(server: string, more: Partial<Access> = {}): Access {
  return {
    server,
    ca: undefined,
    cert: undefined,
    key: undefined,
    serverName: undefined,
    skipVerify: false,
    proxy: undefined,
    authorization: undefined,
    headers: {},
    expiresAtMillis: undefined,
    tokenFile: undefined,
    files: [],
    ...more,
  };
}

export interface MemberRig {
  readonly member: Member;
  readonly store: FleetStore;
  readonly notes: readonly string[];
  /** The access that the next read of the credentials gives. */
  access: Access | Error;
  /** How often the credentials were read. */
  readonly reads: () => number;
}

/** A member of the id `a` that reads `access`; ended with the test. */
export function startMember(
  t: Ends,
  access: Access | Error,
  more: Partial<ReflectorLimits> = {},
  gate?: ListGate,
): MemberRig {
  const store = new FleetStore({ addressConflict: 'servfail' });
  store.addCluster(policyOf('a'));
  const notes: string[] = [];
  let reads = 0;
  const credentials = {
    read: () => {
      reads++;
      return rig.access instanceof Error ? Promise.reject(rig.access) : Promise.resolve(rig.access);
    },
    close: () => Promise.resolve(),
  } as unknown as Credentials;
  const all = { ...quick, ...more };
  const member = new Member({
    id: 'a',
    source: { kind: 'in-cluster' },
    store,
    credentials,
    stamps: new FileStamps(),
    lists: gate ?? new ListGate(all.listsAtOnce, all.listTurnMillis),
    limits: all,
    random: Math.random,
    onNote: (fields, message) => notes.push(`${message} ${JSON.stringify(fields)}`),
    onBroken: (error) => {
      throw error;
    },
  });
  const rig: MemberRig = { member, store, notes, access, reads: () => reads };
  t.teardown(() => member.close());
  member.start();
  return rig;
}

/** Resolves when `isTrue`; rejects with what `show` says after a time that a loaded machine keeps. */
export async function until(isTrue: () => boolean, show: () => unknown = () => '', mostMillis = 20_000): Promise<void> {
  const end = performance.now() + mostMillis;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`did not come true: ${isTrue.toString()} ${JSON.stringify(show())}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
