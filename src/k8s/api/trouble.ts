// What goes wrong between us and an API server, as a value: what a person reads, and what is done about it.
// Not here: waiting (backoff.ts), the loop that decides to list or to watch (reflector.ts).
// Kubernetes API conventions (Status, `details.retryAfterSeconds`), RFC 9110 10.2.3 (Retry-After).

import { STATUS_CODES } from 'node:http';
import { isRecord } from '../objects/fields.ts';

export type TroubleKind =
  /** No connection, or one that broke: refused, reset, timed out, a certificate that does not fit. */
  | 'connection'
  /** A connection that works and a body that does not: cut, silent, too slow, not what was asked for. */
  | 'body'
  /** An answer of 5xx, 429, or another status without a meaning of its own. */
  | 'answer'
  /** 401. */
  | 'unauthorized'
  /** 403. */
  | 'forbidden'
  /** 404: the resource, or this version of it, is not served. */
  | 'absent'
  /** 410: the resourceVersion or `continue` is too old. */
  | 'gone'
  /** 400 or 422: the server does not know what it was asked. */
  | 'invalid'
  /** A list that would empty most of the cluster waits for a second one that says so too. */
  | 'held';

export class TroubleError extends Error {
  override readonly name = 'TroubleError';
  readonly kind: TroubleKind;
  /** The HTTP status, or the code of an ERROR event; 0 for others. */
  readonly code: number;
  /** What the server asked for, however mad (backoff.ts clamps it); undefined where it did not. */
  readonly retryAfterMillis: number | undefined;

  constructor(kind: TroubleKind, text: string, code = 0, retryAfterMillis?: number) {
    super(text);
    this.kind = kind;
    this.code = code;
    this.retryAfterMillis = retryAfterMillis;
  }
}

/** The server has too much to do: it is not made to list as well. */
export function isOverload({ code }: TroubleError): boolean {
  return code === 429 || code === 503;
}

const MAX_TEXT = 200;

const KIND_OF_STATUS: ReadonlyMap<number, TroubleKind> = new Map([
  [400, 'invalid'],
  [401, 'unauthorized'],
  [403, 'forbidden'],
  [404, 'absent'],
  [410, 'gone'],
  [422, 'invalid'],
]);

/** The trouble of an HTTP status and what came with it: a Status object, text, or nothing. */
export function statusTrouble(
  code: number,
  status: unknown,
  retryAfter: string | undefined,
  nowMillis: number = Date.now(),
): TroubleError {
  const details = isRecord(status) && isRecord(status['details']) ? status['details'] : undefined;
  const message = isRecord(status) && typeof status['message'] === 'string' ? status['message'] : '';
  const words = message === '' ? (STATUS_CODES[code] ?? '') : oneLine(message);
  const text = `${code} ${words}`.trimEnd();
  const wait = retryAfterMillis(retryAfter, nowMillis) ?? retryAfterMillis(details?.['retryAfterSeconds'], nowMillis);
  return new TroubleError(KIND_OF_STATUS.get(code) ?? 'answer', text, code, wait);
}

/** The trouble of an ERROR event, whose object is a Status. */
export function eventTrouble(object: unknown): TroubleError {
  const code = isRecord(object) && typeof object['code'] === 'number' ? object['code'] : 0;
  const { kind, message, retryAfterMillis } = statusTrouble(code, object, undefined);
  // A watch that is told 401 or 403 in its stream was let in before: it resumes.
  const isResumed = kind === 'unauthorized' || kind === 'forbidden' || kind === 'absent' || kind === 'invalid';
  return new TroubleError(isResumed ? 'answer' : kind, `ERROR event ${message}`, code, retryAfterMillis);
}

/** What a thrown value says about the connection; a TroubleError is given back. */
export function connectionTrouble(error: unknown): TroubleError {
  if (error instanceof TroubleError) return error;
  const causes: string[] = [];
  for (let at: unknown = error; at instanceof Error && causes.length < 3; at = at.cause) {
    const inner: unknown = at instanceof AggregateError ? at.errors[0] : at;
    const text = inner instanceof Error ? describe(inner) : String(inner);
    if (!causes.includes(text)) causes.push(text);
  }
  return new TroubleError('connection', causes.length > 0 ? causes.join(': ') : oneLine(String(error)));
}

const WORDS_OF_CODE: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'connection refused'],
  ['ECONNRESET', 'connection reset'],
  ['EHOSTUNREACH', 'no route to host'],
  ['ENETUNREACH', 'network unreachable'],
  ['ENOTFOUND', 'no such host'],
  ['EAI_AGAIN', 'the host name does not resolve for now'],
  ['ETIMEDOUT', 'connection timed out'],
  ['UND_ERR_CONNECT_TIMEOUT', 'no connection in time'],
  ['UND_ERR_HEADERS_TIMEOUT', 'no reply in time'],
  ['UND_ERR_SOCKET', 'connection closed by the other side'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'the server certificate is self-signed and not the CA of this cluster'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'the server certificate is of another CA'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'the server certificate is of another CA'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'the server certificate is of another CA'],
  ['CERT_SIGNATURE_FAILURE', 'the server certificate is of another CA'],
  ['INVALID_PURPOSE', 'the server certificate is not for a server'],
  ['CERT_HAS_EXPIRED', 'the server certificate has expired'],
  ['CERT_NOT_YET_VALID', 'the server certificate is not valid yet (is a clock wrong?)'],
]);

function describe(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  const words = code === undefined ? undefined : WORDS_OF_CODE.get(code);
  if (words !== undefined) return `${words} (${code})`;
  return oneLine(error.message === '' ? (code ?? error.name) : error.message);
}

/** Seconds or an HTTP date to milliseconds from now; undefined: nothing that can be read. */
function retryAfterMillis(value: unknown, nowMillis: number): number | undefined {
  let millis: number;
  if (typeof value === 'number') millis = value * 1000;
  else if (typeof value !== 'string' || value === '') return undefined;
  else millis = /^-?\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMillis;
  return Number.isNaN(millis) ? undefined : millis;
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > MAX_TEXT ? line.slice(0, MAX_TEXT) + '…' : line;
}
