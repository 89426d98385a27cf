// The access of a pod to the API server of its own cluster: its ServiceAccount's token, which the kubelet renews in
// place, and the cluster's CA. Not here: kubeconfigs.

import { isIPv6 } from 'node:net';
import path from 'node:path';
import type { Access } from '../api/access.ts';
import { CredentialError, at } from './credential-error.ts';
import { checkPem, readBounded, readToken } from './credential-file.ts';

/** Where the kubelet mounts it. */
export const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The access of this pod. Throws CredentialError where this is no pod, or one without a token. */
export async function readInCluster(dir: string, env: NodeJS.ProcessEnv): Promise<Access> {
  return at('in cluster', async () => {
    const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
    const port = env['KUBERNETES_SERVICE_PORT'] ?? '';
    if (host === '' || port === '') {
      throw new CredentialError('KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod');
    }
    const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
    if (!URL.canParse(server)) {
      throw new CredentialError('KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT make no address');
    }
    const caFile = path.join(dir, 'ca.crt');
    const tokenFile = path.join(dir, 'token');
    return {
      server,
      ca: await at(caFile, async () => checkPem(await readBounded(caFile), 'CERTIFICATE')),
      cert: undefined,
      key: undefined,
      serverName: undefined,
      skipVerify: false,
      proxy: undefined,
      authorization: await readToken(tokenFile),
      headers: {},
      expiresAtMillis: undefined,
      tokenFile,
      files: [caFile],
    };
  });
}
