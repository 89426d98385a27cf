// This machine's own addresses, where a wildcard must be said as addresses. Link-local ones are left out: they mean
// nothing without an interface (RFC 4291 2.5.6).

import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';

export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Every address of the wildcard's family, those that other machines reach first, loopback last. */
export function localAddresses(wildcard: string): string[] {
  const family = isIPv6(wildcard) ? 'IPv6' : 'IPv4';
  const all = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((local) => local.family === family && !/^fe[89ab]/.test(local.address));
  const outward = all.filter((local) => !local.internal);
  return [...outward, ...all.filter((local) => local.internal)].map((local) => local.address);
}

/** The same without loopback, unless there is nothing else. */
export function outwardAddresses(wildcard: string): string[] {
  const all = localAddresses(wildcard);
  const outward = all.filter((address) => address !== '::1' && !address.startsWith('127.'));
  return outward.length > 0 ? outward : all;
}
