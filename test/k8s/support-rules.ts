// A member against the fault server, with a little fleet in it, for the rules of the reflector and for faults.

import type { Access } from '../../src/k8s/api/access.ts';
import type { ReflectorLimits } from '../../src/k8s/api/backoff.ts';
import type { FleetStore } from '../../src/k8s/store.ts';
import { FaultServer } from '../support/api/fault-server.ts';
import type { FaultServerOptions } from '../support/api/fault-server.ts';
import type { ApiRequest, RequestKind } from '../support/api/request.ts';
import { mirroredSlice, nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import type { Ends } from '../support/server.ts';
import { accessTo, startMember, until } from './support-member.ts';
import type { MemberRig } from './support-member.ts';

export interface Rig extends MemberRig {
  readonly server: FaultServer;
}

/** Two services; of these one is exported. */
export function seed(server: FaultServer): void {
  server.put(serviceImport('shop', 'web'));
  server.put(serviceImport('db', 'mysql', { type: 'Headless' }));
  server.put(serviceExport('shop', 'web'));
  server.put(mirroredSlice('shop', 'web-eu', 'web', 'eu', { endpoints: ['10.2.0.1'] }));
  server.put(nativeSlice('shop', 'web-n1', 'web', { endpoints: ['10.1.0.1'] }));
  server.put(nativeSlice('db', 'mysql-n1', 'mysql', { endpoints: ['10.1.0.2'] }));
}

/** A server with that in it; ended with the test. */
export async function startApi(t: Ends, options: FaultServerOptions = {}): Promise<FaultServer> {
  const server = await FaultServer.start(options);
  t.teardown(() => server.close());
  seed(server);
  return server;
}

/** A member that has read it. */
export async function startSynced(
  t: Ends,
  options: FaultServerOptions = {},
  limits: Partial<ReflectorLimits> = {},
  access: Partial<Access> = {},
): Promise<Rig> {
  const server = await startApi(t, options);
  const rig = Object.assign(startMember(t, accessTo(server.url, access), limits), { server });
  await isSynced(rig);
  return rig;
}

export async function isSynced({ member, server }: { readonly member: Rig['member']; readonly server: FaultServer }) {
  await until(
    () => member.status().hasSynced && server.watches().length === 4,
    () => [member.status(), member.details(), server.watches().length],
  );
}

/** What a store holds of the cluster: each object in one line. */
export function contents(store: FleetStore): string[] {
  return [...store.objectsOf('a')].map((each) => JSON.stringify(each)).sort();
}

/** `kind namespace/name` of what it holds. */
export function names(store: FleetStore): string[] {
  return [...store.objectsOf('a')].map(({ kind, object }) => `${kind} ${object.namespace}/${object.name}`).sort();
}

export function holds({ store }: MemberRig, name: string): boolean {
  return names(store).includes(name);
}

export async function untilHolds(rig: MemberRig, ...wanted: readonly string[]): Promise<void> {
  const show = (): unknown => [wanted, names(rig.store), rig.member.status(), rig.member.details().resources];
  await until(() => wanted.every((name) => holds(rig, name)), show);
}

export async function untilGone(rig: MemberRig, name: string): Promise<void> {
  await until(
    () => !holds(rig, name),
    () => [name, names(rig.store), rig.member.status()],
  );
}

/** Until the status, or a resource's, says so. */
export async function untilReason({ member }: MemberRig, reason: RegExp): Promise<string> {
  const seen = new Set<string>();
  const texts = (): string[] =>
    [member.status().reason, ...Object.values(member.details().resources).map((each) => each.reason)].filter(
      (text) => text !== undefined,
    );
  let found: string | undefined;
  await until(
    () => {
      for (const text of texts()) seen.add(text);
      found = [...seen].find((text) => reason.test(text));
      return found !== undefined;
    },
    () => [...seen],
  );
  return found!;
}

/** Waits until there are so many requests of the kind, and gives them. */
export async function untilRequests(
  server: FaultServer,
  count: number,
  kind: RequestKind,
  ...resource: Parameters<FaultServer['requests']['of']> extends [unknown, ...infer R] ? R : never
): Promise<readonly ApiRequest[]> {
  const all = (): readonly ApiRequest[] => server.requests.of(kind, ...resource);
  await until(
    () => all().length >= count,
    () => [kind, resource, server.requests.all.map((each) => each.url)],
  );
  return all();
}
