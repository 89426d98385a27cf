// `clusterset-dns check`: what is wrong with a fleet, a line a finding, before or while it is served.
// Each service is merged with a witness, so what is told here is what was decided, not a second copy of the rules.

import type { CheckOptions } from '../config.ts';
import { findingText } from '../k8s/manifests/manifests.ts';
import { mergeService } from '../zones/merge.ts';
import type { FleetPolicy, ServiceObjects } from '../zones/objects.ts';
import { describe } from '../zones/witness.ts';
import type { Decision } from '../zones/witness.ts';
import { readLabFleet } from './lab-fleet.ts';

type Severity = 'error' | 'warning' | 'info';

/** One line of the report; `where` is a file and line, a service or a cluster. */
interface CheckLine {
  readonly severity: Severity;
  readonly where: string;
  readonly message: string;
}

/** Lines of one kind about one service; the rest is counted. */
const MOST_LINES_A_KIND = 5;

/** Decisions that a person should know of; the others are how things are meant to be. */
const told: Partial<Record<Decision['decision'], Severity>> = {
  'address-conflict': 'error',
  'type-differs': 'warning',
  'port-differs': 'warning',
  'ports-over-limit': 'warning',
  'address-shared': 'warning',
  'ports-unnamed': 'info',
};

/** Slices that are left out because something is wrong, not because another one is better. */
const toldSlices: ReadonlySet<string> = new Set(['source-missing', 'export-invalid', 'speaks-for']);

/** Prints the findings; resolves with 0, or 1 where there is an error (or, with `strict`, a warning). */
export async function check(options: CheckOptions, out: (text: string) => void): Promise<number> {
  const { store, findings } = await readLabFleet(options.lab);
  const lines: CheckLine[] = findings.map((finding) => {
    const text = findingText(finding);
    const colon = text.indexOf(': ', finding.file.length);
    return { severity: finding.severity, where: text.slice(0, colon), message: text.slice(colon + 2) };
  });
  const fleet = store.fleet();
  const strangers = new Map<string, string>();
  for (const key of [...store.keys()].sort()) lines.push(...checkService(key, store.gather(key), fleet, strangers));
  for (const [id, where] of strangers) {
    lines.push({
      severity: 'warning',
      where: `cluster ${id}`,
      message: `named by ${where}, but no such cluster is configured`,
    });
  }
  const count = (severity: Severity): number => lines.filter((line) => line.severity === severity).length;
  const counted = (severity: Severity, word: string): string => {
    const number = count(severity);
    return `${String(number)} ${word}${number === 1 ? '' : 's'}`;
  };
  if (options.output === 'json') out(`${JSON.stringify(lines, undefined, 2)}\n`);
  else {
    for (const { severity, where, message } of lines) out(`${severity.padEnd(8)}${where}: ${message}\n`);
    out(`${[counted('error', 'error'), counted('warning', 'warning'), counted('info', 'note')].join(', ')}\n`);
  }
  return count('error') > 0 || (options.strict && count('warning') > 0) ? 1 : 0;
}

function checkService(
  key: string,
  objects: ServiceObjects,
  fleet: FleetPolicy,
  strangers: Map<string, string>,
): CheckLine[] {
  const lines: CheckLine[] = [];
  const say = (severity: Severity, message: string): void => {
    lines.push({ severity, where: key, message });
  };
  const counts = new Map<string, number>();
  let notReady = 0;
  const merged = mergeService(objects, fleet, (decision) => {
    if (decision.decision === 'source-not-configured') {
      strangers.set(decision.source, `EndpointSlice ${objects.namespace}/${decision.slice} in ${decision.cluster}`);
    }
    if (decision.decision === 'endpoint-left-out' && decision.reason === 'not-ready') notReady++;
    const isTold = decision.decision === 'slice-left-out' && toldSlices.has(decision.reason);
    const severity = isTold ? 'warning' : told[decision.decision];
    if (severity === undefined) return;
    const number = (counts.get(decision.decision) ?? 0) + 1;
    counts.set(decision.decision, number);
    if (number <= MOST_LINES_A_KIND) say(severity, describe(decision));
  });
  for (const [kind, number] of counts) {
    if (number > MOST_LINES_A_KIND) say('info', `${String(number - MOST_LINES_A_KIND)} more of ${kind}`);
  }
  const importers = objects.clusters
    .filter(({ serviceImport }) => serviceImport !== undefined)
    .map(({ cluster }) => cluster);
  const exporters = objects.clusters
    .filter(({ serviceExport }) => serviceExport !== undefined)
    .map(({ cluster }) => cluster);
  const hasMirrors = objects.clusters.some(({ slices }) => slices.some(({ form }) => form === 'mirrored'));
  if (importers.length === 0 && exporters.length > 0) {
    say('warning', `exported by ${exporters.join(', ')}, but no cluster holds a ServiceImport: it has no name`);
  }
  if (importers.length > 0 && exporters.length === 0 && !hasMirrors) {
    say('warning', `imported by ${importers.join(', ')}, but no cluster exports it`);
  }
  if (merged?.type === 'Headless' && merged.endpoints.length === 0) {
    say('info', `no ready endpoint (${String(notReady)} not ready): its name does not exist`);
  }
  if (merged?.type === 'ClusterSetIP' && merged.addresses.length === 0) {
    say('info', 'its ServiceImport has no ips yet: no address is answered');
  }
  return lines;
}
