// One request as the fault server saw it, and the bounded log of them.

import type { IncomingMessage } from 'node:http';
import type { Selector } from './selector.ts';
import { readSelectors } from './selector.ts';
import { groupVersion, readPath, resourceNames, resources, type ResourceName, type ResourcePath } from './resources.ts';

export type RequestKind = 'discovery' | 'get' | 'list' | 'watch' | 'watch-list' | 'other';

export interface ApiRequest {
  /** Counted from 1. */
  readonly number: number;
  /** By performance.now(). */
  readonly atMillis: number;
  readonly method: string;
  readonly url: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly authorization: string | undefined;
  /** The connection, by the client's port. */
  readonly clientPort: number;
  readonly kind: RequestKind;
  /** Whose list, watch or object; undefined: no resource that the server knows. */
  readonly resource: ResourceName | undefined;
  readonly parts: ResourcePath | undefined;
  /** `group/version` of the path. */
  readonly groupVersion: string;
  /** Undefined: it does not parse. */
  readonly selector: Selector | undefined;
  /** What it was answered; 0: not yet, or never. */
  code: number;
  /** When the answer ended, or its connection. */
  endedAtMillis: number | undefined;
}

export function readRequest(message: IncomingMessage, number: number): ApiRequest {
  const url = message.url ?? '';
  const split = url.indexOf('?');
  const path = split < 0 ? url : url.slice(0, split);
  const query = new URLSearchParams(split < 0 ? '' : url.slice(split));
  const parts = readPath(path);
  const resource =
    parts === undefined
      ? undefined
      : resourceNames.find((each) => {
          const { group, plural } = resources[each];
          return group === parts.group && plural === parts.plural;
        });
  return {
    number,
    atMillis: performance.now(),
    method: message.method ?? '',
    url,
    path,
    query,
    headers: message.headers,
    authorization: message.headers.authorization,
    clientPort: message.socket.remotePort ?? 0,
    kind: kindOf(message.method ?? '', parts, query),
    resource,
    parts,
    groupVersion: parts === undefined ? '' : groupVersion(parts.group, parts.version),
    selector: readSelectors(query.get('labelSelector'), query.get('fieldSelector')),
    code: 0,
    endedAtMillis: undefined,
  };
}

export function isTrue(value: string | null): boolean {
  return value === '1' || value === 'true';
}

function kindOf(method: string, parts: ResourcePath | undefined, query: URLSearchParams): RequestKind {
  if (method !== 'GET' || parts === undefined) return 'other';
  if (parts.plural === '') return 'discovery';
  if (parts.name !== '') return 'get';
  if (!isTrue(query.get('watch'))) return 'list';
  return query.has('sendInitialEvents') ? 'watch-list' : 'watch';
}

/** The newest requests; what was before is only counted. */
export class RequestLog {
  readonly #limit: number;
  #requests: ApiRequest[] = [];
  count = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(request: ApiRequest): void {
    this.count++;
    this.#requests.push(request);
    if (this.#requests.length > this.#limit) this.#requests.splice(0, Math.ceil(this.#limit / 4));
  }

  /** Oldest first. */
  get all(): readonly ApiRequest[] {
    return this.#requests;
  }

  of(kind: RequestKind, resource?: ResourceName): readonly ApiRequest[] {
    return this.#requests.filter(
      (each) => each.kind === kind && (resource === undefined || each.resource === resource),
    );
  }

  clear(): void {
    this.#requests = [];
  }
}
