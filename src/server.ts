// The composition root of `serve`: who is started, in what order, and who stops whom.
// Sockets first (a port in use is said at once, and known names are answered as they come), then the admin port, then the
// clusters. Nothing here decides an answer.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { formatAddress } from './config.ts';
import type { Address, Config, Nameserver } from './config.ts';
import { DataPlane } from './dns/data-plane.ts';
import { ListenError } from './dns/listen-error.ts';
import { isWildcard, outwardAddresses } from './dns/local-address.ts';
import { FleetSources } from './fleet-sources.ts';
import { Publisher } from './k8s/publisher.ts';
import { FleetStore } from './k8s/store.ts';
import { limits } from './limits.ts';
import type { Log } from './log.ts';
import { keepYoungGenerationSmall } from './memory.ts';
import { createAdmin } from './ops/admin.ts';
import { stopSignal } from './signals.ts';
import { ImageWriter } from './zones/image-writer.ts';
import { Zone } from './zones/zone.ts';

/** Serves until a signal ends it; resolves with the exit code. `reread`: the configuration as it is now. */
export async function serve(config: Config, log: Log, reread: () => Promise<Config>): Promise<number> {
  keepYoungGenerationSmall();
  const signal = stopSignal();
  // Whoever started us may read the lines to try, or not.
  process.stdout.removeAllListeners('error');
  process.stdout.on('error', () => undefined);
  const zone = new Zone(new ImageWriter(randomBytes(4).readInt32LE()), {
    zone: config.zone,
    ttlSeconds: config.ttlSeconds,
    negativeTtlSeconds: config.negativeTtlSeconds,
    nameServers: config.nameservers ?? [ownName(config)],
  });
  zone.seal(Date.now() / 1000);
  const store = new FleetStore({ addressConflict: config.addressConflict });
  const publisher = new Publisher(store, zone, (service, error) => {
    log.error({ service, error: error.message }, 'service not published, what stood for it stays');
  });
  let plane: DataPlane | undefined;
  let sources: FleetSources | undefined;
  let isStopping = false;
  const admin =
    config.admin === undefined
      ? undefined
      : createAdmin({
          address: config.admin,
          log,
          ready: () => {
            const { ready, clusters } = sources?.fleet.readiness() ?? { ready: false, clusters: [] };
            return { ready: ready && !isStopping, clusters };
          },
        });
  const seal = setInterval(() => {
    zone.seal(Date.now() / 1000);
    publisher.retry();
  }, limits.zone.sealMillis);
  const preparing = FleetSources.prepare({ config, reread, store, publisher, zone, log });
  preparing.catch(() => undefined);
  try {
    plane = await startDataPlane(config, zone, log);
    await admin?.start();
    log.info(
      { dns: plane.listening.map(formatAddress).join(' '), udp: plane.engine, admin: adminText(config.admin) },
      'listening',
    );
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => undefined);
    const ready = preparing.then(async (prepared) => {
      sources = prepared;
      await prepared.open(failed.reject);
      await prepared.fleet.ready;
      return true;
    });
    ready.catch(() => undefined);
    // Told to stop before it was ready: nobody was promised an answer.
    if (!(await Promise.race([ready, failed.promise, signal.stop.then(() => false)]))) return 0;
    zone.seal(Date.now() / 1000);
    log.info({ clusters: store.fleet().clusters.size, services: zone.size, serial: zone.serial }, 'ready');
    for (const line of questionsToTry(zone, plane.listening)) process.stdout.write(`${line}\n`);
    await signal.stop;
    isStopping = true;
    log.info({ lameduck: `${String(config.lameduckMillis)}ms` }, 'stopping: not ready, answering on');
    await signal.lameduck(config.lameduckMillis);
    return 0;
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    log.error({}, error.message);
    return 1;
  } finally {
    clearInterval(seal);
    await sources?.close();
    await Promise.all([plane?.close(), admin?.close()]);
    signal.end();
  }
}

/** Two dig lines that a lab's owner can type at once: addresses of one service, SRV of another. */
function questionsToTry(zone: Zone, listening: readonly Address[]): string[] {
  const [where] = listening;
  const keys = [...zone.serviceKeys()].sort();
  const [first, second = first] = keys;
  if (where === undefined || first === undefined || second === undefined) return [];
  const name = (key: string): string => `${key.split('/').reverse().join('.')}.svc.${zone.settings.zone}`;
  const host = isWildcard(where.host) ? '127.0.0.1' : where.host;
  const dig = `dig @${host} -p ${String(where.port)}`;
  return ['try:', `  ${dig} ${name(first)}`, `  ${dig} ${name(second)} SRV`];
}

function startDataPlane(config: Config, zone: Zone, log: Log): Promise<DataPlane> {
  return DataPlane.start({
    image: zone.writer.buffer,
    listen: config.listen,
    workers: config.workers,
    udp: config.udp,
    tcpLimits: { ...limits.tcp, connections: connectionBound() },
    onHint: (message) => {
      log.warn({}, message);
    },
    onDeath: (reason) => {
      // The rest would answer for a part of the sockets only: an orchestrator restarts the whole.
      log.error({ error: reason.stack ?? String(reason) }, 'a data-plane thread died, exiting');
      process.exit(1);
    },
  });
}

/** TCP connections that the process's descriptors allow: at `ulimit -n` the kernel would refuse new ones, not old ones. */
function connectionBound(): number {
  let descriptors = Infinity;
  try {
    descriptors = Number(/^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity);
  } catch {
    // No such file but on Linux.
  }
  return Math.max(16, Math.min(limits.tcp.connections, descriptors - limits.tcp.reservedDescriptors));
}

function adminText(admin: Address | undefined): string {
  return admin === undefined ? 'off' : formatAddress(admin);
}

/** The zone's own name server: `ns.dns.<zone>` with the addresses that are listened on, a wildcard as this machine's. */
function ownName(config: Config): Nameserver {
  const addresses = config.listen.flatMap(({ host }) => (isWildcard(host) ? outwardAddresses(host) : [host]));
  return { name: `ns.dns.${config.zone}`, addresses: [...new Set(addresses)] };
}
