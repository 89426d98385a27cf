// SRV sets of an entry: ready-made where all of it fits a UDP message, by reference to the endpoints' entries where not.
// A set by reference costs a word an endpoint; ready-made it would cost its name again in every set (bench `image`).
// Sources: RFC 2782 (targets are not compressed; additional addresses), KEP-1645 2.4 (priority 0, weight 100).

import {
  EDNS_UDP_OCTETS,
  HEADER_OCTETS,
  OPT_OCTETS,
  RECORD_FIXED_OCTETS,
  SRV_FIXED_OCTETS,
  SRV_PRIORITY,
  SRV_WEIGHT,
  type,
} from '../dns/iana.ts';
import { entry, setKind } from '../dns/image.ts';
import type { ImageViews } from '../dns/image.ts';
import type { Draft } from './draft.ts';
import type { HostTable } from './hosts.ts';

const A_RECORD_OCTETS = RECORD_FIXED_OCTETS + 4;
const AAAA_RECORD_OCTETS = RECORD_FIXED_OCTETS + 16;
/** QTYPE and QCLASS behind the question's name. */
const QUESTION_FIXED_OCTETS = 4;
/** Answers of a ready-made set stay within a message over TCP, whatever its question. */
const MOST_BODY_OCTETS = 64_000;
const INT32_MAX = 0x7fff_ffff;

export interface Addresses {
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

/** Hosts, by their numbers in the table, that have the same port numbers. */
export interface SrvRun {
  readonly numbers: readonly number[];
  readonly hosts: readonly number[];
}

/** First octet behind the question of the entry being drafted. */
function questionEnd(draft: Draft): number {
  return HEADER_OCTETS + draft.nameOctets + QUESTION_FIXED_OCTETS;
}

/**
 * The SRV set of a ClusterSetIP name: one target, the service itself, whose name begins `skip` octets behind the
 * beginning of the question's name, so additional records can point there.
 */
export function targetSet(
  draft: Draft,
  numbers: readonly number[],
  target: Uint8Array,
  skip: number,
  addresses: Addresses,
  ttlSeconds: number,
): void {
  const size = RECORD_FIXED_OCTETS + SRV_FIXED_OCTETS + target.length;
  const shown = numbers.slice(0, Math.floor(MOST_BODY_OCTETS / size));
  beginBody(draft);
  for (const number of shown) {
    srvRecord(draft, number, ttlSeconds, target.length);
    for (const octet of target) draft.byte(octet);
  }
  draft.setWord(1, shown.length * size);
  addressRecords(draft, HEADER_OCTETS + skip, addresses, ttlSeconds);
  draft.setWord(0, shown.length | ((addresses.v4.length + addresses.v6.length) << 16));
  draft.endSet();
}

/** The SRV set of a headless name over all runs; none where there is no run. The targets' names stand in the image. */
export function serviceSet(
  draft: Draft,
  table: HostTable,
  runs: readonly SrvRun[],
  image: ImageViews,
  ttlSeconds: number,
): void {
  if (runs.length === 0) return;
  let answers = 0;
  let additional = 0;
  let endpoints = 0;
  for (const { numbers, hosts } of runs) {
    endpoints += hosts.length;
    for (const host of hosts) {
      const { v4, v6 } = table.families(table.first[host]!, table.first[host + 1]!);
      answers += numbers.length * (RECORD_FIXED_OCTETS + SRV_FIXED_OCTETS + table.nameOctets[host]!);
      additional += v4 * A_RECORD_OCTETS + v6 * AAAA_RECORD_OCTETS;
    }
  }
  const isSmall = questionEnd(draft) + answers + additional + OPT_OCTETS <= EDNS_UDP_OCTETS;
  if (isSmall) readyMade(draft, table, runs, image, answers, ttlSeconds);
  else byReference(draft, table, runs, Math.min(answers, INT32_MAX), endpoints);
}

function readyMade(
  draft: Draft,
  table: HostTable,
  runs: readonly SrvRun[],
  image: ImageViews,
  answerOctets: number,
  ttlSeconds: number,
): void {
  beginBody(draft);
  const question = questionEnd(draft);
  const owners: { owner: number; host: number }[] = [];
  let answers = 0;
  for (const { numbers, hosts } of runs) {
    for (const host of hosts) {
      // Behind the body's two words, the records begin where the question ends.
      const first = question + draft.setOctets - 8;
      owners.push({ owner: first + RECORD_FIXED_OCTETS + SRV_FIXED_OCTETS, host });
      const name = table.reference[host]! + entry.NAME * 4;
      const nameOctets = table.nameOctets[host]!;
      for (const number of numbers) {
        srvRecord(draft, number, ttlSeconds, nameOctets);
        for (let i = 0; i < nameOctets; i++) draft.byte(image.octets[name + i]!);
        answers++;
      }
    }
  }
  draft.setWord(1, answerOctets);
  let additional = 0;
  for (const { owner, host } of owners) {
    const endpoints = table.endpoints.slice(table.first[host], table.first[host + 1]);
    const ofFamily = (wanted: 4 | 6): string[] =>
      endpoints.filter(({ family }) => family === wanted).map(({ address }) => address);
    addressRecords(draft, owner, { v4: ofFamily(4), v6: ofFamily(6) }, ttlSeconds);
    additional += endpoints.length;
  }
  draft.setWord(0, answers | (additional << 16));
  draft.endSet();
}

function byReference(
  draft: Draft,
  table: HostTable,
  runs: readonly SrvRun[],
  answerOctets: number,
  endpoints: number,
): void {
  draft.beginSet(type.SRV, setKind.SERVICES);
  draft.word(answerOctets);
  draft.word(endpoints);
  for (const { numbers, hosts } of runs) {
    draft.word(numbers.length);
    draft.word(hosts.length);
    for (const number of numbers) draft.word(number);
    for (const host of hosts) draft.word(table.reference[host]!);
  }
  draft.endSet();
}

function beginBody(draft: Draft): void {
  draft.beginSet(type.SRV, setKind.BODY);
  draft.word(0);
  draft.word(0);
}

/** An SRV record up to its target, which the caller appends. */
function srvRecord(draft: Draft, port: number, ttlSeconds: number, targetOctets: number): void {
  draft.record(HEADER_OCTETS, type.SRV, ttlSeconds, SRV_FIXED_OCTETS + targetOctets);
  draft.uint16(SRV_PRIORITY);
  draft.uint16(SRV_WEIGHT);
  draft.uint16(port);
}

function addressRecords(draft: Draft, owner: number, addresses: Addresses, ttlSeconds: number): void {
  for (const address of addresses.v4) {
    draft.record(owner, type.A, ttlSeconds, 4);
    draft.address(address, 4);
  }
  for (const address of addresses.v6) {
    draft.record(owner, type.AAAA, ttlSeconds, 16);
    draft.address(address, 6);
  }
}
