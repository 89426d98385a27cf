// Reading single fields of a Kubernetes object of any shape: what is no good is noted and left out, never thrown.
// Not here: which fields an object has (trim.ts). Names: RFC 1123 2.1 labels as Kubernetes writes them, in lower case.

import { limits } from '../../limits.ts';
import type { Protocol, ServicePort } from '../../zones/objects.ts';

/** A field that was left out: where it stood in the object, and why. */
export interface Refusal {
  readonly path: readonly (string | number)[];
  readonly reason: string;
}

export type RawObject = Readonly<Record<string, unknown>>;

/** A port's SRV owner name has an underscore before the port's name, and a label has 63 octets. */
const MAX_PORT_NAME_OCTETS = 62;
const SHOWN_CHARACTERS = 40;

export class Refusals {
  readonly list: Refusal[] = [];
  more = 0;

  add(path: readonly (string | number)[], reason: string): void {
    if (this.list.length < limits.objects.refusals) this.list.push({ path, reason });
    else this.more++;
  }
}

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** A DNS label as Kubernetes names have it (RFC 1123, lower case). */
export function isLabel(text: string): boolean {
  return LABEL.test(text);
}

/** One DNS label or more, as cluster ids (KEP-2149) and names of EndpointSlices are. */
export function isDnsName(text: string): boolean {
  return text.length <= 253 && text.split('.').every(isLabel);
}

export function isRecord(value: unknown): value is RawObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as a reason shows it: short, on one line. */
export function shown(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > SHOWN_CHARACTERS ? value.slice(0, SHOWN_CHARACTERS) + '…' : value);
  }
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return `${value as number | boolean | null}`;
}

export const NO_RECORD: RawObject = Object.freeze({});
const NONE: readonly never[] = Object.freeze([]);

/** The items of a list that may be absent or null; past `limit` they are refused. */
export function readList(
  value: unknown,
  path: readonly (string | number)[],
  limit: number,
  refusals: Refusals,
): readonly unknown[] {
  if (value === undefined || value === null) return NONE;
  if (!Array.isArray(value)) {
    refusals.add(path, `${shown(value)} is not a list`);
    return NONE;
  }
  const items: readonly unknown[] = value;
  if (items.length <= limit) return items;
  refusals.add([...path, limit], `only the first ${limit} of ${items.length} are read`);
  return items.slice(0, limit);
}

const PROTOCOLS: ReadonlyMap<string, Protocol> = new Map([
  ['TCP', 'tcp'],
  ['UDP', 'udp'],
  ['SCTP', 'sctp'],
]);

/** Ports of a ServiceImport, or of an EndpointSlice, where a port that is null means all of them and has no SRV. */
export function readPorts(
  value: unknown,
  path: readonly (string | number)[],
  isSlice: boolean,
  refusals: Refusals,
): readonly ServicePort[] {
  const items = readList(value, path, limits.objects.ports, refusals);
  if (items.length === 0) return NONE;
  const ports: ServicePort[] = [];
  for (const [i, item] of items.entries()) {
    if (!isRecord(item)) {
      refusals.add([...path, i], `${shown(item)} is not a port`);
      continue;
    }
    const number = item['port'];
    if (isSlice && (number === null || number === undefined)) continue;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 1 || number > 65535) {
      refusals.add([...path, i, 'port'], `${shown(number)} is not a port number`);
      continue;
    }
    const name = readPortName(item['name'], [...path, i, 'name'], refusals);
    const protocol = readProtocol(item['protocol'], [...path, i, 'protocol'], refusals);
    if (name !== undefined && protocol !== undefined) ports.push({ name, protocol, port: number });
  }
  return ports;
}

function readPortName(value: unknown, path: readonly (string | number)[], refusals: Refusals): string | undefined {
  if (value === undefined || value === null || value === '') return '';
  if (typeof value !== 'string' || value.length > 63 || !isLabel(value.toLowerCase())) {
    refusals.add(path, `${shown(value)} is not a DNS label`);
    return undefined;
  }
  if (value.length > MAX_PORT_NAME_OCTETS) {
    refusals.add(path, `${shown(value)} leaves no room for the underscore of its SRV name`);
    return undefined;
  }
  return value.toLowerCase();
}

function readProtocol(value: unknown, path: readonly (string | number)[], refusals: Refusals): Protocol | undefined {
  if (value === undefined || value === null || value === '') return 'tcp';
  const protocol = typeof value === 'string' ? PROTOCOLS.get(value.toUpperCase()) : undefined;
  if (protocol === undefined) refusals.add(path, `${shown(value)} is not TCP, UDP or SCTP`);
  return protocol;
}
