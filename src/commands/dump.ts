// `clusterset-dns dump`: the zone as a master file that Knot and NSD load, or as JSON, read back from an image built here.
// What cannot stand in a master file (a name that answers SERVFAIL) is a comment there, and a line on stderr.

import process from 'node:process';
import type { DumpOptions } from '../config.ts';
import { findingText } from '../k8s/manifests/manifests.ts';
import { typeNames } from '../dns/iana.ts';
import { ImageWriter } from '../zones/image-writer.ts';
import { mergeService } from '../zones/merge.ts';
import { rdataToText, rrsets } from '../zones/readback.ts';
import { Zone } from '../zones/zone.ts';
import { readLabFleet } from './lab-fleet.ts';
import { masterFile, masterJson } from './masterfile.ts';
import type { MasterRecord } from './masterfile.ts';

/** Where name servers of a dumped zone are: nobody is asked while it is only printed. */
const LOOPBACK = ['127.0.0.1'];

/** Prints the zone of a lab; resolves with the exit code. Findings go to `complain`, a line each. */
export async function dump(
  options: DumpOptions,
  out: (text: string) => void,
  complain: (line: string) => void = (line) => process.stderr.write(`${line}\n`),
): Promise<number> {
  const { store, findings } = await readLabFleet(options.lab);
  for (const finding of findings) complain(findingText(finding));
  const zone = new Zone(new ImageWriter(0), {
    zone: options.zone,
    ttlSeconds: options.ttl,
    negativeTtlSeconds: options.negativeTtl,
    nameServers: [{ name: `ns.dns.${options.zone}`, addresses: LOOPBACK }],
  });
  const fleet = store.fleet();
  for (const key of store.keys()) {
    const objects = store.gather(key);
    zone.apply(objects.namespace, objects.name, mergeService(objects, fleet));
  }
  zone.seal(Date.now() / 1000);
  const records: MasterRecord[] = [];
  const comments = [`zone ${options.zone}. of ${String(fleet.clusters.size)} clusters, ${String(zone.size)} services`];
  for (const { owner, type, ttlSeconds, rdata, failure } of rrsets(zone.writer, options.ttl)) {
    const typeName = typeNames.get(type)!;
    if (failure !== '') {
      const line = `${owner} ${typeName} answers SERVFAIL: ${failure}`;
      comments.push(line);
      complain(line);
    }
    for (const data of rdata)
      records.push({ name: owner, type: typeName, ttl: ttlSeconds, data: rdataToText(type, data) });
  }
  records.sort(byOwner);
  const lines = options.output === 'json' ? masterJson(records) : masterFile(records, comments);
  for (const line of lines) out(line);
  return 0;
}

/** The apex first, then by labels from the right (the order of RFC 4034 6.1), so that a service's names stand together. */
function byOwner(a: MasterRecord, b: MasterRecord): number {
  return compare(sortKey(a.name), sortKey(b.name)) || compare(a.type, b.type) || compare(a.data, b.data);
}

function sortKey(name: string): string {
  return name.split('.').reverse().join('\0');
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
