// From what is configured about clusters to the entries of a fleet: contexts are looked up, and a cluster without an id gets
// one. Not here: what may be configured (config-clusters.ts), reading the clusters.

import { settingsOf } from './config-clusters.ts';
import type { ClustersConfig } from './config-clusters.ts';
import type { AccessSource } from './k8s/api/access.ts';
import { readClusterId } from './k8s/cluster-id.ts';
import type { ClusterEntry } from './k8s/cluster-settings.ts';
import { CredentialError } from './k8s/credentials/credentials.ts';
import type { Credentials } from './k8s/credentials/credentials.ts';
import { isDnsName, shown } from './k8s/objects/fields.ts';
import { TroubleError } from './k8s/api/trouble.ts';
import { UsageError } from './usage.ts';

/** A server that does not answer must not keep us from serving what is known. */
const ASK_MILLIS = 5_000;

/**
 * The entries of a fleet. `credentials` may be missing where no cluster has an API server. `knownIdOf`: the id under which
 * a source was read before. Throws UsageError.
 */
export async function resolveClusters(
  config: ClustersConfig,
  credentials: Credentials | undefined,
  knownIdOf: (source: AccessSource) => string | undefined,
): Promise<ClusterEntry[]> {
  const entries: ClusterEntry[] = [...config.entries];
  const add = (id: string, source: AccessSource, own: Parameters<typeof settingsOf>[2], flag: string): void => {
    if (entries.some((entry) => entry.id === id)) throw new UsageError(`${flag}: the cluster id ${id} is given twice`);
    entries.push({ id, source, settings: settingsOf(config, id, own) });
  };
  const { kubeconfig, inCluster } = config;
  if (credentials === undefined) return entries;
  for (const { id, source } of kubeconfig === undefined ? [] : await contextsOf(kubeconfig, credentials, knownIdOf)) {
    add(id, source, {}, '--context');
  }
  if (inCluster !== undefined) {
    const source: AccessSource = { kind: 'in-cluster' };
    const id = inCluster.id ?? knownIdOf(source) ?? (await ownId(source, credentials));
    add(id, source, inCluster.own, '--in-cluster');
  }
  return entries;
}

interface NamedSource {
  readonly id: string;
  readonly source: AccessSource;
}

async function contextsOf(
  { file, contexts }: NonNullable<ClustersConfig['kubeconfig']>,
  credentials: Credentials,
  knownIdOf: (source: AccessSource) => string | undefined,
): Promise<NamedSource[]> {
  const sourceOf = (context: string): AccessSource => ({ kind: 'kubeconfig', file, context });
  if (typeof contexts !== 'string' && (contexts.length > 1 || contexts[0]?.id !== undefined)) {
    return contexts.map(({ name, id }) => ({ id: id ?? name.toLowerCase(), source: sourceOf(name) }));
  }
  const names =
    typeof contexts === 'string' ? await namesOf(file, contexts, credentials) : contexts.map(({ name }) => name);
  const [only] = names;
  if (names.length === 1 && only !== undefined) {
    const source = sourceOf(only);
    const known = knownIdOf(source) ?? (await readClusterId(source, credentials, ASK_MILLIS).catch(() => undefined));
    return [{ id: known ?? idOf(only), source }];
  }
  return names.map((name) => ({ id: idOf(name), source: sourceOf(name) }));
}

async function namesOf(
  file: string | undefined,
  wanted: 'all' | 'current',
  credentials: Credentials,
): Promise<readonly string[]> {
  try {
    const { current, names } = await credentials.contexts(file);
    if (wanted === 'all') {
      if (names.length === 0) throw new UsageError(`--kubeconfig: ${file ?? 'the default one'} has no context`);
      return names;
    }
    if (current === undefined || current === '') {
      throw new UsageError(
        `--context: the kubeconfig has no current context: give --context NAME, one of ${names.join(', ')}`,
      );
    }
    return [current];
  } catch (error) {
    if (error instanceof CredentialError) throw new UsageError(`--kubeconfig: ${error.message}`);
    throw error;
  }
}

function idOf(context: string): string {
  const id = context.toLowerCase();
  if (isDnsName(id)) return id;
  const quoted = `'${context.replaceAll("'", "'\\''")}=CLUSTER-ID'`;
  throw new UsageError(
    `--context: ${shown(context)} is no cluster id (DNS labels): give it one with --context ${quoted}`,
  );
}

async function ownId(source: AccessSource, credentials: Credentials): Promise<string> {
  let why = 'it has no ClusterProperty cluster.clusterset.k8s.io';
  try {
    const id = await readClusterId(source, credentials, ASK_MILLIS);
    if (id !== undefined) return id;
  } catch (error) {
    if (!(error instanceof TroubleError) && !(error instanceof CredentialError)) throw error;
    why = error.message;
  }
  throw new UsageError(
    `--in-cluster: the id of this cluster is not known (${why}): give it with --in-cluster CLUSTER-ID`,
  );
}
