// @kubernetes/client-node's Informer on the mirrored slices of one cluster: what a controller in JavaScript usually does,
// for comparison. It answers no DNS and reads no imports. Prints an InformerResult once its cache is whole.

import { monitorEventLoopDelay } from 'node:perf_hooks';
import process from 'node:process';
import { DiscoveryV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node';

export interface InformerTask {
  readonly kubeconfig: string;
}

export interface InformerResult {
  readonly slices: number;
  readonly endpoints: number;
  readonly longestStallMillis: number;
}

const PERIOD_MILLIS = 5;
const MIRRORED = 'multicluster.kubernetes.io/service-name';

const { kubeconfig } = JSON.parse(process.argv[2]!) as InformerTask;
const delays = monitorEventLoopDelay({ resolution: PERIOD_MILLIS });
delays.enable();
const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const api = config.makeApiClient(DiscoveryV1Api);
const informer = makeInformer(
  config,
  '/apis/discovery.k8s.io/v1/endpointslices',
  () => api.listEndpointSliceForAllNamespaces({ labelSelector: MIRRORED }),
  MIRRORED,
);
informer.on('error', (error: unknown) => {
  throw error instanceof Error ? error : new Error(String(error));
});
await informer.start();
// The turn that was late is counted in the next one.
await new Promise((resolve) => setTimeout(resolve, 2 * PERIOD_MILLIS));
const slices = informer.list();
const result: InformerResult = {
  slices: slices.length,
  endpoints: slices.reduce((sum, slice) => sum + (slice.endpoints?.length ?? 0), 0),
  longestStallMillis: Math.max(0, delays.max / 1e6 - PERIOD_MILLIS),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
