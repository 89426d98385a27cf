// What a zone has besides services: SOA, NS with names that resolve, the schema version, and the negative answers.
// Sources: RFC 1035 3.3.13 (SOA), RFC 2308 (negative TTL), KEP-1645 specification 2.2 (dns-version), RFC 1982 (serial).

import { HEADER_OCTETS, classIN, type } from '../dns/iana.ts';
import { setKind } from '../dns/image.ts';
import type { Draft } from './draft.ts';
import type { ZoneRow } from './image-writer.ts';
import { concatWire, labelsToWire, nameToWire } from './wire.ts';

/** The DNS schema that these answers follow, and its TTL in seconds (KEP-1645 specification 2.2). */
const SCHEMA_VERSION = '1.0.0';
const SCHEMA_TTL_SECONDS = 28_800;
/** SOA timers in seconds, as CoreDNS gives them: nobody but a secondary reads them. */
const REFRESH = 7_200;
const RETRY = 1_800;
const EXPIRE = 86_400;
const SOA_TIMERS_OCTETS = 20;

/** A name server of the zone: an absolute name without its last dot, and its addresses where the name is in the zone. */
export interface NameServer {
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface ZoneSettings {
  /** The apex without its last dot, lower case. */
  readonly zone: string;
  readonly ttlSeconds: number;
  /** TTL and MINIMUM of the SOA. */
  readonly negativeTtlSeconds: number;
  readonly nameServers: readonly NameServer[];
}

/** The zone's own SOA RDATA at `serial`, names in full. */
function soaNames(settings: ZoneSettings): { mname: Uint8Array; rname: Uint8Array } {
  const { zone, nameServers } = settings;
  return { mname: nameToWire(nameServers[0]?.name ?? zone), rname: nameToWire(`hostmaster.${zone}`) };
}

/** Drafts the entry of the apex: SOA, and NS with the addresses of its name servers that lie in the zone. */
export function draftApex(draft: Draft, number: number, settings: ZoneSettings, serial: number): void {
  const { mname, rname } = soaNames(settings);
  draft.begin(number, 0);
  draft.wire(nameToWire(settings.zone));
  draft.endName();
  const rdlength = mname.length + rname.length + SOA_TIMERS_OCTETS;
  beginBody(draft, type.SOA);
  draft.record(HEADER_OCTETS, type.SOA, settings.negativeTtlSeconds, rdlength);
  for (const octet of concatWire(mname, rname)) draft.byte(octet);
  soaTimers(draft, serial, settings.negativeTtlSeconds);
  endBody(draft, 1, 0, draft.setOctets - 8);
  draftNameServers(draft, settings);
}

function draftNameServers(draft: Draft, settings: ZoneSettings): void {
  if (settings.nameServers.length === 0) return;
  beginBody(draft, type.NS);
  const question = HEADER_OCTETS + draft.nameOctets + 4;
  const owners: number[] = [];
  for (const { name } of settings.nameServers) {
    const target = nameToWire(name);
    draft.record(HEADER_OCTETS, type.NS, settings.ttlSeconds, target.length);
    owners.push(question + draft.setOctets - 8);
    for (const octet of target) draft.byte(octet);
  }
  const answerOctets = draft.setOctets - 8;
  let additional = 0;
  settings.nameServers.forEach((server, i) => {
    for (const address of inZone(settings.zone, server.name) ? server.addresses : []) {
      const family = address.includes(':') ? 6 : 4;
      draft.record(owners[i]!, family === 4 ? type.A : type.AAAA, settings.ttlSeconds, family === 4 ? 4 : 16);
      draft.address(address, family);
      additional++;
    }
  });
  endBody(draft, settings.nameServers.length, additional, answerOctets);
}

/** Drafts `dns-version.<zone>` TXT. */
export function draftSchemaVersion(draft: Draft, number: number, zone: string): void {
  draft.begin(number, 0);
  draft.wire(nameToWire(`dns-version.${zone}`));
  draft.endName();
  beginBody(draft, type.TXT);
  draft.record(HEADER_OCTETS, type.TXT, SCHEMA_TTL_SECONDS, 1 + SCHEMA_VERSION.length);
  draft.byte(SCHEMA_VERSION.length);
  for (let i = 0; i < SCHEMA_VERSION.length; i++) draft.byte(SCHEMA_VERSION.charCodeAt(i));
  endBody(draft, 1, 0, draft.setOctets - 8);
}

/** The names of the zone's name servers and of what lies between them and the apex, with their addresses (none: empty non-terminal). */
export function nameServerNames(settings: ZoneSettings): Map<string, readonly string[]> {
  const names = new Map<string, readonly string[]>();
  for (const { name, addresses } of settings.nameServers) {
    if (!inZone(settings.zone, name)) continue;
    names.set(name, [...(names.get(name) ?? []), ...addresses]);
    for (let above = parent(name); above !== settings.zone; above = parent(above)) {
      if (!names.has(above)) names.set(above, []);
    }
  }
  return names;
}

/** The row of the zone table: the SOA of negative answers, its names as pointers into the question where they lie in the zone. */
export function zoneRowOf(settings: ZoneSettings, serial: number, mode: number): ZoneRow {
  const apex = nameToWire(settings.zone);
  const octets: number[] = [0, 0, 0, type.SOA, 0, classIN, ...uint32(settings.negativeTtlSeconds), 0, 0];
  const patches = [0];
  for (const name of [settings.nameServers[0]?.name ?? settings.zone, `hostmaster.${settings.zone}`]) {
    if (!inZone(settings.zone, name)) octets.push(...nameToWire(name));
    else {
      octets.push(...labelsToWire(name.slice(0, -settings.zone.length - 1)));
      patches.push(octets.length);
      octets.push(0, 0);
    }
  }
  for (const field of [serial, REFRESH, RETRY, EXPIRE, settings.negativeTtlSeconds]) octets.push(...uint32(field));
  const rdlength = octets.length - 12;
  octets[10] = rdlength >>> 8;
  octets[11] = rdlength & 0xff;
  return { apex, ttlSeconds: settings.ttlSeconds, negative: Uint8Array.from(octets), patches, modes: [mode] };
}

function inZone(zone: string, name: string): boolean {
  return name === zone || name.endsWith('.' + zone);
}

function parent(name: string): string {
  return name.slice(name.indexOf('.') + 1);
}

function uint32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

function soaTimers(draft: Draft, serial: number, negativeTtlSeconds: number): void {
  for (const field of [serial, REFRESH, RETRY, EXPIRE, negativeTtlSeconds]) draft.uint32(field);
}

function beginBody(draft: Draft, rrtype: number): void {
  draft.beginSet(rrtype, setKind.BODY);
  draft.word(0);
  draft.word(0);
}

function endBody(draft: Draft, answers: number, additional: number, answerOctets: number): void {
  draft.setWord(0, answers | (additional << 16));
  draft.setWord(1, answerOctets);
  draft.endSet();
}
