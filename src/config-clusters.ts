// Where the clusters of a fleet come from, and what is configured about each, from flags or from a file.
// What an entry says goes before the overrides that match its id, those before `clusterDefaults`, those before our own
// defaults. Not here: what a context or a folder holds; that is found out by who opens it.

import path from 'node:path';
import type { FileCluster, FileConfig, SettingsGiven, SettingsOverride } from './config-schema.ts';
import { isDnsName, shown } from './k8s/objects/fields.ts';
import { defaultSettings } from './k8s/cluster-settings.ts';
import type { ClusterEntry, ClusterSettings, ClusterSource } from './k8s/cluster-settings.ts';
import { UsageError } from './usage.ts';

/** A context that was named by a flag. */
export interface ContextFlag {
  readonly name: string;
  /** Undefined: its name, which is a DNS name, in lower case. */
  readonly id: string | undefined;
}

/** The clusters that are configured, a lab's apart. */
export interface ClustersConfig {
  /** `--kubeconfig`, `--context` and `--all-contexts`. */
  readonly kubeconfig:
    | {
        /** Undefined: `$KUBECONFIG`, `~/.kube/config`. */
        readonly file: string | undefined;
        readonly contexts: readonly ContextFlag[] | 'all' | 'current';
      }
    | undefined;
  /** The cluster this server runs in. Of a file, only where its entry has no id; `own` is what that entry says. */
  readonly inCluster: { readonly id: string | undefined; readonly own: SettingsGiven } | undefined;
  /** The entries of a file, with their settings resolved; no id and no source twice. */
  readonly entries: readonly ClusterEntry[];
  readonly defaults: SettingsGiven;
  readonly overrides: readonly SettingsOverride[];
}

/** The settings of a cluster that is no entry: a lab's, a context's, one whose id was found out. */
export function settingsOf(
  { defaults, overrides }: Pick<ClustersConfig, 'defaults' | 'overrides'>,
  id: string,
  own: SettingsGiven = {},
): ClusterSettings {
  const given = definedOf(defaults);
  for (const override of overrides) if (matchesPattern(override.match, id)) Object.assign(given, definedOf(override));
  Object.assign(given, definedOf(own));
  const { holdFor, state, withdrawLast, required, precedence, endpointsFrom, speaksFor } = given;
  const onLoss = given.onLoss ?? defaultSettings.onLoss;
  return {
    state: state ?? defaultSettings.state,
    onLoss,
    holdForMillis: onLoss === 'hold' ? (holdFor ?? defaultSettings.holdForMillis) : undefined,
    withdrawLast: withdrawLast ?? defaultSettings.withdrawLast,
    required: required ?? defaultSettings.required,
    precedence: precedence ?? defaultSettings.precedence,
    endpointsFrom: endpointsFrom ?? defaultSettings.endpointsFrom,
    speaksFor: speaksFor ?? defaultSettings.speaksFor,
  };
}

function definedOf(given: SettingsGiven): SettingsGiven {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** Whether `*`, for any characters, makes `pattern` this id. Linear: an id is walked once. */
export function matchesPattern(pattern: string, id: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return id === pattern;
  if (!id.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = id.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return id.length - last.length >= at && id.endsWith(last);
}

/** The flags that name clusters. */
export interface ClusterFlags {
  readonly config?: string | undefined;
  readonly lab?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: readonly ContextFlag[] | undefined;
  readonly allContexts?: boolean | undefined;
  readonly inCluster?: string | true | undefined;
}

/** What of `flags` names a cluster, a file apart: flags as they are typed. */
export function clusterFlagsGiven(flags: ClusterFlags): string[] {
  return [
    ...(flags.lab === undefined ? [] : ['--lab']),
    ...(flags.kubeconfig === undefined ? [] : ['--kubeconfig']),
    ...(flags.context === undefined ? [] : ['--context']),
    ...(flags.allContexts === true ? ['--all-contexts'] : []),
    ...(flags.inCluster === undefined ? [] : ['--in-cluster']),
  ];
}

/** The clusters of `--kubeconfig`, `--context`, `--all-contexts` and `--in-cluster`. Throws UsageError. */
export function clustersOfFlags(flags: ClusterFlags): ClustersConfig {
  const { kubeconfig: file, context, allContexts, inCluster } = flags;
  if (clusterFlagsGiven(flags).length === 0) {
    throw new UsageError(
      '--config: a source of clusters is needed: --config FILE, --lab DIR, --kubeconfig FILE, --context NAME, --all-contexts or --in-cluster',
    );
  }
  if (context !== undefined && allContexts === true) {
    throw new UsageError('--all-contexts: is not for use with --context, which chooses some');
  }
  const names = new Set<string>();
  const ids = new Set<string>();
  for (const { name, id = name.toLowerCase() } of context ?? []) {
    if (names.has(name)) throw new UsageError(`--context: ${name} is given twice`);
    if (ids.has(id)) throw new UsageError(`--context: the cluster id ${id} is given twice`);
    names.add(name);
    ids.add(id);
  }
  if (typeof inCluster === 'string' && ids.has(inCluster)) {
    throw new UsageError(`--in-cluster: the cluster id ${inCluster} is that of a --context already`);
  }
  const hasKubeconfig = file !== undefined || context !== undefined || allContexts === true;
  return {
    kubeconfig: hasKubeconfig ? { file, contexts: context ?? (allContexts === true ? 'all' : 'current') } : undefined,
    inCluster: inCluster === undefined ? undefined : { id: inCluster === true ? undefined : inCluster, own: {} },
    entries: [],
    defaults: {},
    overrides: [],
  };
}

/** `NAME` or `NAME=CLUSTER-ID`; a name may hold `=` itself. Throws UsageError with the flag to type. */
export function parseContext(typed: string): ContextFlag {
  const equals = typed.lastIndexOf('=');
  const id = typed.slice(equals + 1).toLowerCase();
  if (equals > 0 && isDnsName(id)) return { name: typed.slice(0, equals), id };
  if (isDnsName(typed.toLowerCase())) return { name: typed, id: undefined };
  if (typed === '' || equals === 0) throw new UsageError(`--context: ${shown(typed)} is no name of a context`);
  const quoted = `'${typed.replaceAll("'", "'\\''")}=CLUSTER-ID'`;
  throw new UsageError(
    `--context: ${shown(typed)} is no cluster id (DNS labels): give it one with --context ${quoted}`,
  );
}

/** Keys, and positions in lists, from the top of the file. */
export type KeyPath = readonly (string | number)[];

/** Refuses what stands at a path of the file. */
export type Refuse = (at: KeyPath, what: string) => never;

/** The clusters of a file whose relative paths begin at `base`. */
export function clustersOfFile(file: FileConfig, base: string, refuse: Refuse): ClustersConfig {
  const defaults = file.clusterDefaults ?? {};
  const overrides = file.overrides ?? [];
  refuseHoldFor(defaults, ['clusterDefaults'], refuse);
  for (const [i, override] of overrides.entries()) refuseHoldFor(override, ['overrides', i], refuse);
  const ids = new Map<string, number>();
  const sources = new Map<string, number>();
  const entries: ClusterEntry[] = [];
  let inCluster: ClustersConfig['inCluster'];
  for (const [i, cluster] of (file.clusters ?? []).entries()) {
    const at = ['clusters', i] as const;
    const { id, inCluster: isHere, kubeconfig: _, context: __, manifests: ___, ...own } = cluster;
    const { source, key } = sourceOf(cluster, at, base, refuse);
    const where = JSON.stringify(source);
    const sameSource = sources.get(where);
    if (sameSource !== undefined) refuse([...at, key], `clusters[${sameSource}] is the same cluster`);
    sources.set(where, i);
    refuseHoldFor(own, at, refuse);
    if (id === undefined) {
      if (isHere !== true) refuse([...at, 'id'], 'is missing: a cluster id (DNS labels)');
      inCluster = { id: undefined, own };
      continue;
    }
    const sameId = ids.get(id);
    if (sameId !== undefined) refuse([...at, 'id'], `${id} is the id of clusters[${sameId}] already`);
    ids.set(id, i);
    const settings = settingsOf({ defaults, overrides }, id, own);
    if (own.holdFor !== undefined && settings.onLoss === 'withdraw') {
      refuse([...at, 'holdFor'], 'needs onLoss: hold, and clusterDefaults or overrides say withdraw');
    }
    entries.push({ id, source, settings });
  }
  return { kubeconfig: undefined, inCluster, entries, defaults, overrides };
}

function sourceOf(
  { inCluster, kubeconfig, context, manifests }: FileCluster,
  at: KeyPath,
  base: string,
  refuse: Refuse,
): { source: ClusterSource; key: string } {
  const given = Object.entries({ inCluster, kubeconfig, manifests }).filter(([, value]) => value !== undefined);
  const [key] = given[0] ?? [];
  if (key === undefined) return refuse(at, 'has no source: one of inCluster: true, kubeconfig and manifests');
  const [other] = given[1] ?? [];
  if (other !== undefined) return refuse([...at, other], `is a second source of one cluster, beside ${key}`);
  if (context !== undefined && kubeconfig === undefined) return refuse([...at, 'context'], 'is for a kubeconfig only');
  if (kubeconfig !== undefined) {
    return { key, source: { kind: 'kubeconfig', file: fromBase(base, kubeconfig), context } };
  }
  return {
    key,
    source: manifests === undefined ? { kind: 'in-cluster' } : { kind: 'manifests', dir: fromBase(base, manifests) },
  };
}

/** A path of the file as this process opens it; as short as the file's own path is, for messages. */
export function fromBase(base: string, file: string): string {
  return path.isAbsolute(file) ? path.normalize(file) : path.join(base, file);
}

function refuseHoldFor({ onLoss, holdFor }: SettingsGiven, at: KeyPath, refuse: Refuse): void {
  if (onLoss === 'withdraw' && holdFor !== undefined) refuse([...at, 'holdFor'], 'needs onLoss: hold');
}
