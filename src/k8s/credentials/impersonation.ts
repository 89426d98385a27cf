// `as`, `as-uid`, `as-groups` and `as-user-extra` of a kubeconfig's user as headers.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation

import { CredentialError } from './credential-error.ts';
import { headerText } from './credential-file.ts';
import { isRecord, shown } from '../objects/fields.ts';
import type { RawObject } from '../objects/fields.ts';
import { textField, textsField } from './kubeconfig.ts';

const MAX_EXTRA = 64;

/** The headers, names in lower case. */
export function impersonation(fields: RawObject): Record<string, readonly string[]> {
  const headers: Record<string, readonly string[]> = {};
  const add = (key: string, header: string, values: readonly string[]): void => {
    if (values.length === 0) return;
    try {
      // The API server does not split a value at commas.
      headers[header] = values.map((value) => headerText(value));
    } catch (error) {
      throw new CredentialError(`${key}: ${(error as Error).message}`);
    }
  };
  const user = textField(fields, 'as');
  const uid = textField(fields, 'as-uid');
  add('as', 'impersonate-user', user === undefined ? [] : [user]);
  add('as-uid', 'impersonate-uid', uid === undefined ? [] : [uid]);
  add('as-groups', 'impersonate-group', textsField(fields, 'as-groups'));
  const extra = fields['as-user-extra'] ?? {};
  if (!isRecord(extra)) throw new CredentialError('as-user-extra: must be an object of lists of strings');
  if (Object.keys(extra).length > MAX_EXTRA)
    throw new CredentialError(`as-user-extra: has more than ${MAX_EXTRA} keys`);
  for (const name of Object.keys(extra)) {
    add(`as-user-extra: ${shown(name)}`, `impersonate-extra-${headerName(name)}`, textsField(extra, name));
  }
  if (user === undefined && Object.keys(headers).length > 0) {
    throw new CredentialError('as-uid, as-groups and as-user-extra need as');
  }
  return headers;
}

/** What no header's name may have, and `%`, as `%XX` of its octets. */
function headerName(name: string): string {
  return [...Buffer.from(name.toLowerCase())]
    .map((octet) => {
      const character = String.fromCharCode(octet);
      return /[-!#$&'*+.^_`|~0-9a-z]/.test(character)
        ? character
        : `%${octet.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
