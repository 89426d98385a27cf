// A real etcd and kube-apiserver as a process of their own, loaded with the objects of one member. Prints a KubeReady; ends
// by SIGTERM, and both daemons with it.

import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { Etcd, KubeApi, reader } from '../../test/support/kube.ts';
import { namespaceOf } from '../lib/names.ts';
import { objectsOf } from '../lib/member.ts';
import type { MemberSize, RawObject } from '../lib/member.ts';

export interface KubeTask {
  readonly size: MemberSize;
  /** Where the reader's kubeconfig is written to. */
  readonly kubeconfig: string;
}

export interface KubeReady {
  readonly loadedMillis: number;
}

/** More at once wait for each other in etcd. */
const AT_ONCE = 24;

const { size, kubeconfig } = JSON.parse(process.argv[2]!) as KubeTask;
const ends: (() => Promise<void>)[] = [];
const stage = { teardown: (end: () => Promise<void>) => ends.push(end) };
process.once('SIGTERM', () => {
  void (async () => {
    for (const end of ends.reverse()) await end();
    process.exit(0);
  })();
});
const etcd = await Etcd.start(stage);
const api = await KubeApi.start(stage, { etcd, name: 'us-west' });
await api.applyCrds();
await reader(api);
const began = performance.now();
await postAll(namespaces(size), () => '/api/v1/namespaces');
await postAll(objectsOf(size), pathOf);
writeFileSync(kubeconfig, api.kubeconfig());
const ready: KubeReady = { loadedMillis: performance.now() - began };
process.stdout.write(`${JSON.stringify(ready)}\n`);

function* namespaces({ services, first = 0 }: MemberSize): Generator<RawObject> {
  const names = new Set(Array.from({ length: services }, (_, i) => namespaceOf(first + i)));
  for (const name of names) yield { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
}

function pathOf({ apiVersion, kind, metadata }: RawObject): string {
  const { namespace } = metadata as { namespace: string };
  return `/apis/${String(apiVersion)}/namespaces/${namespace}/${String(kind).toLowerCase()}s`;
}

async function postAll(objects: Iterable<RawObject>, path: (object: RawObject) => string): Promise<void> {
  const rest = objects[Symbol.iterator]();
  const post = async (): Promise<void> => {
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      const headers = { 'content-type': 'application/json' };
      const response = await api.fetch(path(next.value), { method: 'POST', headers, body: JSON.stringify(next.value) });
      const text = await response.text();
      if (response.status !== 201) throw new Error(`POST ${path(next.value)}: ${String(response.status)} ${text}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, post));
}
