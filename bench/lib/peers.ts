// The servers that are compared, each with one worker on a port of 127.0.0.1: ours as a person starts it, Knot and NSD on
// the zone file that our `dump` prints, and the echo floor. Their settings are what makes the comparison fair: no rate
// limit, no journal, minimal responses (as we answer), no second worker.

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { rcode } from '../../src/dns/iana.ts';
import { untilAnswered } from './ask.ts';
import { ZONE, questionsOf, writeLab } from './fleet.ts';
import { environment, freePort, root } from './stage.ts';
import type { Player, Stage } from './stage.ts';

const run = promisify(execFile);
const command = path.join(root, 'bin', 'clusterset-dns.js');

export interface Server {
  readonly name: string;
  readonly port: number;
  readonly player: Player;
}

/** Ours, Knot and NSD, serving the fleet of fleet.ts. */
export interface Contest {
  readonly ours: Server;
  readonly knot: Server;
  readonly nsd: Server;
}

/** Starts all three and waits until they answer. */
export async function startContest(stage: Stage): Promise<Contest> {
  const lab = stage.file('lab');
  await writeLab(lab);
  const options = { env: environment(), maxBuffer: 64 << 20 };
  const { stdout } = await run(process.execPath, [command, 'dump', '--lab', lab], options);
  const zoneFile = stage.file(`${ZONE}.zone`);
  await writeFile(zoneFile, stdout);
  const contest = {
    ours: await startOurs(stage, lab),
    knot: await startKnot(stage, zoneFile),
    nsd: await startNsd(stage, zoneFile),
  };
  // A name that is missing is NXDOMAIN only once the whole fleet is there.
  const [question] = questionsOf('nxdomain');
  for (const { port, player } of Object.values(contest))
    await answering(port, player, () => untilAnswered(port, question!, rcode.NXDOMAIN));
  return contest;
}

/** Waits for the server, or for its end, whichever comes first. */
async function answering(port: number, player: Player, wait: () => Promise<void>): Promise<void> {
  const over = player.ended.then(() => player.line()).then(() => undefined);
  await Promise.race([wait(), over]).catch((error: unknown) => {
    throw new Error(`${player.name} on port ${String(port)}: ${String(error)}`);
  });
}

async function startOurs(stage: Stage, lab: string): Promise<Server> {
  const port = await freePort();
  const listen = ['--listen', `127.0.0.1:${String(port)}`, '--admin', 'off', '--lameduck', '0'];
  const args = [command, 'serve', '--lab', lab, '--workers', '1', ...listen];
  return { name: 'ours', port, player: stage.start('ours', process.execPath, args) };
}

async function startKnot(stage: Stage, zoneFile: string): Promise<Server> {
  const port = await freePort();
  const dir = stage.file('knot');
  await mkdir(dir);
  const config = `server:
    rundir: "${dir}"
    listen: 127.0.0.1@${String(port)}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "${dir}"
log:
  - target: stderr
    any: warning
zone:
  - domain: ${ZONE}
    storage: "${path.dirname(zoneFile)}"
    file: "${path.basename(zoneFile)}"
    zonefile-sync: -1
    journal-content: none
`;
  await writeFile(path.join(dir, 'knot.conf'), config);
  return { name: 'Knot', port, player: stage.start('knotd', 'knotd', ['-c', path.join(dir, 'knot.conf')]) };
}

async function startNsd(stage: Stage, zoneFile: string): Promise<Server> {
  const port = await freePort();
  const dir = stage.file('nsd');
  await mkdir(dir);
  const config = `server:
    ip-address: 127.0.0.1@${String(port)}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "${dir}"
    pidfile: "${dir}/nsd.pid"
    database: ""
    zonelistfile: "${dir}/zone.list"
    xfrdfile: "${dir}/xfrd.state"
    xfrdir: "${dir}"
    logfile: "${dir}/log"
    minimal-responses: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
    tcp-count: 100
    tcp-query-count: 0
remote-control:
    control-enable: no
zone:
    name: ${ZONE}
    zonefile: "${zoneFile}"
`;
  await writeFile(path.join(dir, 'nsd.conf'), config);
  return { name: 'NSD', port, player: stage.start('nsd', 'nsd', ['-d', '-c', path.join(dir, 'nsd.conf')]) };
}

/** The UDP engine with nothing behind it: what a query costs at least. */
export async function startEcho(stage: Stage): Promise<Server> {
  const player = stage.child('echo', {});
  return { name: 'echo', port: Number(await player.line()), player };
}
