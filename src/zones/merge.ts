// One service of the fleet view, merged from what every cluster holds of it: who decides type, ports and addresses,
// and whose endpoints count. A pure function of its arguments; order of clusters and slices is without effect,
// since endpoints are joined as sets and then sorted.
// Not here: whose endpoints count (endpoints.ts); the check of single fields (k8s/); records (compile.ts).
// Sources: KEP-1645 (conflict resolution).
import { compareText, countSlices, joinEndpoints, leaveOutSlices, maxPorts, type Member } from './endpoints.ts';
import {
  type FleetPolicy,
  type MergedService,
  type ServiceImport,
  type ServiceObjects,
  type ServicePort,
} from './objects.ts';
import { hasAddresses } from './loss.ts';
import { type AddressClaim, type ImportLoss, type Witness } from './witness.ts';

/** Octets of the Extended DNS Error text: the reply must hold it in 1,232 octets beside question and SOA. */
const maxConflictText = 120;

interface Importer {
  readonly cluster: string;
  readonly precedence: number;
  readonly import: ServiceImport;
}

/**
 * Merges one service of the fleet view; undefined when no configured cluster imports it. Clusters that are withdrawn
 * count only where without them the name would have nothing left.
 */
export function mergeService(
  objects: ServiceObjects,
  fleet: FleetPolicy,
  witness?: Witness,
): MergedService | undefined {
  const { loss } = fleet;
  if (loss === undefined) return mergeFor(objects, fleet, witness);
  const left = hasAddresses(mergeFor(objects, loss.all, undefined)) ? loss.all : loss.always;
  return mergeFor(objects, left, witness);
}

function mergeFor(
  objects: ServiceObjects,
  fleet: FleetPolicy,
  witness: Witness | undefined,
): MergedService | undefined {
  const members = membersOf(objects, fleet, witness);
  const deciding = decidingImports(members, witness);
  const first = deciding[0];
  if (first === undefined) {
    if (witness) leaveOutSlices(members, 'no-import', witness);
    return undefined;
  }
  const { namespace, name } = objects;
  const clusters = new Set([first.cluster]);
  if (first.import.type === 'Headless') {
    const endpoints = joinEndpoints(countSlices(members, fleet, 'pods', witness), 'pods', witness);
    for (const endpoint of endpoints) clusters.add(endpoint.cluster);
    return {
      namespace,
      name,
      type: 'Headless',
      clusters: [...clusters].sort(),
      addresses: [],
      ports: [],
      addressConflict: '',
      endpoints,
    };
  }
  const ports = joinImportPorts(deciding, clusters, witness);
  const addressConflict = conflictOf(deciding, fleet, clusters, witness);
  let addresses = first.import.ips;
  if (addresses.length === 0 && first.import.ipsFromSlices) {
    const endpoints = joinEndpoints(countSlices(members, fleet, 'cluster-ips', witness), 'cluster-ips', witness);
    for (const endpoint of endpoints) clusters.add(endpoint.cluster);
    addresses = endpoints.map((endpoint) => endpoint.address);
  } else if (witness) {
    leaveOutSlices(members, 'clusterset-ip', witness);
  }
  return {
    namespace,
    name,
    type: 'ClusterSetIP',
    clusters: [...clusters].sort(),
    addresses: [...new Set(addresses)],
    ports,
    addressConflict,
    endpoints: [],
  };
}

/** What has no policy is not of the fleet: it neither imports nor speaks for anyone. */
function membersOf(objects: ServiceObjects, fleet: FleetPolicy, witness: Witness | undefined): Member[] {
  const members: Member[] = [];
  const inOrder = [...objects.clusters].sort((a, b) => compareText(a.cluster, b.cluster));
  for (const holds of inOrder) {
    const policy = fleet.clusters.get(holds.cluster);
    if (policy?.isOut === true) witness?.({ decision: 'cluster-withdrawn', cluster: holds.cluster });
    else if (policy !== undefined) members.push({ policy, holds });
    else witness?.({ decision: 'cluster-not-configured', cluster: holds.cluster });
  }
  return members;
}

// Type, ports and addresses: ServiceImports

/** The order of imports; each step is also the reason why one comes after another. */
const importOrder: readonly { readonly loss: ImportLoss; readonly of: (importer: Importer) => number | string }[] = [
  { loss: 'no-ips', of: (importer) => withoutIps(importer.import) },
  { loss: 'precedence', of: (importer) => importer.precedence },
  { loss: 'newer', of: (importer) => importer.import.createdSeconds },
  { loss: 'cluster-id', of: (importer) => importer.cluster },
];

/** An import without `ips` never wins over one with; one that will take its slices' addresses stands between. */
function withoutIps(serviceImport: ServiceImport): number {
  if (serviceImport.type === 'Headless' || serviceImport.ips.length > 0) return 0;
  return serviceImport.ipsFromSlices ? 1 : 2;
}

function compareImports(a: Importer, b: Importer, order: typeof importOrder): number {
  for (const { of } of order) {
    const left = of(a);
    const right = of(b);
    if (left < right) return -1;
    if (left > right) return 1;
  }
  return 0;
}

/** The imports of the deciding type, the deciding one first. The type is settled before `ips` count. */
function decidingImports(members: readonly Member[], witness: Witness | undefined): Importer[] {
  const importers: Importer[] = [];
  for (const { policy, holds } of members) {
    if (holds.serviceImport === undefined) continue;
    importers.push({ cluster: holds.cluster, precedence: policy.precedence, import: holds.serviceImport });
  }
  const typeOrder = importOrder.slice(1);
  let typist = importers[0];
  if (typist === undefined) return [];
  for (const importer of importers) if (compareImports(importer, typist, typeOrder) < 0) typist = importer;
  const { type } = typist.import;
  const deciding = importers.filter((importer) => importer.import.type === type);
  deciding.sort((a, b) => compareImports(a, b, importOrder));
  const winner = deciding[0];
  if (witness === undefined || winner === undefined) return deciding;
  witness({ decision: 'import-decides', cluster: winner.cluster, type });
  for (const loser of deciding.slice(1)) {
    const reason = importOrder.find(({ of }) => of(winner) < of(loser))?.loss ?? 'cluster-id';
    witness({ decision: 'import-yields', cluster: loser.cluster, winner: winner.cluster, reason });
  }
  for (const { cluster, import: loser } of importers) {
    if (loser.type === type) continue;
    witness({ decision: 'type-differs', cluster, type: loser.type, winner: typist.cluster, taken: type });
  }
  return deciding;
}

/** A port is (name, protocol); the first import decides its number. */
function joinImportPorts(
  deciding: readonly Importer[],
  clusters: Set<string>,
  witness: Witness | undefined,
): ServicePort[] {
  const joined = new Map<string, ServicePort>();
  for (const { cluster, import: from } of deciding) {
    let unnamed = 0;
    let overLimit = 0;
    for (const port of from.ports) {
      if (port.name === '') {
        unnamed++;
        continue;
      }
      const identity = port.protocol + ' ' + port.name;
      const taken = joined.get(identity);
      if (taken === undefined && joined.size < maxPorts) {
        joined.set(identity, port);
        clusters.add(cluster);
        witness?.({ decision: 'port-taken', cluster, port });
      } else if (taken === undefined) {
        overLimit++;
      } else if (taken.port !== port.port) {
        witness?.({ decision: 'port-differs', cluster, port, taken });
      }
    }
    if (unnamed > 0) witness?.({ decision: 'ports-unnamed', cluster, slice: undefined, count: unnamed });
    if (overLimit > 0) witness?.({ decision: 'ports-over-limit', cluster, slice: undefined, count: overLimit });
  }
  return [...joined.values()];
}

/** '' or the text of the Extended DNS Error; the clusters it names are then part of the answer. */
function conflictOf(
  deciding: readonly Importer[],
  fleet: FleetPolicy,
  clusters: Set<string>,
  witness: Witness | undefined,
): string {
  const claims: AddressClaim[] = [];
  const differing = new Map<string, AddressClaim>();
  for (const { cluster, import: from } of deciding) {
    if (from.ips.length === 0) continue;
    const ips = [...new Set(from.ips)].sort();
    const claim = { cluster, ips };
    claims.push(claim);
    const set = ips.join('+');
    if (!differing.has(set)) differing.set(set, claim);
  }
  if (differing.size < 2) return '';
  witness?.({ decision: 'address-conflict', claims, answered: fleet.addressConflict });
  if (fleet.addressConflict === 'precedence') return '';
  for (const { cluster } of claims) clusters.add(cluster);
  return conflictText([...differing.values()], claims.length);
}

/** One cluster for each differing set, as many as fit, and how many more hold one. */
function conflictText(differing: readonly AddressClaim[], claims: number): string {
  let text = 'ips differ (addressConflict):';
  let named = 0;
  for (const { cluster, ips } of differing) {
    const next = `${named === 0 ? '' : ','} ${cluster} ${ips.join('+')}`;
    const more = claims - named - 1;
    if (text.length + next.length + (more > 0 ? ` and ${more} more`.length : 0) > maxConflictText) break;
    text += next;
    named++;
  }
  if (named === 0) text += ` ${differing[0]?.cluster ?? ''}`.slice(0, maxConflictText - text.length - 20) + '...';
  const more = claims - Math.max(named, 1);
  if (more > 0) text += ` and ${more} more`;
  return text.replace(/[^ -~]/g, '?');
}
