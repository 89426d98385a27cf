// Which resources an API server serves, and in which version: asked of the server, never guessed.
// KEP-1645 (multicluster.x-k8s.io v1beta1, v1alpha1), and the forks of GKE and Azure Fleet; discovery.k8s.io; about.k8s.io
// (KEP-2149). Not here: reading the resources (reflector.ts), their fields (trim.ts).

import type { ApiClient } from './api-client.ts';
import { isRecord } from '../objects/fields.ts';
import { TroubleError } from './trouble.ts';

/** The resources that are read of a member cluster. */
export type ResourceName = 'serviceimports' | 'serviceexports' | 'endpointslices' | 'clusterproperties';

/** A resource as it is served: the path of its collection over all namespaces. */
export interface ServedResource {
  readonly path: string;
  readonly apiVersion: string;
}

export function groupOf({ apiVersion }: ServedResource): string {
  return apiVersion.slice(0, apiVersion.indexOf('/'));
}

/** Groups of a resource and their versions, the ones that are preferred first. */
const WANTED: Readonly<Record<ResourceName, readonly (readonly [group: string, versions: readonly string[]])[]>> = {
  serviceimports: [
    ['multicluster.x-k8s.io', ['v1beta1', 'v1alpha1']],
    ['net.gke.io', ['v1']],
    ['networking.fleet.azure.com', ['v1alpha1']],
  ],
  serviceexports: [
    ['multicluster.x-k8s.io', ['v1beta1', 'v1alpha1']],
    ['net.gke.io', ['v1']],
    ['networking.fleet.azure.com', ['v1alpha1']],
  ],
  endpointslices: [['discovery.k8s.io', ['v1', 'v1beta1']]],
  clusterproperties: [['about.k8s.io', ['v1', 'v1beta1', 'v1alpha1']]],
};

export class Discovery {
  readonly #api: ApiClient;
  readonly #signal: AbortSignal;
  /** What the document of a path names, each asked once until `forget`; undefined: 404. */
  #documents = new Map<string, Promise<ReadonlySet<string> | undefined>>();

  constructor(api: ApiClient, signal: AbortSignal) {
    this.#api = api;
    this.#signal = signal;
  }

  /** How the resource is served now; undefined: not at all. Throws TroubleError. */
  async find(resource: ResourceName): Promise<ServedResource | undefined> {
    const served = await this.#read('/apis');
    let ended: string | undefined;
    for (const [group, versions] of WANTED[resource]) {
      for (const version of versions) {
        const apiVersion = `${group}/${version}`;
        if (served?.has(apiVersion) !== true) continue;
        const names = await this.#read(`/apis/${apiVersion}`);
        if (names === undefined) ended ??= apiVersion;
        else if (names.has(resource)) return { path: `/apis/${apiVersion}/${resource}`, apiVersion };
      }
    }
    // Not a word on whether the resource is there: a server that contradicts itself takes nothing away.
    if (ended === undefined) return undefined;
    this.forget();
    throw new TroubleError('answer', `/apis lists ${ended}, which is answered 404`);
  }

  /** What was found may have changed: asked again by the next `find`. */
  forget(): void {
    this.#documents = new Map();
  }

  #read(path: string): Promise<ReadonlySet<string> | undefined> {
    const documents = this.#documents;
    let document = documents.get(path);
    if (document === undefined) {
      document = this.#readNames(path).catch((error: unknown) => {
        documents.delete(path);
        throw error;
      });
      documents.set(path, document);
    }
    return document;
  }

  async #readNames(path: string): Promise<ReadonlySet<string> | undefined> {
    try {
      const document = await this.#api.json(path, this.#signal);
      return path === '/apis' ? versionsOf(document) : resourcesOf(document, path);
    } catch (error) {
      if (!(error instanceof TroubleError) || error.kind !== 'absent') throw error;
      // A version that has just ended is in the list of groups for a moment more.
      if (path !== '/apis') return undefined;
      throw new TroubleError('answer', `${error.message} at /apis: no Kubernetes API server`, error.code);
    }
  }
}

/** `group/version` of an APIGroupList. */
function versionsOf(document: unknown): Set<string> {
  const found = new Set<string>();
  if (!isRecord(document) || !Array.isArray(document['groups'])) {
    throw new TroubleError('body', '/apis is not a list of API groups');
  }
  for (const group of document['groups'] as unknown[]) {
    const versions: unknown = isRecord(group) ? group['versions'] : undefined;
    if (!Array.isArray(versions)) continue;
    for (const version of versions as unknown[]) {
      if (isRecord(version) && typeof version['groupVersion'] === 'string') found.add(version['groupVersion']);
    }
  }
  return found;
}

/** Names of an APIResourceList. */
function resourcesOf(document: unknown, path: string): Set<string> {
  const found = new Set<string>();
  const resources: unknown = isRecord(document) ? document['resources'] : undefined;
  if (!Array.isArray(resources)) throw new TroubleError('body', `${path} is not a list of API resources`);
  for (const resource of resources as unknown[]) {
    if (isRecord(resource) && typeof resource['name'] === 'string') found.add(resource['name']);
  }
  return found;
}
