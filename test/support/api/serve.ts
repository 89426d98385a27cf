// What a right kube-apiserver answers to each request: discovery, an object, lists in pages, watches. Not here: sockets,
// and what goes wrong on purpose.

import type { FaultTable } from './faults.ts';
import { listJson, objectJson } from './json.ts';
import type { Model, Stored } from './model.ts';
import { isTrue, type ApiRequest } from './request.ts';
import { groupVersion, resourceNames, resources, type ResourceName } from './resources.ts';
import { invalidOption, status, tooLarge, type Status } from './status.ts';
import { Watch } from './watch.ts';
import type { Wire } from './wire.ts';

export interface Api {
  readonly model: Model;
  readonly faults: FaultTable;
  readonly versions: Map<ResourceName, readonly string[]>;
  /** Until when, by performance.now(), a resource's storage is "(re)initializing". */
  readonly initializing: Map<ResourceName, number>;
  readonly watches: Set<Watch>;
  /** How `sendInitialEvents` is taken. */
  watchList: 'served' | 'refused' | 'ignored' | 'old-etcd';
  bookmarkMillis: number;
  /** Watches end after this, whatever they asked for. */
  watchMillis: number | undefined;
  /** How long a request for a version to come waits before its 504. */
  tooLargeMillis: number;
}

const JSON_TYPE = { 'content-type': 'application/json' };

/** Retry-After says what the details say, unless headers are given. */
export function sendStatus(wire: Wire, value: Status, headers?: Readonly<Record<string, string>>): void {
  const seconds = value.details?.['retryAfterSeconds'];
  const retry: Record<string, string> = typeof seconds === 'number' ? { 'retry-after': String(seconds) } : {};
  sendWhole(wire, value.code, Buffer.from(`${JSON.stringify(value)}\n`), { ...JSON_TYPE, ...(headers ?? retry) });
}

/** As the muxer in front of the API answers. */
export function sendNotFound(wire: Wire): void {
  sendText(wire, 404, '404 page not found\n');
}

export function sendText(wire: Wire, code: number, text: string): void {
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' };
  sendWhole(wire, code, Buffer.from(text), headers);
}

export function sendWhole(wire: Wire, code: number, body: Buffer, headers: Readonly<Record<string, string>>): void {
  wire.head(code, headers);
  if (body.length > 0) wire.write(body);
  wire.end();
}

export async function serve(api: Api, request: ApiRequest, wire: Wire, meta: Readonly<Record<string, unknown>>) {
  const { kind, resource, parts, method, path } = request;
  if (method !== 'GET') return sendStatus(wire, status(405));
  if (path === '/version') return sendJson(wire, { major: '1', minor: '36', gitVersion: 'v1.36.0' });
  if (path === '/readyz' || path === '/livez' || path === '/healthz') return sendText(wire, 200, 'ok');
  if (parts === undefined) return sendNotFound(wire);
  if (kind === 'discovery') return discover(api, request, wire);
  if (resource === undefined || !isServed(api, resource, parts.version)) return sendNotFound(wire);
  if (request.selector === undefined) {
    return sendStatus(wire, status(400, { message: 'unable to parse requirement' }));
  }
  if (!/^\d*$/.test(request.query.get('resourceVersion') ?? '')) {
    return sendStatus(wire, status(400, { message: 'Invalid value: strconv.ParseUint: invalid syntax' }));
  }
  if (performance.now() < (api.initializing.get(resource) ?? 0)) {
    const details = { retryAfterSeconds: 1 };
    return sendStatus(wire, status(429, { message: 'storage is (re)initializing', details }));
  }
  if (kind === 'get') return get(api, request, resource, wire);
  return kind === 'list' ? list(api, request, resource, wire, meta) : watch(api, request, resource, wire);
}

export function isServed(api: Api, resource: ResourceName, version: string): boolean {
  return api.versions.get(resource)?.includes(version) ?? false;
}

function sendJson(wire: Wire, value: unknown): void {
  sendWhole(wire, 200, Buffer.from(`${JSON.stringify(value)}\n`), JSON_TYPE);
}

function discover(api: Api, { parts, path }: ApiRequest, wire: Wire): void {
  const byGroup = new Map<string, Set<string>>();
  for (const name of resourceNames) {
    const { group } = resources[name];
    const versions = byGroup.get(group) ?? new Set();
    for (const version of api.versions.get(name) ?? []) versions.add(version);
    if (versions.size > 0) byGroup.set(group, versions);
  }
  const groupOf = (group: string): object => {
    const all = [...byGroup.get(group)!].map((version) => ({ groupVersion: groupVersion(group, version), version }));
    return { name: group, versions: all, preferredVersion: all[0] };
  };
  if (path === '/api') return sendJson(wire, { kind: 'APIVersions', versions: [...(byGroup.get('') ?? [])] });
  const { group, version } = parts!;
  if (group === '' && version === '') {
    const groups = [...byGroup.keys()].filter((each) => each !== '').map(groupOf);
    return sendJson(wire, { kind: 'APIGroupList', apiVersion: 'v1', groups });
  }
  const versions = byGroup.get(group);
  if (versions === undefined) return sendNotFound(wire);
  if (version === '') return sendJson(wire, { kind: 'APIGroup', apiVersion: 'v1', ...groupOf(group) });
  if (!versions.has(version)) return sendNotFound(wire);
  const served = resourceNames.filter((name) => resources[name].group === group && isServed(api, name, version));
  const list = served.map((name) => {
    const { kind, plural, isNamespaced: namespaced } = resources[name];
    return { name: plural, singularName: kind.toLowerCase(), namespaced, kind, verbs: ['get', 'list', 'watch'] };
  });
  const gv = groupVersion(group, version);
  return sendJson(wire, { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: gv, resources: list });
}

function get(api: Api, request: ApiRequest, resource: ResourceName, wire: Wire): void {
  const { namespace, name } = request.parts!;
  const object = api.model.get(resource, namespace, name);
  if (object !== undefined) {
    return sendWhole(wire, 200, objectJson(resource, request.groupVersion, object), JSON_TYPE);
  }
  const { plural, group } = resources[resource];
  const message = `${plural}${group === '' ? '' : `.${group}`} "${name}" not found`;
  return sendStatus(wire, status(404, { message, details: { name, group, kind: plural } }));
}

/** 410 of a page whose list is compacted: a list from now on may follow it, of another version. */
const OLD_CONTINUE =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without ' +
  'the continue parameter, or use the continue token in this response to retrieve the remainder of the results.';

async function list(
  { model, tooLargeMillis }: Api,
  request: ApiRequest,
  resource: ResourceName,
  wire: Wire,
  override: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { query, parts, selector } = request;
  if (query.has('sendInitialEvents')) {
    return sendStatus(wire, invalidOption('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  }
  const asked = Number(query.get('resourceVersion') ?? '');
  const match = query.get('resourceVersionMatch');
  if (match !== null && (!query.has('resourceVersion') || query.has('continue'))) {
    const why = 'resourceVersionMatch is forbidden unless resourceVersion is provided';
    return sendStatus(wire, invalidOption('resourceVersionMatch', why));
  }
  if (asked > model.version && !(await comes(model, asked, tooLargeMillis, wire))) {
    return sendStatus(wire, tooLarge(asked, model.version));
  }
  const token = readContinue(query.get('continue'));
  if (token === null) return sendStatus(wire, status(400, { message: 'continue key is not valid' }));
  const version = token?.rv === -1 ? model.version : (token?.rv ?? (match === 'Exact' ? asked : model.version));
  const all = model.list(resource, version);
  if (all === undefined) {
    if (token === undefined) {
      const message = 'The resourceVersion for the provided list is too old.';
      return sendStatus(wire, status(410, { message }));
    }
    const onwards = writeContinue({ rv: -1, start: token.start });
    return sendStatus(wire, status(410, { message: OLD_CONTINUE, continue: onwards }));
  }
  const isWhole = parts!.namespace === '' && !query.has('labelSelector') && !query.has('fieldSelector');
  const matching = isWhole ? all : all.filter((each) => isIn(each, parts!.namespace) && selector!(each));
  const first = token === undefined ? 0 : matching.findIndex(({ key }) => key > token.start);
  const rest = first < 0 ? [] : first === 0 ? matching : matching.slice(first);
  const isUnlimited = query.get('resourceVersion') === '0' && match !== 'Exact';
  const limit = isUnlimited ? 0 : Number(query.get('limit') ?? 0);
  const page = limit > 0 && rest.length > limit ? rest.slice(0, limit) : rest;
  const metadata: Record<string, unknown> = { resourceVersion: String(version) };
  if (page.length < rest.length) {
    metadata['continue'] = writeContinue({ rv: version, start: page.at(-1)!.key });
    if (!query.has('labelSelector') && !query.has('fieldSelector'))
      metadata['remainingItemCount'] = rest.length - page.length;
  }
  wire.head(200, JSON_TYPE);
  for (const part of listJson(resource, request.groupVersion, page, { ...metadata, ...override })) {
    wire.write(part);
    await wire.ready();
    if (wire.isClosed) return;
  }
  wire.end();
}

function isIn(object: Stored, namespace: string): boolean {
  return namespace === '' || object.namespace === namespace;
}

interface Continue {
  /** -1: a list that need not be consistent. */
  readonly rv: number;
  readonly start: string;
}

function writeContinue(token: Continue): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', ...token })).toString('base64url');
}

/** Undefined: there is none; null: it is not one of ours. */
function readContinue(text: string | null): Continue | undefined | null {
  if (text === null || text === '') return undefined;
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString()) as Continue;
  } catch {
    return null;
  }
}

/** Whether the model comes to this version in time. */
async function comes(model: Model, version: number, millis: number, wire: Wire): Promise<boolean> {
  const until = performance.now() + millis;
  while (model.version < version) {
    if (wire.isClosed || performance.now() >= until) return false;
    await new Promise((resolve) => setTimeout(resolve, Math.min(20, millis)));
  }
  return true;
}

/** What is wrong with the options of a watch, or undefined. */
function refusalOf({ query }: ApiRequest, watchList: Api['watchList']): Status | undefined {
  const match = query.get('resourceVersionMatch');
  const initial = query.get('sendInitialEvents');
  if (watchList === 'refused') {
    if (match === null) return undefined;
    return invalidOption('resourceVersionMatch', 'resourceVersionMatch is forbidden for watch');
  }
  if (initial === null) {
    if (match === null) return undefined;
    const why = 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided';
    return invalidOption('resourceVersionMatch', why);
  }
  if (match === 'NotOlderThan') return undefined;
  const why = 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan';
  return invalidOption('resourceVersionMatch', why);
}

async function watch(api: Api, request: ApiRequest, resource: ResourceName, wire: Wire): Promise<void> {
  const { query } = request;
  const { model } = api;
  const refusal = refusalOf(request, api.watchList);
  if (refusal !== undefined) return sendStatus(wire, refusal);
  const asked = Number(query.get('resourceVersion') ?? '');
  const isInitial = isTrue(query.get('sendInitialEvents')) && api.watchList !== 'refused';
  const isFromNow = isInitial || asked === 0;
  const seconds = Number(query.get('timeoutSeconds') ?? 0);
  const endMillis = api.watchMillis ?? 1_000 * (seconds > 0 ? seconds : 1_800 * (1 + Math.random()));
  const hasBookmarks = isTrue(query.get('allowWatchBookmarks'));
  wire.head(200, JSON_TYPE);
  const isLate = isInitial && asked > model.version && !(await comes(model, asked, api.tooLargeMillis, wire));
  const from = isFromNow ? model.version : asked;
  const terms = {
    ...{ request, resource, from, endMillis, currentVersion: () => model.version },
    bookmarkMillis: hasBookmarks ? api.bookmarkMillis : undefined,
  };
  const open = new Watch(terms, wire, api.faults);
  const fail = (value: Status): void => {
    open.error(value.code, value);
    wire.end();
  };
  if (isInitial && api.watchList === 'old-etcd') return fail(status(500, { message: OLD_ETCD }));
  if (isLate) return fail(tooLarge(asked, model.version));
  if (!isFromNow && asked < model.compactedAt) {
    return fail(status(410, { message: `too old resource version: ${asked} (${model.compactedAt})` }));
  }
  if (wire.isClosed) return;
  api.watches.add(open);
  wire.response.once('close', () => {
    api.watches.delete(open);
    open.clear();
  });
  // `sendInitialEvents=false` is from now, without what is there.
  const objects = isFromNow && query.get('sendInitialEvents') !== 'false' ? model.list(resource) : [];
  const isMarked = isInitial && hasBookmarks && api.watchList === 'served';
  await open.begin(objects, isFromNow ? [] : model.since(resource, asked), isMarked);
}

const OLD_ETCD = 'Internal error occurred: etcd: RequestWatchProgress is disabled';
