// The id that a cluster gives itself: the ClusterProperty `cluster.clusterset.k8s.io` (KEP-2149). A member writes it, so it
// names only the cluster of `--in-cluster` and a single context without an id; it never renames one that runs.

import type { AccessSource } from './api/access.ts';
import { ApiClient } from './api/api-client.ts';
import type { Credentials } from './credentials/credentials.ts';
import { Discovery } from './api/discovery.ts';
import { isDnsName, isRecord } from './objects/fields.ts';
import { TroubleError } from './api/trouble.ts';

const ID_PROPERTY = 'cluster.clusterset.k8s.io';

/** Asks once; undefined: the cluster has no id. Throws TroubleError or CredentialError where it cannot be asked. */
export async function readClusterId(
  source: AccessSource,
  credentials: Credentials,
  mostMillis: number,
): Promise<string | undefined> {
  const api = new ApiClient(await credentials.read(source));
  const signal = AbortSignal.timeout(mostMillis);
  try {
    const served = await new Discovery(api, signal).find('clusterproperties');
    if (served === undefined) return undefined;
    const property = await api.json(`${served.path}/${ID_PROPERTY}`, signal);
    const spec = isRecord(property) ? property['spec'] : undefined;
    const value = isRecord(spec) ? spec['value'] : undefined;
    const id = typeof value === 'string' ? value.toLowerCase() : '';
    return isDnsName(id) ? id : undefined;
  } catch (error) {
    if (error instanceof TroubleError && (error.kind === 'absent' || error.kind === 'forbidden')) return undefined;
    throw error;
  } finally {
    await api.close();
  }
}
