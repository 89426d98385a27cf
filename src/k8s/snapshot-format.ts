// What stands in a snapshot's file: a first line that says what it is, a line of JSON for every object, and a last line
// that seals all before it. Not here: files (snapshot.ts). A reader takes what was sealed whole, or gives the reason why
// not; what it means to a later version of this program is the format's number to say.

import { createHash } from 'node:crypto';
import type { EndpointSlice, Protocol, ServicePort, ServiceType } from '../zones/objects.ts';
import { isRecord } from './objects/fields.ts';
import { isPacked, packEndpoints } from './objects/packed-endpoints.ts';
import { PackedSlice } from './objects/packed-slice.ts';
import type { FleetObject } from './objects/trim.ts';

/** What one cluster held. */
export interface ClusterSnapshot {
  readonly cluster: string;
  /** Names the source it was read from; under the same id, one of another source means nothing. */
  readonly source: string;
  /** The last contact, in milliseconds since 1970. */
  readonly asOfMillis: number;
  readonly objects: readonly FleetObject[];
}

export interface SnapshotRefusal {
  readonly refused: string;
}

const MAGIC = 'clusterset-dns snapshot ';
/** Goes up with every change of a line's fields, and of what `packEndpoints` writes. */
const FORMAT = 1;
const NEWLINE = 0x0a;
const FIRST_LINE = new RegExp(`^${MAGIC}(\\d{1,9}) (\\{.*\\})$`, 's');
const LAST_LINE = /^sha256 ([0-9a-f]{64}) (\d{1,15})\n$/;

type Header = Omit<ClusterSnapshot, 'objects'>;

/** Writes the text of one snapshot: `first`, a line an object, `last`; each is handed to `seal` in between. */
export class SnapshotWriter {
  readonly #hash = createHash('sha256');
  #octets = 0;

  first({ cluster, source, asOfMillis }: Header, objects: number): string {
    return `${MAGIC}${FORMAT} ${JSON.stringify({ cluster, source, asOfMillis, objects })}\n`;
  }

  object(object: FleetObject): string {
    return JSON.stringify(fieldsOf(object)) + '\n';
  }

  /** The octets of text that is written next. */
  seal(text: string): Buffer {
    const octets = Buffer.from(text);
    this.#hash.update(octets);
    this.#octets += octets.length;
    return octets;
  }

  last(): Buffer {
    return Buffer.from(`sha256 ${this.#hash.digest('hex')} ${this.#octets}\n`);
  }
}

function fieldsOf({ kind, object }: FleetObject): readonly unknown[] {
  const { namespace, name } = object;
  if (kind === 'ServiceExport') return ['export', namespace, name, object.valid];
  const ports = object.ports.map((port) => [port.name, port.protocol, port.port]);
  if (kind === 'ServiceImport') {
    const { type, ips, createdSeconds, ipsFromSlices } = object;
    // JSON writes Infinity as null.
    return ['import', namespace, name, type, ips, ports, createdSeconds, ipsFromSlices];
  }
  const { service, form, sourceCluster, addressType } = object;
  const packed = object instanceof PackedSlice ? object.packed : packEndpoints(object.endpoints);
  // Half of the octets of JSON's own escapes, and read several times as fast.
  const endpoints = Buffer.from(packed, 'latin1').toString('base64');
  return ['slice', namespace, name, service, form, sourceCluster, addressType, ports, endpoints];
}

/** The snapshot that a file's octets hold, or why they are refused. */
export function readSnapshot(octets: Buffer): ClusterSnapshot | SnapshotRefusal {
  const firstEnd = octets.indexOf(NEWLINE);
  const [, format, json] = FIRST_LINE.exec(octets.toString('utf8', 0, Math.max(0, firstEnd))) ?? [];
  if (format === undefined || json === undefined) {
    return refuse(octets.toString('latin1', 0, MAGIC.length) === MAGIC ? 'is cut off' : 'is no snapshot');
  }
  if (Number(format) !== FORMAT) return refuse(`is of format ${format}, and this program reads format ${FORMAT}`);
  const lastAt = octets.lastIndexOf(NEWLINE, octets.length - 2) + 1;
  const [, digest, length] = LAST_LINE.exec(octets.toString('latin1', lastAt, lastAt + 128)) ?? [];
  if (Number(length) !== lastAt) return refuse('is cut off');
  const body = octets.subarray(0, lastAt);
  if (createHash('sha256').update(body).digest('hex') !== digest) return refuse('has a wrong checksum');
  const header = readHeader(parse(json));
  if (header === undefined) return refuse('has a first line that cannot be read');
  const objects: FleetObject[] = [];
  for (let at = firstEnd + 1; at < lastAt;) {
    const end = body.indexOf(NEWLINE, at);
    const object = readObject(parse(body.toString('utf8', at, end)));
    if (object === undefined) return refuse(`has a line ${objects.length + 2} that cannot be read`);
    objects.push(object);
    at = end + 1;
  }
  if (objects.length !== header.count) return refuse(`has ${objects.length} objects of ${header.count}`);
  const { cluster, source, asOfMillis } = header;
  return { cluster, source, asOfMillis, objects };
}

function refuse(refused: string): SnapshotRefusal {
  return { refused };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readHeader(value: unknown): (Header & { readonly count: number }) | undefined {
  if (!isRecord(value)) return undefined;
  const { cluster, source, asOfMillis, objects: count } = value;
  if (typeof cluster !== 'string' || typeof source !== 'string' || typeof asOfMillis !== 'number') return undefined;
  if (typeof count !== 'number') return undefined;
  return { cluster, source, asOfMillis, count };
}

/** The object of a line. The seal says that we wrote it, so this only keeps types true. */
function readObject(line: unknown): FleetObject | undefined {
  if (!isList(line)) return undefined;
  const [tag, namespace, name, ...fields] = line;
  if (typeof namespace !== 'string' || typeof name !== 'string') return undefined;
  if (tag === 'slice') return readSlice(namespace, name, fields);
  if (tag === 'import') return readImport(namespace, name, fields);
  const [valid] = fields;
  if (tag !== 'export' || typeof valid !== 'boolean') return undefined;
  return { kind: 'ServiceExport', object: { namespace, name, valid } };
}

function readImport(namespace: string, name: string, fields: readonly unknown[]): FleetObject | undefined {
  const [type, ips, portFields, created, ipsFromSlices] = fields;
  const ports = readPorts(portFields);
  const createdSeconds = created === null ? Infinity : created;
  if (!isServiceType(type) || !isTexts(ips) || ports === undefined) return undefined;
  if (typeof createdSeconds !== 'number' || typeof ipsFromSlices !== 'boolean') return undefined;
  return { kind: 'ServiceImport', object: { namespace, name, type, ips, ports, createdSeconds, ipsFromSlices } };
}

function readSlice(namespace: string, name: string, fields: readonly unknown[]): FleetObject | undefined {
  const [service, form, sourceCluster, addressType, portFields, endpoints] = fields;
  const ports = readPorts(portFields);
  if (typeof service !== 'string' || typeof sourceCluster !== 'string' || ports === undefined) return undefined;
  if (!isForm(form) || !isAddressType(addressType) || typeof endpoints !== 'string') return undefined;
  const packed = Buffer.from(endpoints, 'base64').toString('latin1');
  if (!isPacked(packed)) return undefined;
  const object = new PackedSlice({ namespace, name, service, form, sourceCluster, addressType, ports, packed });
  return { kind: 'EndpointSlice', object };
}

function readPorts(value: unknown): readonly ServicePort[] | undefined {
  if (!isList(value)) return undefined;
  const ports: ServicePort[] = [];
  for (const fields of value) {
    if (!isList(fields)) return undefined;
    const [name, protocol, port] = fields;
    if (typeof name !== 'string' || !isProtocol(protocol) || typeof port !== 'number') return undefined;
    ports.push({ name, protocol, port });
  }
  return ports;
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isTexts(value: unknown): value is readonly string[] {
  return isList(value) && value.every((item) => typeof item === 'string');
}

function isServiceType(value: unknown): value is ServiceType {
  return value === 'ClusterSetIP' || value === 'Headless';
}

function isForm(value: unknown): value is EndpointSlice['form'] {
  return value === 'native' || value === 'mirrored';
}

function isAddressType(value: unknown): value is EndpointSlice['addressType'] {
  return value === 'IPv4' || value === 'IPv6' || value === 'FQDN';
}

function isProtocol(value: unknown): value is Protocol {
  return value === 'tcp' || value === 'udp' || value === 'sctp';
}
