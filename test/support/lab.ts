// A lab fleet from short notation: cluster id → lines. Each line is an object:
//   import NS/NAME ClusterSetIP|Headless [IP,IP] [PORT/PROTO:NUMBER …] [@CREATED]
//   export NS/NAME [invalid]
//   slice NS/NAME IPv4|IPv6|FQDN [from CLUSTER] [PORT/PROTO:NUMBER …] = ENDPOINT …
// ENDPOINT is [!|?][HOST=]ADDRESS[#UID]; `!` is not ready, `?` has no conditions. A slice `from` a cluster is a mirror.
// PORT may be empty (unnamed), `/PROTO` may be missing (no protocol in the object).

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export type Notation = Readonly<Record<string, string>>;
export type Manifest = Readonly<Record<string, unknown>>;

/** The manifests of one cluster. */
export function manifests(lines: string): Manifest[] {
  return lines
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line, i) => manifest(line, i));
}

function manifest(line: string, number: number): Manifest {
  const [kind, key = '', ...words] = line.split(/\s+/);
  const [namespace = '', name = ''] = key.split('/');
  if (kind === 'import') return importManifest(namespace, name, words);
  if (kind === 'export') {
    const conditions = words.includes('invalid') ? [{ type: 'Valid', status: 'False' }] : [];
    const metadata = { namespace, name };
    return { apiVersion: 'multicluster.x-k8s.io/v1beta1', kind: 'ServiceExport', metadata, status: { conditions } };
  }
  if (kind === 'slice') return sliceManifest(namespace, name, words, number);
  throw new Error(`no such notation: ${line}`);
}

function importManifest(namespace: string, name: string, words: string[]): Manifest {
  const [type] = words;
  const created = words.find((word) => word.startsWith('@'))?.slice(1);
  const ips = words.find((word) => /^[0-9a-f.:]+(,[0-9a-f.:]+)*$/.test(word) && !/^:\d+$/.test(word))?.split(',');
  return {
    apiVersion: 'multicluster.x-k8s.io/v1beta1',
    kind: 'ServiceImport',
    metadata: { namespace, name, ...(created === undefined ? {} : { creationTimestamp: created }) },
    spec: { type, ports: ports(words), ...(ips === undefined ? {} : { ips }) },
  };
}

function sliceManifest(namespace: string, service: string, words: string[], number: number): Manifest {
  const equals = words.indexOf('=');
  const head = words.slice(0, equals);
  const from = head.indexOf('from');
  const source = from < 0 ? undefined : head[from + 1];
  const labels =
    source === undefined
      ? { 'kubernetes.io/service-name': service }
      : {
          'multicluster.kubernetes.io/service-name': service,
          'multicluster.kubernetes.io/source-cluster': source,
        };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name: `${service}-${number}`, labels },
    addressType: head[0],
    ports: ports(head),
    endpoints: words.slice(equals + 1).map(endpoint),
  };
}

function ports(words: readonly string[]): unknown[] {
  return words
    .map((word) => /^([a-zA-Z0-9-]*)(?:\/([A-Za-z]+))?:(\d+)$/.exec(word))
    .filter((match) => match !== null)
    .map(([, name, protocol, port]) => ({
      ...(name === '' ? {} : { name }),
      ...(protocol === undefined ? {} : { protocol: protocol.toUpperCase() }),
      port: Number(port),
    }));
}

function endpoint(text: string): Manifest {
  const [, mark, hostname, address, uid] = /^([!?])?(?:([^=#]+)=)?([^=#]+)(?:#(.+))?$/.exec(text)!;
  return {
    addresses: [address],
    ...(hostname === undefined ? {} : { hostname }),
    ...(mark === '?' ? {} : { conditions: { ready: mark !== '!' } }),
    ...(uid === undefined ? {} : { targetRef: { kind: 'Pod', uid } }),
  };
}

/** Writes the lab into a new folder that the test removes. */
export function writeLab(t: { teardown(end: () => void): unknown }, notation: Notation): string {
  const dir = mkdtempSync(path.join(tmpdir(), 'clusterset-lab-'));
  t.teardown(() => {
    rmSync(dir, { recursive: true, force: true });
  });
  for (const [cluster, lines] of Object.entries(notation)) {
    mkdirSync(path.join(dir, cluster));
    const list = { apiVersion: 'v1', kind: 'List', items: manifests(lines) };
    writeFileSync(path.join(dir, cluster, 'objects.json'), JSON.stringify(list));
  }
  return dir;
}
