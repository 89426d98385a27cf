// What a merge decided and why: one value for every decision, for `explain`, `check` and the metrics.
// Not here: the rules themselves (merge.ts). A witness only looks on; a merge without one builds none of this.
// `cluster` is always the cluster that holds the object, `source` the one whose endpoint it is.
import { type ServicePort, type ServiceType } from './objects.ts';

/** Why an import of the deciding type comes after the one that decides. */
export type ImportLoss = 'no-ips' | 'precedence' | 'newer' | 'cluster-id';

/** Why a whole EndpointSlice gives nothing. */
export type SliceLoss =
  | 'no-import'
  | 'clusterset-ip'
  | 'pod-addresses'
  | 'source-missing'
  | 'speaks-for-itself'
  | 'own-copy'
  | 'not-exported'
  | 'export-invalid'
  | 'speaks-for'
  | 'drained'
  | 'fqdn'
  | 'endpoints-from';

/** Why one address of a slice that counts is not taken. */
export type EndpointLoss = 'not-ready' | 'duplicate' | 'family';

/** The `ips` of one cluster's import, where imports differ. */
export interface AddressClaim {
  readonly cluster: string;
  readonly ips: readonly string[];
}

/** `slice` is undefined where the object is the cluster's ServiceImport. */
export type Decision =
  | { readonly decision: 'cluster-not-configured'; readonly cluster: string }
  | { readonly decision: 'cluster-withdrawn'; readonly cluster: string }
  | { readonly decision: 'import-decides'; readonly cluster: string; readonly type: ServiceType }
  | {
      readonly decision: 'import-yields';
      readonly cluster: string;
      readonly winner: string;
      readonly reason: ImportLoss;
    }
  | {
      readonly decision: 'type-differs';
      readonly cluster: string;
      readonly type: ServiceType;
      readonly winner: string;
      readonly taken: ServiceType;
    }
  | { readonly decision: 'port-taken'; readonly cluster: string; readonly port: ServicePort }
  | {
      readonly decision: 'port-differs';
      readonly cluster: string;
      readonly port: ServicePort;
      readonly taken: ServicePort;
    }
  | {
      readonly decision: 'ports-unnamed' | 'ports-over-limit';
      readonly cluster: string;
      readonly slice: string | undefined;
      readonly count: number;
    }
  | {
      readonly decision: 'address-conflict';
      readonly claims: readonly AddressClaim[];
      readonly answered: 'servfail' | 'precedence';
    }
  | {
      readonly decision: 'slice-left-out';
      readonly cluster: string;
      readonly slice: string;
      readonly source: string;
      readonly reason: SliceLoss;
    }
  | {
      readonly decision: 'source-not-configured';
      readonly cluster: string;
      readonly slice: string;
      readonly source: string;
    }
  | {
      readonly decision: 'endpoint-taken';
      readonly cluster: string;
      readonly slice: string;
      readonly source: string;
      readonly host: string;
      readonly address: string;
    }
  | {
      readonly decision: 'endpoint-left-out';
      readonly cluster: string;
      readonly slice: string;
      readonly source: string;
      readonly host: string;
      readonly address: string;
      readonly reason: EndpointLoss;
    }
  | { readonly decision: 'address-shared'; readonly address: string; readonly sources: readonly [string, string] };

/** Called once for each decision, in an order that depends on the objects only. */
export type Witness = (decision: Decision) => void;

const importLoss: Record<ImportLoss, string> = {
  'no-ips': 'it has no ips',
  precedence: 'its cluster has a later precedence',
  newer: 'it is newer',
  'cluster-id': 'its cluster id sorts later',
};

const sliceLoss: Record<SliceLoss, string> = {
  'no-import': 'no cluster holds a ServiceImport of this name',
  'clusterset-ip': "the service is ClusterSetIP and answers its ServiceImport's ips",
  'pod-addresses': 'a native slice holds pod addresses, and the service answers ClusterIPs',
  'source-missing': 'the label multicluster.kubernetes.io/source-cluster is missing or no DNS name',
  'speaks-for-itself': 'the source holds ServiceExports and speaks for itself',
  'own-copy': 'the source holds a copy of its own',
  'not-exported': 'its cluster holds no ServiceExport of this name',
  'export-invalid': 'the ServiceExport has the condition Valid: False',
  'speaks-for': 'speaksFor of the holding cluster does not list the source',
  drained: 'the source is drained',
  fqdn: 'addressType FQDN gives no address',
  'endpoints-from': 'endpointsFrom of the source wants the other form of slice',
};

const endpointLoss: Record<EndpointLoss, string> = {
  'not-ready': 'not ready',
  duplicate: 'known already',
  family: 'not of the addressType of its slice',
};

/** One plain line for people. */
export function describe(decision: Decision): string {
  switch (decision.decision) {
    case 'cluster-withdrawn':
      return `${decision.cluster} is out of touch and its names are answered without it`;
    case 'cluster-not-configured':
      return `objects of ${decision.cluster} left out: no such cluster is configured`;
    case 'import-decides':
      return `ServiceImport of ${decision.cluster} decides: ${decision.type}`;
    case 'import-yields':
      return `ServiceImport of ${decision.cluster} comes after that of ${decision.winner}: ${importLoss[decision.reason]}`;
    case 'type-differs':
      return `ServiceImport of ${decision.cluster} left out: ${decision.type}, but ${decision.winner} says ${decision.taken}`;
    case 'port-taken':
      return `port ${portText(decision.port)} from the ServiceImport of ${decision.cluster}`;
    case 'port-differs':
      return `port ${portText(decision.port)} of the ServiceImport of ${decision.cluster} left out: ${decision.taken.port} was first`;
    case 'ports-unnamed':
      return `${decision.count} unnamed ports of ${objectText(decision)} have no SRV`;
    case 'ports-over-limit':
      return `${decision.count} ports of ${objectText(decision)} left out: over the limit`;
    case 'address-conflict': {
      const claims = decision.claims.map(({ cluster, ips }) => `${cluster} ${ips.join('+')}`).join(', ');
      const answered = decision.answered === 'servfail' ? 'A and AAAA get SERVFAIL' : 'the first is answered';
      return `ips differ: ${claims}; ${answered} (addressConflict)`;
    }
    case 'slice-left-out':
      return `${sliceText(decision)} left out: ${sliceLoss[decision.reason]}`;
    case 'source-not-configured':
      return `${sliceText(decision)} counts, though no such source is configured`;
    case 'endpoint-taken':
      return `endpoint ${decision.host} ${decision.address} from ${sliceText(decision)}`;
    case 'endpoint-left-out':
      return `endpoint ${decision.host} ${decision.address} of ${sliceText(decision)} left out: ${endpointLoss[decision.reason]}`;
    case 'address-shared':
      return `address ${decision.address} is given by ${decision.sources.join(' and ')}: answered once; do pod networks overlap?`;
  }
}

function portText(port: ServicePort): string {
  return `${port.name}/${port.protocol} ${port.port}`;
}

function objectText(of: { readonly cluster: string; readonly slice: string | undefined }): string {
  return of.slice === undefined ? `the ServiceImport of ${of.cluster}` : `EndpointSlice ${of.slice} in ${of.cluster}`;
}

function sliceText(of: { readonly cluster: string; readonly slice: string; readonly source: string }): string {
  return `EndpointSlice ${of.slice} in ${of.cluster} (source ${of.source === '' ? 'unknown' : of.source})`;
}
