// dig as a decoder that shares nothing with this project: a command line's words, and what dig printed, as lines.

import { execFile, spawnSync } from 'node:child_process';
import t from 'tap';
import type { Server } from './server.ts';

/** Why tests with dig are skipped: it is not installed. Never where CI=true, which fails without it. */
export const withoutDig =
  process.env['CI'] !== 'true' && spawnSync('dig', ['-v']).error !== undefined ? 'dig is not installed' : false;

/** Status and flags, then the records of each section; TTL and class as dig prints them, the serial as SERIAL. */
export function dig(server: Server, words: string): Promise<string> {
  const fixed = ['@127.0.0.1', '-p', String(server.port), '+norecurse', '+noedns', '+tries=1', '+time=5', '+nocookie'];
  return new Promise((resolve, reject) => {
    execFile('dig', [...fixed, ...words.split(' ')], { encoding: 'utf8' }, (error, stdout) => {
      if (error === null) resolve(readDig(stdout));
      else reject(new Error(`dig ${words}: ${stdout}`));
    });
  });
}

function readDig(text: string): string {
  const lines: string[] = [];
  const status = /status: (\w+)/.exec(text)?.[1] ?? '';
  const flags = /flags: qr ?([a-z ]*);/.exec(text)?.[1] ?? '?';
  lines.push(`${status} ${flags}`.trim());
  let prefix: string | undefined;
  for (const line of text.split('\n')) {
    const section = /^;; (\w+) SECTION:/.exec(line)?.[1];
    if (section !== undefined) prefix = { ANSWER: '', AUTHORITY: 'auth: ', ADDITIONAL: 'add: ' }[section];
    else if (line === '' || line.startsWith(';;')) prefix = undefined;
    else if (prefix !== undefined && !line.startsWith(';')) {
      const record = line.replaceAll(/\s+/g, ' ').replace(/( SOA \S+ \S+) \d+/, '$1 SERIAL');
      lines.push(prefix + record);
    }
    const ede = /^; EDE: (.*)/.exec(line)?.[1];
    if (ede !== undefined) lines.push(`EDE ${ede}`);
    // Whatever else dig finds wrong with a message; that .local is mDNS's it says of every name here.
    if ((line.includes('WARNING') && !line.includes('Multicast DNS')) || line.includes('malformed')) lines.push(line);
  }
  return sortAddresses(lines).join('\n');
}

const byNumbers = new Intl.Collator('en', { numeric: true }).compare;

/** Addresses rotate: each run of one owner and type is sorted. */
function sortAddresses(lines: readonly string[]): string[] {
  const runs: string[][] = [];
  let before = '';
  for (const line of lines) {
    const key = /^(.*) (A|AAAA) \S+$/.exec(line)?.slice(1).join(' ') ?? '';
    if (key === '' || key !== before) runs.push([]);
    before = key;
    runs.at(-1)!.push(line);
  }
  return runs.flatMap((run) => run.sort(byNumbers));
}

/** dig's words; the lines it must print. */
export type DigCase = readonly [words: string, ...lines: string[]];

/** A subtest of dig command lines, each over UDP and over TCP. */
export function digs(server: Server, title: string, cases: readonly DigCase[]): void {
  void t.test(title, { skip: withoutDig }, async (t) => {
    for (const [words, ...lines] of cases) {
      for (const over of ['', '+tcp ']) {
        t.equal(await dig(server, over + words), lines.join('\n'), `dig ${over}${words}`);
      }
    }
  });
}

export const SOA_LINE =
  'auth: clusterset.local. 5 IN SOA ns.dns.clusterset.local. hostmaster.clusterset.local. SERIAL 7200 1800 86400 5';
export const ABSENT = ['NXDOMAIN aa', SOA_LINE] as const;
export const EMPTY = ['NOERROR aa', SOA_LINE] as const;
