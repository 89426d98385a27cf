// The configuration file: its keys, what each may hold, and the JSON Schema of it, all from one schema.
// Not here: what two keys mean together (config-clusters.ts, config-file.ts), and where a key stands in a file.

import * as z from 'zod';
import {
  adminAddress,
  clusterId,
  filePath,
  folderPath,
  ipAddress,
  isNot,
  lameduckTime,
  listenAddress,
  text,
  time,
  whole,
  word,
  zoneName,
} from './config-values.ts';
import { limits } from './limits.ts';

/** What the file must say of itself. */
export const API_VERSION = 'clusterset-dns/v1';

const MAPPING = isNot('a mapping of keys');
const LIST = isNot('a list');

function yesOrNo(): z.ZodType<boolean, boolean> {
  return z.boolean({ error: isNot('true or false') });
}

/** What may be said of a cluster, in its entry, in `clusterDefaults` and in `overrides`. */
const settings = {
  state: word('active', 'drained').optional().describe('drained: its endpoints are out, its imports stay'),
  onLoss: word('hold', 'withdraw').optional().describe('what becomes of the names of a cluster that is out of touch'),
  holdFor: time(limits.config.holdForMillis, 1)
    .optional()
    .describe('with onLoss: hold, withdrawn after so long; never where it is absent'),
  withdrawLast: yesOrNo().optional().describe('withdrawn even where no other cluster is left to answer a name'),
  required: yesOrNo().optional().describe('the server is not ready before this cluster has synced'),
  precedence: whole('a whole number', 0, 1_000_000).optional().describe('lower goes first; last where it is absent'),
  endpointsFrom: word('auto', 'native', 'mirrored').optional().describe('which EndpointSlices count'),
  speaksFor: z
    .array(clusterId, { error: LIST })
    .optional()
    .describe('ids of clusters that are not configured, whose copies here count; all where it is absent'),
};

const cluster = z.strictObject(
  {
    id: clusterId.optional().describe('the cluster id (KEP-2149): DNS labels; required unless inCluster'),
    inCluster: z
      .literal(true, { error: isNot('true') })
      .optional()
      .describe('the cluster that this server runs in'),
    kubeconfig: filePath.optional().describe('a kubeconfig; a relative path is relative to this file'),
    context: text('the name of a context', (value) => (value === '' ? undefined : value))
      .optional()
      .describe('a context of the kubeconfig; the current one where it is absent'),
    manifests: folderPath.optional().describe('a folder of manifests; a relative path is relative to this file'),
    ...settings,
  },
  { error: MAPPING },
);

const override = z.strictObject(
  {
    match: text('a pattern of cluster ids, such as prod-*', (value) => {
      const pattern = value.toLowerCase();
      return /^[-.*a-z0-9]{1,253}$/.test(pattern) ? pattern : undefined;
    }).describe('cluster ids; * stands for any characters'),
    ...settings,
  },
  { error: MAPPING },
);

const nameserver = z.strictObject(
  {
    name: zoneName.describe('a name of the NS records'),
    addresses: z.array(ipAddress, { error: LIST }).optional().describe('needed where the name is in the zone'),
  },
  { error: MAPPING },
);

const log = z.strictObject(
  { level: word('error', 'warn', 'info', 'debug').optional(), format: word('text', 'json').optional() },
  { error: MAPPING },
);

export const fileSchema = z
  .strictObject(
    {
      apiVersion: z.literal(API_VERSION, { error: isNot(API_VERSION) }),
      zone: zoneName.optional().describe('the zone; clusterset.local where it is absent'),
      ttl: whole('a number of seconds', 0, limits.flags.ttlSeconds).optional().describe('TTL of records, in seconds'),
      negativeTtl: whole('a number of seconds', 0, limits.flags.ttlSeconds)
        .optional()
        .describe('how long a negative answer may be kept, in seconds'),
      listen: z
        .array(listenAddress, { error: LIST })
        .min(1, { error: 'is empty: at least one ADDR:PORT' })
        .optional()
        .describe('ADDR:PORT to answer on, UDP and TCP'),
      admin: adminAddress.optional().describe('ADDR:PORT of the admin port, or off'),
      workers: whole('a number of threads', 1, limits.flags.workers).optional().describe('UDP threads in total'),
      udp: word('auto', 'mmsg', 'dgram').optional().describe('how UDP is read and written'),
      lameduck: lameduckTime.optional().describe('answer on for so long after SIGTERM'),
      log: log.optional(),
      stateDir: folderPath.optional().describe('where the last known state is kept across restarts'),
      lab: folderPath.optional().describe('a lab fleet: each folder in it is a member cluster'),
      clusters: z.array(cluster, { error: LIST }).optional(),
      clusterDefaults: z.strictObject(settings, { error: MAPPING }).optional(),
      overrides: z.array(override, { error: LIST }).optional().describe('in their order; the last that matches counts'),
      startupTimeout: time(limits.config.startupTimeoutMillis)
        .optional()
        .describe('ready after so long with the clusters that have synced by then'),
      unknownFor: time(limits.config.unknownForMillis)
        .optional()
        .describe('SERVFAIL for unknown names for at most so long while a cluster has not synced'),
      staleAfter: time(limits.config.staleAfterMillis)
        .optional()
        .describe('a cluster that is out of touch for so long is stale'),
      addressConflict: word('servfail', 'precedence')
        .optional()
        .describe('what a name answers on whose addresses clusters disagree'),
      nameservers: z
        .array(nameserver, { error: LIST })
        .min(1, { error: 'is empty: at least one name' })
        .optional()
        .describe('the NS records of the zone; the server names itself where it is absent'),
    },
    { error: MAPPING },
  )
  .describe('Configuration of clusterset-dns');

/** A file whose every key is good by itself. */
export type FileConfig = z.output<typeof fileSchema>;
export type FileCluster = z.output<typeof cluster>;

/** What somebody said of clusters; times in milliseconds. */
export type SettingsGiven = Readonly<Omit<z.output<typeof override>, 'match'>>;
export type SettingsOverride = Readonly<z.output<typeof override>>;

/** The JSON Schema (2020-12) of the configuration file, for editors and pipelines. */
export function configJsonSchema(): Readonly<Record<string, unknown>> {
  return z.toJSONSchema(fileSchema, { io: 'input' });
}

/** The key that may stand at `at` and is close to this one, which may not. */
export function meantKey(key: string, at: readonly (string | number)[]): string | undefined {
  let schema: SchemaNode | undefined = configJsonSchema();
  for (const step of at) schema = typeof step === 'number' ? schema?.items : schema?.properties?.[step];
  const [best] = Object.keys(schema?.properties ?? {})
    .map((known) => ({ known, away: distance(known.toLowerCase(), key.toLowerCase()) }))
    .sort((a, b) => a.away - b.away);
  return best !== undefined && best.away <= Math.min(2, best.known.length / 3) ? best.known : undefined;
}

interface SchemaNode {
  readonly items?: SchemaNode;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
}

/** Letters to insert, leave out, change or swap with the next to make one word the other (optimal string alignment). */
function distance(a: string, b: string): number {
  if (b.length > 2 * a.length) return b.length;
  let before: readonly number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const isSwapped = i > 0 && j > 0 && a[i] === b[j - 1] && a[i - 1] === b[j];
      next.push(
        Math.min(
          row[j]! + (a[i] === b[j] ? 0 : 1),
          row[j + 1]! + 1,
          next[j]! + 1,
          isSwapped ? before[j - 1]! + 1 : Infinity,
        ),
      );
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}
