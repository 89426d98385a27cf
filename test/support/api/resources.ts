// The resources that the fault server knows, and how their paths read. Groups, plurals and scopes are those of
// Kubernetes and of the CRDs; which versions are served is the server's business, and changes while it runs.

import type { RawObject } from './model.ts';

export interface Resource {
  readonly kind: string;
  readonly group: string;
  readonly plural: string;
  readonly isNamespaced: boolean;
  /** A CRD: items of lists carry kind and apiVersion, and a list's metadata comes behind its items. */
  readonly isCustom: boolean;
  /** What a server of today serves; none: only by option. */
  readonly versions: readonly string[];
}

function custom(kind: string, group: string, plural: string, versions: readonly string[] = []): Resource {
  return { kind, group, plural, isNamespaced: true, isCustom: true, versions };
}

const mcs = 'multicluster.x-k8s.io';

/** By the name that tests use for them: the kind, with a prefix where a fork has the same one. */
export const resources = {
  ServiceImport: custom('ServiceImport', mcs, 'serviceimports', ['v1beta1', 'v1alpha1']),
  ServiceExport: custom('ServiceExport', mcs, 'serviceexports', ['v1beta1', 'v1alpha1']),
  ClusterProperty: {
    ...custom('ClusterProperty', 'about.k8s.io', 'clusterproperties', ['v1beta1', 'v1alpha1']),
    isNamespaced: false,
  },
  EndpointSlice: {
    ...custom('EndpointSlice', 'discovery.k8s.io', 'endpointslices', ['v1']),
    isCustom: false,
  },
  GkeServiceImport: custom('ServiceImport', 'net.gke.io', 'serviceimports'),
  FleetServiceImport: custom('ServiceImport', 'networking.fleet.azure.com', 'serviceimports'),
  ClusterProfile: custom('ClusterProfile', mcs, 'clusterprofiles'),
  MultiClusterService: custom('MultiClusterService', 'networking.karmada.io', 'multiclusterservices'),
  Service: { ...custom('Service', '', 'services'), isCustom: false },
  Secret: { ...custom('Secret', '', 'secrets'), isCustom: false },
} as const satisfies Readonly<Record<string, Resource>>;

export type ResourceName = keyof typeof resources;

export const resourceNames = Object.keys(resources) as readonly ResourceName[];

export function groupVersion(group: string, version: string): string {
  return group === '' ? version : `${group}/${version}`;
}

/** The resource of an object, by its kind and group. */
export function resourceOf(object: RawObject): ResourceName {
  const apiVersion = String(object['apiVersion']);
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  const name = resourceNames.find((each) => resources[each].kind === object['kind'] && resources[each].group === group);
  if (name === undefined) throw new Error(`the fault server knows no ${String(object['kind'])} of ${apiVersion}`);
  return name;
}

/** A path below /api or /apis, in its parts; parts that are not there are ''. */
export interface ResourcePath {
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly plural: string;
  readonly name: string;
}

/** Undefined: no path of the API. Parts past those of a group's discovery may be missing. */
export function readPath(path: string): ResourcePath | undefined {
  // Names of the API need no percent-encoding: who sends some gets 404.
  const parts = path.split('/').slice(1);
  if (parts.at(-1) === '') parts.pop();
  if (parts[0] === 'api') parts.splice(0, 1, 'apis', '');
  const [root, group = '', version = '', ...rest] = parts;
  if (root !== 'apis') return undefined;
  const isInNamespace = rest[0] === 'namespaces' && rest.length > 2;
  const [plural = '', name = '', ...more] = isInNamespace ? rest.slice(2) : rest;
  if (more.length > 0) return undefined;
  return { group, version, namespace: isInNamespace ? rest[1]! : '', plural, name };
}
