// What `serve` runs with: flags, or a file and flags, checked and made one frozen Config.
// Not here: what a flag's help says (main.ts), what single values may be (config-values.ts), the file (config-file.ts),
// what is done with a value (server.ts).
// Every refusal is a UsageError of one line that begins with the flag, so that the reader knows what to type next.

import { existsSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import * as z from 'zod';
import { clusterFlagsGiven, clustersOfFlags, parseContext } from './config-clusters.ts';
import type { ClustersConfig } from './config-clusters.ts';
import {
  adminAddress,
  clusterId,
  digits,
  filePath,
  folderPath,
  lameduckTime,
  listenAddress,
  word,
  zoneName,
} from './config-values.ts';
import { limits } from './limits.ts';
import { type LogFormat, type LogLevel } from './log.ts';
import { processors } from './processors.ts';
import { UsageError } from './usage.ts';

/** Where a socket is bound. An IPv6 address stands without brackets. Port 0: the system chooses. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where DNS is answered, over UDP and TCP alike. */
export interface ListenAddress extends Address {
  readonly family: 4 | 6;
}

/** A name of the zone's NS records, and its addresses. */
export interface Nameserver {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** What `serve` runs with. Frozen, all the way down. */
export interface Config {
  /** The configuration file that this was read from. */
  readonly configFile: string | undefined;
  /** A lab fleet: a folder in it is a member cluster. */
  readonly lab: string | undefined;
  readonly clusters: ClustersConfig;
  /** Lower case, without the trailing dot. */
  readonly zone: string;
  readonly ttlSeconds: number;
  readonly negativeTtlSeconds: number;
  /** At least one; none twice. */
  readonly listen: readonly ListenAddress[];
  readonly admin: Address | undefined;
  /** UDP threads in total. */
  readonly workers: number;
  readonly udp: UdpEngine;
  readonly lameduckMillis: number;
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Where the last known state is kept across restarts; undefined: nowhere. */
  readonly stateDir: string | undefined;
  /** Ready after so long with the clusters that have synced by then. */
  readonly startupTimeoutMillis: number;
  /** SERVFAIL for unknown names for at most so long while a cluster has not synced. */
  readonly unknownForMillis: number;
  /** A cluster that is out of touch for so long is stale. */
  readonly staleAfterMillis: number;
  readonly addressConflict: 'servfail' | 'precedence';
  /** Undefined: the server names itself. */
  readonly nameservers: readonly Nameserver[] | undefined;
}

export type UdpEngine = 'auto' | 'mmsg' | 'dgram';
export type Output = 'text' | 'json';

/** What was given of a Config, by flags or by a file; what is absent gets its default. */
export interface Given {
  readonly zone?: string | undefined;
  readonly ttl?: number | undefined;
  readonly negativeTtl?: number | undefined;
  readonly listen?: readonly Address[] | undefined;
  readonly admin?: Address | 'off' | undefined;
  readonly workers?: number | undefined;
  readonly udp?: UdpEngine | undefined;
  readonly lameduck?: number | undefined;
  readonly logLevel?: LogLevel | undefined;
  readonly logFormat?: LogFormat | undefined;
  readonly stateDir?: string | undefined;
  readonly lab?: string | undefined;
  readonly startupTimeout?: number | undefined;
  readonly unknownFor?: number | undefined;
  readonly staleAfter?: number | undefined;
  readonly addressConflict?: Config['addressConflict'] | undefined;
  readonly nameservers?: readonly Nameserver[] | undefined;
}

/** What `dump` runs with. */
export interface DumpOptions {
  readonly lab: string;
  readonly zone: string;
  readonly ttl: number;
  readonly negativeTtl: number;
  readonly output: Output;
}

/** What `check` runs with. */
export interface CheckOptions {
  readonly lab: string;
  readonly strict: boolean;
  readonly output: Output;
}

/** What of the process's surroundings decides a default. */
export interface Surroundings {
  readonly stderrIsTerminal: boolean;
  readonly processors: number;
  /** Where it has not, a socket on `[::]` cannot be made. */
  readonly hasIPv6?: boolean;
}

/** Reads the surroundings of this process. */
export function surroundings(): Surroundings {
  return {
    stderrIsTerminal: process.stderr.isTTY,
    processors: processors(),
    hasIPv6: process.platform !== 'linux' || existsSync('/proc/net/if_inet6'),
  };
}

// `dump` must answer as `serve` does, so both read these.
const zoneFlags = {
  zone: zoneName,
  ttl: digits('a number of seconds', 0, limits.flags.ttlSeconds),
  negativeTtl: digits('a number of seconds', 0, limits.flags.ttlSeconds),
};
const DEFAULTS = { zone: 'clusterset.local', ttl: 5, negativeTtl: 5 } as const;

const serveFlags = z.strictObject({
  zone: zoneFlags.zone.optional(),
  ttl: zoneFlags.ttl.optional(),
  negativeTtl: zoneFlags.negativeTtl.optional(),
  config: filePath.optional(),
  lab: folderPath.optional(),
  kubeconfig: filePath.optional(),
  context: z.array(z.string().transform(parseContext)).min(1).optional(),
  allContexts: z.boolean().optional(),
  inCluster: z.union([z.literal(true), clusterId]).optional(),
  listen: z.array(listenAddress).min(1).optional(),
  admin: adminAddress.optional(),
  workers: digits('a number of threads', 1, limits.flags.workers).optional(),
  udp: word('auto', 'mmsg', 'dgram').optional(),
  lameduck: lameduckTime.optional(),
  stateDir: folderPath.optional(),
  logLevel: word('error', 'warn', 'info', 'debug').optional(),
  logFormat: word('text', 'json').optional(),
});

/** The flags of `serve`, each good by itself. */
export type ServeFlags = z.output<typeof serveFlags>;

const output = word('text', 'json').default('text');
const dumpFlags = z.strictObject({
  zone: zoneFlags.zone.default(DEFAULTS.zone),
  ttl: zoneFlags.ttl.default(DEFAULTS.ttl),
  negativeTtl: zoneFlags.negativeTtl.default(DEFAULTS.negativeTtl),
  lab: folderPath.optional(),
  output,
});
const checkFlags = z.strictObject({ lab: folderPath.optional(), strict: z.boolean().default(false), output });

/**
 * The flags of `serve`, as commander hands them over (camel case, text). With `config` the file is still to be read
 * (readConfigFile). Throws UsageError.
 */
export function readServeFlags(flags: unknown): ServeFlags {
  const parsed = parseFlags(serveFlags, flags);
  const [other] = clusterFlagsGiven(parsed);
  if (parsed.config !== undefined && other !== undefined) {
    throw new UsageError(`${other}: is not for use with --config, whose file names the clusters`);
  }
  return parsed;
}

/** The flags of `serve` without `--config` to a Config. Throws UsageError. */
export function parseServeFlags(flags: unknown, around: Surroundings = surroundings()): Config {
  const parsed = readServeFlags(flags);
  return makeConfig(parsed, clustersOfFlags(parsed), around, undefined, (flag, what) => {
    throw new UsageError(`--${flag}: ${what}`);
  });
}

/** What was given, with a default for the rest; what does not go together is refused by the name of its flag or key. */
export function makeConfig(
  given: Given,
  clusters: ClustersConfig,
  around: Surroundings,
  configFile: string | undefined,
  refuse: (key: 'listen' | 'admin', what: string) => never,
): Config {
  const { kubeconfig, inCluster, entries } = clusters;
  // A lab is tried on one's own machine; whoever watches API servers is asked by others.
  const isLab =
    kubeconfig === undefined && inCluster === undefined && entries.every(({ source }) => source.kind === 'manifests');
  const port = 1053;
  const everywhere = isLab
    ? [{ host: '127.0.0.1', port }]
    : [{ host: '0.0.0.0', port }, ...(around.hasIPv6 === false ? [] : [{ host: '::', port }])];
  const listen = (given.listen ?? everywhere).map((address): ListenAddress => ({
    ...address,
    family: isIPv6(address.host) ? 6 : 4,
  }));
  const admin =
    given.admin === 'off' ? undefined : (given.admin ?? { host: isLab ? '127.0.0.1' : '0.0.0.0', port: 9153 });
  refuseTwice(listen, admin, refuse);
  return deepFreeze<Config>({
    configFile,
    lab: given.lab,
    clusters,
    zone: given.zone ?? DEFAULTS.zone,
    ttlSeconds: given.ttl ?? DEFAULTS.ttl,
    negativeTtlSeconds: given.negativeTtl ?? DEFAULTS.negativeTtl,
    listen,
    admin,
    workers: given.workers ?? Math.min(limits.flags.defaultWorkers, around.processors),
    udp: given.udp ?? 'auto',
    lameduckMillis: given.lameduck ?? 5_000,
    log: {
      level: given.logLevel ?? 'info',
      format: given.logFormat ?? (around.stderrIsTerminal ? 'text' : 'json'),
    },
    stateDir: given.stateDir,
    startupTimeoutMillis: given.startupTimeout ?? 30_000,
    unknownForMillis: given.unknownFor ?? 60_000,
    staleAfterMillis: given.staleAfter ?? 60_000,
    addressConflict: given.addressConflict ?? 'servfail',
    nameservers: given.nameservers,
  });
}

/** The keys whose change needs a restart, each with what it is made to. */
const FIXED: Readonly<Record<string, (config: Config) => unknown>> = {
  lab: ({ lab }) => lab,
  zone: ({ zone }) => zone,
  ttl: ({ ttlSeconds }) => ttlSeconds,
  negativeTtl: ({ negativeTtlSeconds }) => negativeTtlSeconds,
  listen: ({ listen }) => listen,
  admin: ({ admin }) => admin,
  workers: ({ workers }) => workers,
  udp: ({ udp }) => udp,
  lameduck: ({ lameduckMillis }) => lameduckMillis,
  log: ({ log }) => log,
  stateDir: ({ stateDir }) => stateDir,
  addressConflict: ({ addressConflict }) => addressConflict,
  nameservers: ({ nameservers }) => nameservers,
};

/** The keys that differ and cannot be changed while the server runs. */
export function restartNeeded(before: Config, after: Config): string[] {
  return Object.entries(FIXED)
    .filter(([, of]) => JSON.stringify(of(before)) !== JSON.stringify(of(after)))
    .map(([key]) => key);
}

/** The flags of `dump`. Throws UsageError. */
export function parseDumpFlags(flags: unknown): DumpOptions {
  const parsed = parseFlags(dumpFlags, flags);
  return deepFreeze({ ...parsed, lab: requireLab(parsed.lab) });
}

/** The flags of `check`. Throws UsageError. */
export function parseCheckFlags(flags: unknown): CheckOptions {
  const parsed = parseFlags(checkFlags, flags);
  return deepFreeze({ ...parsed, lab: requireLab(parsed.lab) });
}

function parseFlags<T>(schema: z.ZodType<T>, flags: unknown): T {
  const result = schema.safeParse(flags);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  // A union that fails reports its branches; the last one is the text, whose words are meant.
  const message = issue.code === 'invalid_union' ? issue.errors.at(-1)?.[0]?.message : issue.message;
  const name = String(issue.path[0] ?? '').replaceAll(/[A-Z]/g, (letter) => '-' + letter.toLowerCase());
  throw new UsageError(`--${name}: ${message ?? issue.message}`);
}

function requireLab(lab: string | undefined): string {
  if (lab !== undefined) return lab;
  throw new UsageError('--lab: a source of clusters is needed: --lab DIR, a folder with one folder for each cluster');
}

function refuseTwice(
  listen: readonly ListenAddress[],
  admin: Address | undefined,
  refuse: (key: 'listen' | 'admin', what: string) => never,
): void {
  const seen = new Set<string>();
  for (const address of listen) {
    const text = formatAddress(address);
    if (address.port !== 0 && seen.has(text)) refuse('listen', `${text} is given twice`);
    seen.add(text);
  }
  if (admin !== undefined && admin.port !== 0 && seen.has(formatAddress(admin))) {
    refuse('admin', `${formatAddress(admin)} is a listen address already`);
  }
}

/** ADDR:PORT, with brackets round an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

function deepFreeze<T extends object>(value: T): Readonly<T> {
  for (const inner of Object.values(value) as unknown[]) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  }
  return Object.freeze(value);
}
