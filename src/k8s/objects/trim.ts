// One raw Kubernetes object, from a watch or a file and of any shape, becomes what answers need of it, or nothing.
// Field by field: a bad field is noted and left out, and the rest is served. Only an object that means nothing without
// the field (its name, its namespace, a type that is unknown) is refused whole. Nothing here throws, and nothing of the
// raw object is kept. Not here: what a merge makes of it (zones/), who may say it (policy).
// KEP-1645 (v1alpha1, v1beta1), KEP-2149 (cluster ids), discovery.k8s.io/v1; forks with their fields at the root.

import type { EndpointSlice, ServiceExport, ServiceImport } from '../../zones/objects.ts';
import { readAddress } from './address.ts';
import { isDnsName, isLabel, isRecord, NO_RECORD, readList, readPorts, Refusals, shown } from './fields.ts';
import type { RawObject, Refusal } from './fields.ts';
import { readSlice } from './slice.ts';

export type ObjectKind = 'ServiceImport' | 'ServiceExport' | 'EndpointSlice';

/** The name of an object in one cluster. */
export interface ObjectRef {
  readonly kind: ObjectKind;
  readonly namespace: string;
  readonly name: string;
}

/** A trimmed object, as a store holds it. */
export type FleetObject =
  | { readonly kind: 'ServiceImport'; readonly object: ServiceImport }
  | { readonly kind: 'ServiceExport'; readonly object: ServiceExport }
  | { readonly kind: 'EndpointSlice'; readonly object: EndpointSlice };

/** An object that gives nothing. `ref`: what a store may hold of it from before, where its name is one. */
export interface IgnoredObject {
  readonly kind: 'ignored';
  readonly ref: ObjectRef | undefined;
}

export type Trimmed = (FleetObject | IgnoredObject) & {
  readonly refusals: readonly Refusal[];
  /** Refusals beyond those that are listed. */
  readonly moreRefusals: number;
};

/** What stands in for fields that the raw object lacks: items of an API server's lists have no kind, lab files no namespace. */
export interface TrimDefaults {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly namespace?: string;
}

const MCS_GROUP = 'multicluster.x-k8s.io';
const API_VERSIONS: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  Object.entries({
    [MCS_GROUP]: ['v1beta1', 'v1alpha1'],
    'net.gke.io': ['v1'],
    'networking.fleet.azure.com': ['v1alpha1'],
    'discovery.k8s.io': ['v1', 'v1beta1'],
  }).map(([group, versions]) => [group, new Set(versions)]),
);

const SUBMARINER_SOURCE_NAMESPACE = 'lighthouse.submariner.io/sourceNamespace';
const SUBMARINER_IS_HEADLESS = 'lighthouse.submariner.io/is-headless';

/** A ServiceImport has at most two addresses by its schema. */
const MAX_IPS = 2;
const MAX_CONDITIONS = 100;

/** Trims a raw object. Of other kinds, and of slices that no multi-cluster service can use: `ignored`, without refusals. */
export function trimObject(raw: unknown, defaults: TrimDefaults = NO_RECORD): Trimmed {
  const refusals = new Refusals();
  const trimmed = isRecord(raw) ? trimRecord(raw, defaults, refusals) : ignored(undefined);
  return { ...trimmed, refusals: refusals.list, moreRefusals: refusals.more };
}

function ignored(ref: ObjectRef | undefined): IgnoredObject {
  return { kind: 'ignored', ref };
}

function trimRecord(raw: RawObject, defaults: TrimDefaults, refusals: Refusals): FleetObject | IgnoredObject {
  const kind = readKind(raw, defaults, refusals);
  if (kind === undefined) return ignored(undefined);
  const metadata = isRecord(raw['metadata']) ? raw['metadata'] : NO_RECORD;
  const name = metadata['name'];
  const namespace = metadata['namespace'] ?? defaults.namespace;
  const isName = kind === 'EndpointSlice' ? isDnsName : isLabel;
  const nameIsGood = typeof name === 'string' && isName(name);
  if (!nameIsGood) refusals.add(['metadata', 'name'], `${shown(name)} is not a DNS label`);
  if (typeof namespace !== 'string' || !isLabel(namespace)) {
    refusals.add(['metadata', 'namespace'], `${shown(namespace)} is not a DNS label`);
    return ignored(undefined);
  }
  if (!nameIsGood) return ignored(undefined);
  const ref: ObjectRef = { kind, namespace, name };
  if (kind === 'ServiceImport') return trimImport(raw, metadata, ref, refusals);
  if (kind === 'EndpointSlice') {
    const object = readSlice(raw, metadata, ref, refusals);
    return object === undefined ? ignored(ref) : { kind, object };
  }
  return { kind, object: { namespace, name, valid: isValid(raw, refusals) } };
}

function readKind(raw: RawObject, defaults: TrimDefaults, refusals: Refusals): ObjectKind | undefined {
  const kind = raw['kind'] ?? defaults.kind;
  if (kind !== 'ServiceImport' && kind !== 'ServiceExport' && kind !== 'EndpointSlice') return undefined;
  const apiVersion = raw['apiVersion'] ?? defaults.apiVersion;
  if (typeof apiVersion !== 'string') {
    refusals.add(['apiVersion'], `${shown(apiVersion)} is not an API version`);
    return undefined;
  }
  const [group = '', version = ''] = apiVersion.split('/', 2);
  const versions = API_VERSIONS.get(group);
  if (versions === undefined || (group === 'discovery.k8s.io') !== (kind === 'EndpointSlice')) return undefined;
  if (versions.has(version)) return kind;
  refusals.add(['apiVersion'], `${shown(apiVersion)} is not a version that is read`);
  return undefined;
}

function trimImport(
  raw: RawObject,
  metadata: RawObject,
  ref: ObjectRef,
  refusals: Refusals,
): FleetObject | IgnoredObject {
  const labels = isRecord(metadata['labels']) ? metadata['labels'] : NO_RECORD;
  // Submariner keeps one import a cluster beside the aggregated one, for its own book-keeping.
  if (labels[SUBMARINER_SOURCE_NAMESPACE] !== undefined) return ignored(ref);
  const [type, typePath] = importField(raw, 'type');
  if (type !== 'ClusterSetIP' && type !== 'Headless') {
    refusals.add(typePath, `${shown(type)} is not ClusterSetIP or Headless`);
    return ignored(ref);
  }
  const [ips, ipsPath] = importField(raw, 'ips');
  const [ports, portsPath] = importField(raw, 'ports');
  const annotations = isRecord(metadata['annotations']) ? metadata['annotations'] : NO_RECORD;
  const isHeadless = annotations[SUBMARINER_IS_HEADLESS] ?? labels[SUBMARINER_IS_HEADLESS];
  return {
    kind: 'ServiceImport',
    object: {
      namespace: ref.namespace,
      name: ref.name,
      type,
      ips: readIps(ips, ipsPath, type === 'Headless', refusals),
      ports: readPorts(ports, portsPath, false, refusals),
      createdSeconds: readCreated(metadata['creationTimestamp'], refusals),
      ipsFromSlices: isHeadless === 'false',
    },
  };
}

/** A field and its path: under `spec`, or where the forks have it (GKE and Azure: at the root; Azure: in `status`). */
function importField(raw: RawObject, field: string): [value: unknown, path: readonly string[]] {
  const { spec, status } = raw;
  if (isRecord(spec) && spec[field] !== undefined) return [spec[field], ['spec', field]];
  if (raw[field] !== undefined) return [raw[field], [field]];
  if (isRecord(status) && status[field] !== undefined) return [status[field], ['status', field]];
  return [undefined, isRecord(spec) ? ['spec', field] : [field]];
}

function readIps(value: unknown, path: readonly string[], isHeadless: boolean, refusals: Refusals): readonly string[] {
  const ips: string[] = [];
  for (const [i, ip] of readList(value, path, MAX_IPS, refusals).entries()) {
    if (isHeadless) {
      refusals.add([...path, i], 'a Headless service has no address of its own');
      continue;
    }
    const address = typeof ip === 'string' ? readAddress(ip) : undefined;
    if (typeof address === 'string') {
      if (!ips.includes(address)) ips.push(address);
    } else refusals.add([...path, i], `${shown(ip)} ${address?.refused ?? 'is not an IP address'}`);
  }
  return ips;
}

function readCreated(value: unknown, refusals: Refusals): number {
  if (value === undefined || value === null) return Infinity;
  const milliseconds = typeof value === 'string' ? Date.parse(value) : NaN;
  if (!Number.isNaN(milliseconds)) return Math.floor(milliseconds / 1000);
  refusals.add(['metadata', 'creationTimestamp'], `${shown(value)} is not a time`);
  return Infinity;
}

function isValid(raw: RawObject, refusals: Refusals): boolean {
  const status = isRecord(raw['status']) ? raw['status'] : NO_RECORD;
  const conditions = readList(status['conditions'], ['status', 'conditions'], MAX_CONDITIONS, refusals);
  return !conditions.some((c) => isRecord(c) && c['type'] === 'Valid' && c['status'] === 'False');
}
