// The objects of a chaos run as its API servers are sent them: each service's last state. Not here: which states there were.

import type { RawObject } from '../support/api/model.ts';
import { mirroredSlice, nativeSlice, serviceExport, serviceImport } from '../support/api/objects.ts';
import type { Contribution, Service } from './support-truth.ts';

export const NAMESPACE = 'chaos';

export function importOf({ name, kind, contributions }: Service): RawObject {
  const ips = contributions[0]!.slice.last.split(',');
  return serviceImport(NAMESPACE, name, kind === 'ips' ? { ips } : { type: 'Headless' });
}

export function sliceOf({ name, kind }: Service, contribution: Contribution): RawObject {
  const { slice: state, cluster } = contribution;
  const addresses = state.last === '' ? [] : state.last.split(',');
  const endpoints = addresses.map((address, i) => ({
    ...{ addresses: [address], conditions: { ready: true } },
    ...(hasHostnames(contribution) ? { hostname: `pod-${i}` } : {}),
  }));
  const slice = sliceIdOf(contribution).name;
  return kind === 'native'
    ? nativeSlice(NAMESPACE, slice, name, { endpoints })
    : mirroredSlice(NAMESPACE, slice, name, `ext-${cluster.id}`, { endpoints });
}

/** The first slice of a cluster gives its endpoints names. */
export function hasHostnames({ key }: Contribution): boolean {
  return key.endsWith('-x');
}

export function sliceIdOf({ key }: Contribution): { resource: 'EndpointSlice'; namespace: string; name: string } {
  return { resource: 'EndpointSlice', namespace: NAMESPACE, name: key.slice(key.indexOf('/') + 1) };
}

/** What one cluster holds of these services. */
export function objectsOf(services: readonly Service[], member: number): RawObject[] {
  return services.flatMap((service) => {
    const own = service.contributions.filter(({ cluster }) => cluster.number === member);
    if (own.length === 0) return [];
    const slices = service.kind === 'ips' ? [] : own.map((contribution) => sliceOf(service, contribution));
    const exports = service.kind === 'native' ? [serviceExport(NAMESPACE, service.name)] : [];
    return [importOf(service), ...exports, ...slices];
  });
}
