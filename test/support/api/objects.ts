// Objects as API servers of members hold them: ServiceImports and ServiceExports (KEP-1645), mirrored and native
// EndpointSlices, ClusterProperties (KEP-2149). Raw, so that a test can break any field of them.

import type { RawObject } from './model.ts';

export interface Port {
  readonly name?: string;
  readonly port: number;
  readonly protocol?: string;
}

export interface ImportParts {
  readonly type?: 'ClusterSetIP' | 'Headless';
  readonly ips?: readonly string[];
  readonly ports?: readonly Port[];
  readonly created?: string;
  readonly version?: string;
  readonly clusters?: readonly string[];
}

const http: readonly Port[] = [{ name: 'http', port: 80, protocol: 'TCP' }];

export function serviceImport(namespace: string, name: string, parts: ImportParts = {}): RawObject {
  const { type = 'ClusterSetIP', version = 'v1beta1', ports = http, clusters = [] } = parts;
  const ips = parts.ips ?? (type === 'ClusterSetIP' ? ['10.0.0.1'] : undefined);
  return {
    apiVersion: `multicluster.x-k8s.io/${version}`,
    kind: 'ServiceImport',
    metadata: { namespace, name, ...dated(parts.created) },
    spec: { type, ...(ips === undefined ? {} : { ips }), ports },
    status: { clusters: clusters.map((cluster) => ({ cluster })) },
  };
}

/** The forks of GKE and Azure Fleet: the same fields, with no `spec` around them. */
export function forkedImport(
  fork: 'net.gke.io/v1' | 'networking.fleet.azure.com/v1alpha1',
  namespace: string,
  name: string,
  parts: ImportParts = {},
): RawObject {
  const { spec, ...rest } = serviceImport(namespace, name, parts);
  return { ...rest, apiVersion: fork, ...(spec as RawObject) };
}

export function serviceExport(
  namespace: string,
  name: string,
  parts: { readonly created?: string; readonly version?: string; readonly status?: RawObject } = {},
): RawObject {
  const { version = 'v1beta1', created, status } = parts;
  return {
    apiVersion: `multicluster.x-k8s.io/${version}`,
    kind: 'ServiceExport',
    metadata: { namespace, name, ...dated(created) },
    ...(status === undefined ? {} : { status }),
  };
}

/** An address, or any part of an endpoint. */
export type EndpointParts = string | RawObject;

export interface SliceParts {
  readonly endpoints?: readonly EndpointParts[];
  readonly ports?: readonly Port[];
  readonly addressType?: 'IPv4' | 'IPv6' | 'FQDN';
  readonly created?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** As an implementation of the MCS API copies it from the cluster `source`. */
export function mirroredSlice(
  namespace: string,
  name: string,
  service: string,
  source: string,
  parts: SliceParts = {},
): RawObject {
  return slice(namespace, name, parts, {
    'endpointslice.kubernetes.io/managed-by': 'mcs-controller.example.com',
    'multicluster.kubernetes.io/service-name': service,
    'multicluster.kubernetes.io/source-cluster': source,
  });
}

/** As the EndpointSlice controller makes it beside a Service of the cluster. */
export function nativeSlice(namespace: string, name: string, service: string, parts: SliceParts = {}): RawObject {
  return slice(namespace, name, parts, {
    'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
    'kubernetes.io/service-name': service,
  });
}

/** `cluster.clusterset.k8s.io` or `clusterset.k8s.io`. */
export function clusterProperty(name: string, value: string, version = 'v1beta1'): RawObject {
  return { apiVersion: `about.k8s.io/${version}`, kind: 'ClusterProperty', metadata: { name }, spec: { value } };
}

/** `count` endpoints of 10.0.0.0/8, as a Deployment has them; `first` moves them on. */
export function endpoints(count: number, first = 1): RawObject[] {
  return Array.from({ length: count }, (_, i) => {
    const n = first + i;
    return endpoint(`10.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`);
  });
}

function slice(namespace: string, name: string, parts: SliceParts, labels: Record<string, string>): RawObject {
  const { ports = http, addressType = 'IPv4', annotations } = parts;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace,
      name,
      labels: { ...labels, ...parts.labels },
      ...(annotations === undefined ? {} : { annotations }),
      ...dated(parts.created),
    },
    addressType,
    endpoints: (parts.endpoints ?? ['10.1.0.1']).map((each) => (typeof each === 'string' ? endpoint(each) : each)),
    ports,
  };
}

function endpoint(address: string): RawObject {
  const pod = `pod-${address.replaceAll(/[.:]/g, '-')}`;
  return {
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: 'node-1',
    targetRef: { kind: 'Pod', namespace: 'default', name: pod, uid: `uid-of-${pod}` },
    zone: 'zone-a',
  };
}

function dated(created: string | undefined): RawObject {
  return created === undefined ? {} : { creationTimestamp: created };
}
