// Single values of flags and of keys of the configuration file: what each may be, and in which words it is refused.
// A flag is always text; a key of the file may be a number or a list too. Not here: which flags and keys there are
// (config.ts, config-schema.ts), and where the value stood.

import { isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod';
import type { Address } from './config.ts';
import { isDnsName, shown } from './k8s/objects/fields.ts';
import { limits } from './limits.ts';

/** The sentence of a value that is not what was wanted; zod says `input`, whatever it is. */
export function isNot(wanted: string): (issue: { readonly input?: unknown }) => string {
  return ({ input }) => {
    if (input === undefined) return `is missing: ${wanted}`;
    if (input === null) return `is empty: ${wanted}`;
    return `${typeof input === 'string' ? JSON.stringify(input) : shown(input)} is not ${wanted}`;
  };
}

/** Text that `parse` reads; undefined from it is a refusal, and `wanted` says what was wanted. */
export function text<T>(wanted: string, parse: (text: string) => T | undefined): z.ZodType<T, string> {
  const notText = ({ input }: { readonly input?: unknown }): string =>
    typeof input === 'number' || typeof input === 'boolean'
      ? `${String(input)} is no text: write it in quotes`
      : isNot(wanted)({ input });
  return z.string({ error: notText }).transform((value, context) => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: isNot(wanted)({ input: value }) });
    return z.NEVER;
  });
}

/** One of these words. */
export function word<const T extends string>(...words: readonly [T, ...T[]]): z.ZodType<T, T> {
  return z.enum(words, { error: isNot(`one of ${words.join(', ')}`) });
}

/** A whole number as a flag has it. */
export function digits(wanted: string, lowest: number, highest: number): z.ZodType<number, string> {
  return text(`${wanted} from ${lowest} to ${highest}`, (value) => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : -1;
    return number >= lowest && number <= highest ? number : undefined;
  });
}

/** A whole number as a key of the file has it. */
export function whole(wanted: string, lowest: number, highest: number): z.ZodType<number, number> {
  const error = isNot(`${wanted} from ${lowest} to ${highest}`);
  return z.int({ error }).min(lowest, { error }).max(highest, { error });
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
]);

/** A time in milliseconds: `500ms`, `5s`, `15m`, `2h`, or 0 where `lowest` is. */
export function time(highest: number, lowest = 0): z.ZodType<number, string | 0> {
  const bound = highest >= 3_600_000 ? `${highest / 3_600_000}h` : `${highest / 60_000}m`;
  const wanted = `a time such as 5s, 500ms or ${lowest === 0 ? '0' : '15m'}, at most ${bound}`;
  const parse = (value: string): number | undefined => {
    const [, number, unit = ''] = /^(\d{1,9})(ms|s|m|h)$/.exec(value) ?? (value === '0' ? ['', '0', 's'] : []);
    const millis = Number(number) * (UNITS.get(unit) ?? NaN);
    return millis >= lowest && millis <= highest ? millis : undefined;
  };
  return z.union([z.string(), z.literal(0)], { error: isNot(wanted) }).transform((value, context) => {
    const millis = parse(String(value));
    if (millis !== undefined) return millis;
    context.addIssue({ code: 'custom', message: isNot(wanted)({ input: value }) });
    return z.NEVER;
  });
}

const ADDRESS = 'ADDR:PORT with an IP address, such as 127.0.0.1:1053 or [::1]:1053, and a port from 0 to 65535';

export const listenAddress = text(ADDRESS, parseAddress);
export const adminAddress = text(`${ADDRESS}, nor off`, (value) => (value === 'off' ? value : parseAddress(value)));
export const zoneName = text('a DNS name, such as clusterset.local', parseZone);
export const folderPath = text('the path of a folder', parsePath);
export const filePath = text('the path of a file', parsePath);
export const clusterId = text('a cluster id (DNS labels)', (value) => {
  const id = value.toLowerCase();
  return isDnsName(id) ? id : undefined;
});
export const ipAddress = text('an IP address', (value) => (isIPv4(value) ? value : parseIPv6(value)));
export const lameduckTime = time(limits.flags.lameduckMillis);

function parsePath(value: string): string | undefined {
  return value === '' || value.includes('\0') ? undefined : value;
}

function parseAddress(value: string): Address | undefined {
  const [, v6, v4, number] = /^(?:\[([^[\]]+)\]|([0-9.]+)):(\d{1,5})$/.exec(value) ?? [];
  const port = Number(number);
  if (!(port <= 65_535)) return undefined;
  const host = v6 === undefined ? (isIPv4(v4 ?? '') ? v4 : undefined) : parseIPv6(v6);
  return host === undefined ? undefined : { host, port };
}

/** One address, one text (RFC 5952): wildcards and repetitions are seen however they are written. */
function parseIPv6(value: string): string | undefined {
  if (!isIPv6(value) || value.includes('%')) return undefined;
  const host = new URL(`http://[${value}]`).hostname.slice(1, -1);
  return host.startsWith('::ffff:') ? undefined : host;
}

function parseZone(value: string): string | undefined {
  const name = value.toLowerCase().replace(/\.$/, '');
  const labels = name.split('.');
  // Room for a service's names in front of it (RFC 1035 2.3.4: 255 octets in all).
  return name.length <= limits.flags.zoneCharacters &&
    labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/.test(label))
    ? name
    : undefined;
}
