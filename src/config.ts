// What the process was told: flags, checked by one schema, become one frozen Config.
// Not here: what a flag's help says (main.ts), what is done with a value (server.ts).
// Every refusal is a UsageError of one line that begins with the flag, so that the reader knows what to type next.

import { readFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { availableParallelism } from 'node:os';
import * as z from 'zod';
import { limits } from './limits.ts';
import { type LogFormat, type LogLevel } from './log.ts';
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
  /** The folder of `--lab`: a folder in it is a member cluster. */
  readonly lab: string;
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
  /** Undefined: the server names itself. */
  readonly nameservers: readonly Nameserver[] | undefined;
}

export type UdpEngine = 'auto' | 'mmsg' | 'dgram';
export type Output = 'text' | 'json';

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
}

/** Reads the surroundings of this process. */
export function surroundings(): Surroundings {
  return { stderrIsTerminal: process.stderr.isTTY, processors: processors() };
}

/** A flag's text, read by `parse`; undefined from it is a refusal, and `wanted` says what was wanted. */
function flag<T>(wanted: string, parse: (text: string) => T | undefined): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: `${JSON.stringify(text)} is not ${wanted}` });
    return z.NEVER;
  });
}

const word = <const T extends string>(...words: readonly T[]): z.ZodType<T, string> =>
  flag(`one of ${words.join(', ')}`, (text) => words.find((known) => known === text));

const wholeNumber = (wanted: string, lowest: number, highest: number): z.ZodType<number, string> =>
  flag(`${wanted} from ${lowest} to ${highest}`, (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    return value >= lowest && value <= highest ? value : undefined;
  });

const address = flag(
  'ADDR:PORT with an IP address, such as 127.0.0.1:1053 or [::1]:1053, and a port from 0 to 65535',
  parseAddress,
);
const zone = flag('a DNS name, such as clusterset.local', parseZone);
const folder = flag('the path of a folder', (text) => (text === '' || text.includes('\0') ? undefined : text));
const seconds = wholeNumber('a number of seconds', 0, limits.flags.ttlSeconds);
const output = word('text', 'json').default('text');
const milliseconds = flag(
  `a time such as 5s, 500ms or 0, at most ${limits.flags.lameduckMillis / 60_000}m`,
  (text): number | undefined => {
    const [, digits, unit] = /^(\d{1,9})(ms|s|m)$/.exec(text) ?? (text === '0' ? ['0', '0', 's'] : []);
    const value = Number(digits) * (unit === 'm' ? 60_000 : unit === 's' ? 1_000 : 1);
    return value <= limits.flags.lameduckMillis ? value : undefined;
  },
);

// `dump` must answer as `serve` does, so both read these.
const zoneFlags = {
  zone: zone.default('clusterset.local'),
  ttl: seconds.default(5),
  negativeTtl: seconds.default(5),
};

const serveFlags = z.strictObject({
  ...zoneFlags,
  lab: folder.optional(),
  listen: z.array(address).min(1).optional(),
  admin: z.union([z.literal('off'), address]).optional(),
  workers: wholeNumber('a number of threads', 1, limits.flags.workers).optional(),
  udp: word('auto', 'mmsg', 'dgram').default('auto'),
  lameduck: milliseconds.default(5_000),
  logLevel: word('error', 'warn', 'info', 'debug').default('info'),
  logFormat: word('text', 'json').optional(),
});

const dumpFlags = z.strictObject({ ...zoneFlags, lab: folder.optional(), output });
const checkFlags = z.strictObject({ lab: folder.optional(), strict: z.boolean().default(false), output });

/** The flags of `serve`, as commander hands them over (camel case, text), to a Config. Throws UsageError. */
export function parseServeFlags(flags: unknown, around: Surroundings = surroundings()): Config {
  const parsed = parseFlags(serveFlags, flags);
  const lab = requireClusters(parsed.lab);
  const listen = (parsed.listen ?? [{ host: '127.0.0.1', port: 1053 }]).map(({ host, port }): ListenAddress => ({
    host,
    port,
    family: isIPv6(host) ? 6 : 4,
  }));
  const admin = parsed.admin === 'off' ? undefined : (parsed.admin ?? { host: '127.0.0.1', port: 9153 });
  refuseTwice(listen, admin);
  return deepFreeze<Config>({
    lab,
    zone: parsed.zone,
    ttlSeconds: parsed.ttl,
    negativeTtlSeconds: parsed.negativeTtl,
    listen,
    admin,
    workers: parsed.workers ?? Math.min(limits.flags.defaultWorkers, around.processors),
    udp: parsed.udp,
    lameduckMillis: parsed.lameduck,
    log: { level: parsed.logLevel, format: parsed.logFormat ?? (around.stderrIsTerminal ? 'text' : 'json') },
    nameservers: undefined,
  });
}

/** The flags of `dump`. Throws UsageError. */
export function parseDumpFlags(flags: unknown): DumpOptions {
  const parsed = parseFlags(dumpFlags, flags);
  return deepFreeze({ ...parsed, lab: requireClusters(parsed.lab) });
}

/** The flags of `check`. Throws UsageError. */
export function parseCheckFlags(flags: unknown): CheckOptions {
  const parsed = parseFlags(checkFlags, flags);
  return deepFreeze({ ...parsed, lab: requireClusters(parsed.lab) });
}

function parseFlags<T>(schema: z.ZodType<T>, flags: unknown): T {
  const result = schema.safeParse(flags);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  // A union that fails reports its branches; the last one is the address, whose words are meant.
  const message = issue.code === 'invalid_union' ? issue.errors.at(-1)?.[0]?.message : issue.message;
  const name = String(issue.path[0] ?? '').replaceAll(/[A-Z]/g, (letter) => '-' + letter.toLowerCase());
  const orOff = name === 'admin' ? ', nor off' : '';
  throw new UsageError(`--${name}: ${message ?? issue.message}${orOff}`);
}

function requireClusters(lab: string | undefined): string {
  if (lab !== undefined) return lab;
  throw new UsageError('--lab: a source of clusters is needed: --lab DIR, a folder with one folder for each cluster');
}

function refuseTwice(listen: readonly ListenAddress[], admin: Address | undefined): void {
  const seen = new Set<string>();
  for (const address of listen) {
    const text = formatAddress(address);
    if (address.port !== 0 && seen.has(text)) throw new UsageError(`--listen: ${text} is given twice`);
    seen.add(text);
  }
  if (admin !== undefined && admin.port !== 0 && seen.has(formatAddress(admin))) {
    throw new UsageError(`--admin: ${formatAddress(admin)} is a --listen address already`);
  }
}

/** ADDR:PORT, with brackets round an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

function parseAddress(text: string): Address | undefined {
  const [, v6, v4, digits] = /^(?:\[([^[\]]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (!(port <= 65_535)) return undefined;
  if (v6 === undefined) return isIPv4(v4 ?? '') ? { host: v4 ?? '', port } : undefined;
  if (!isIPv6(v6) || v6.includes('%')) return undefined;
  // One address, one text (RFC 5952): wildcards and repetitions are seen however they are written.
  const host = new URL(`http://[${v6}]`).hostname.slice(1, -1);
  return host.startsWith('::ffff:') ? undefined : { host, port };
}

function parseZone(text: string): string | undefined {
  const name = text.toLowerCase().replace(/\.$/, '');
  const labels = name.split('.');
  // Room for a service's names in front of it (RFC 1035 2.3.4: 255 octets in all).
  return name.length <= limits.flags.zoneCharacters &&
    labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/.test(label))
    ? name
    : undefined;
}

/** Whole processors that this process may use: those it sees, or fewer if its cgroup has a quota; at least 1. */
export function processors(read: (path: string) => string | undefined = readText): number {
  return Math.max(1, Math.floor(Math.min(availableParallelism(), cgroupProcessors(read) ?? Infinity)));
}

/** The lowest CPU quota from this process's cgroup up to the root, in processors; undefined without one. */
function cgroupProcessors(read: (path: string) => string | undefined): number | undefined {
  const groups = read('/proc/self/cgroup') ?? '';
  const quotas: number[] = [];
  const v2 = /^0::(\/.*)$/m.exec(groups)?.[1] ?? '/';
  const v1 = /^\d+:(?:[^:\n]*,)?cpu(?:,[^:\n]*)?:(\/.*)$/m.exec(groups)?.[1] ?? '/';
  for (const folder of upwards(v2)) {
    const [quota, period] = (read(`/sys/fs/cgroup${folder}cpu.max`) ?? '').trim().split(' ');
    quotas.push(Number(quota) / Number(period));
  }
  for (const folder of upwards(v1)) {
    const quota = read(`/sys/fs/cgroup/cpu${folder}cpu.cfs_quota_us`);
    quotas.push(Number(quota) / Number(read(`/sys/fs/cgroup/cpu${folder}cpu.cfs_period_us`)));
  }
  // `max`, -1 and a file that is not there are no quota.
  const bounds = quotas.filter((quota) => quota > 0 && Number.isFinite(quota));
  return bounds.length > 0 ? Math.min(...bounds) : undefined;
}

function upwards(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  return names
    .reduceRight<string[]>((found, _, i) => [...found, `/${names.slice(0, i + 1).join('/')}/`], [])
    .concat('/');
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function deepFreeze<T extends object>(value: T): Readonly<T> {
  for (const inner of Object.values(value) as unknown[]) {
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner);
  }
  return Object.freeze(value);
}
