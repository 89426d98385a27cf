// Files that hold credentials, and what must be in them. Bounded: a path in a kubeconfig may name anything.
// RFC 7468 (PEM), RFC 4648 4 (base64), RFC 6750 (bearer tokens).

import { readFile, stat } from 'node:fs/promises';
import { CredentialError, at } from './credential-error.ts';

/** A token, a certificate with its chain, a bundle of authorities. */
const MAX_OCTETS = 1_024 * 1_024;
const MAX_HEADER_CHARACTERS = 64 * 1_024;

/** The text of a file, or why there is none. Pipes and devices are refused: they cannot be read again. */
export async function readBounded(file: string, maxOctets = MAX_OCTETS): Promise<string> {
  try {
    const stats = await stat(file);
    if (stats.isDirectory()) throw new CredentialError('is a folder');
    if (!stats.isFile()) throw new CredentialError('is no regular file');
    if (stats.size > maxOctets) throw new CredentialError(`is larger than ${maxOctets >> 20} MiB`);
    return await readFile(file, 'utf8');
  } catch (error) {
    throw error instanceof CredentialError ? error : new CredentialError(systemReason(error));
  }
}

/** A system call's error in words; its own message repeats the path. */
export function systemReason(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'must not be read';
  return `cannot be read (${code ?? 'unknown reason'})`;
}

/** The token file of an access, read again: the Authorization header's value. */
export async function readToken(file: string): Promise<string> {
  return at(`token file ${file}`, async () => bearer(await readBounded(file)));
}

/** The Authorization header of a token. */
export function bearer(token: string): string {
  const trimmed = token.trim();
  if (trimmed === '') throw new CredentialError('is empty');
  return `Bearer ${headerText(trimmed)}`;
}

/** The value, if a header's field may have it. */
export function headerText(value: string): string {
  if (value.length > MAX_HEADER_CHARACTERS) throw new CredentialError('is too long for a header');
  if (!/^[\t\x20-\x7e]+$/.test(value)) throw new CredentialError('has characters that no header may have');
  return value;
}

export type PemKind = 'CERTIFICATE' | 'PRIVATE KEY';

/** `RSA PRIVATE KEY` is one, too. Begin and end apart: a search for both in one expression is quadratic. */
const PEM: Readonly<Record<PemKind, readonly [begin: RegExp, end: RegExp]>> = {
  CERTIFICATE: [/-----BEGIN (?:[A-Z0-9]+ )*CERTIFICATE-----/, /-----END (?:[A-Z0-9]+ )*CERTIFICATE-----/],
  'PRIVATE KEY': [/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/, /-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----/],
};

/** The text, if there is PEM of this kind in it. */
export function checkPem(text: string, kind: PemKind): string {
  if (!PEM[kind].every((line) => line.test(text))) throw new CredentialError(`holds no ${kind} in PEM`);
  return text;
}

/** The text of padded base64, as Go reads it: lines may be broken, all else may not. */
export function fromBase64(text: string): string {
  const joined = text.replaceAll(/[\r\n]/g, '');
  if (joined.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(joined)) throw new CredentialError('is no base64');
  return Buffer.from(joined, 'base64').toString('utf8');
}
