/**
 * The image under concurrent readers: threads ask without end while the writer replaces whole services. Every record
 * carries its service's version, so half an answer, a mix of two, a lost name or memory used too early shows itself.
 * Ten seconds unless IMAGE_READERS_SECONDS says otherwise.
 */
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import type { MergedEndpoint } from '../../src/zones/objects.ts';
import { Zone } from '../../src/zones/zone.ts';
import { ZONE, headless, port, settings } from './support-services.ts';
import { endpointsOf, type ReaderTask } from './support-reader.ts';

const seconds = Number(process.env['IMAGE_READERS_SECONDS'] ?? 10);
const READERS = 2;
const ALWAYS = 30;
const SOMETIMES = 20;
/** The writer goes on for so long before it looks at its readers. */
const SLICE_MILLIS = 20;
const VERSIONS = 60_000;

function endpoints(version: number): MergedEndpoint[] {
  const ports = [port('tcp', 'http', version + 1)];
  return Array.from({ length: endpointsOf(version) }, (_, n) => n).flatMap((n) => {
    const one = { cluster: 'east', host: `pod-${String(n)}`, ports };
    return [
      { ...one, family: 4 as const, address: `10.${String(version >>> 8)}.${String(version & 255)}.${String(n)}` },
      { ...one, family: 6 as const, address: `fd00::${version.toString(16)}:${n.toString(16)}` },
    ];
  });
}

t.test(
  `${String(READERS)} readers and a writer for ${String(seconds)} s`,
  { timeout: (seconds + 60) * 1_000 },
  async (t) => {
    let random = Number(process.env['TEST_SEED'] ?? 99);
    const draw = (below: number): number => {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((random / 2 ** 32) * below);
    };
    const writer = new ImageWriter(random);
    const zone = new Zone(writer, settings);
    zone.setUnknown(false);
    zone.seal(1_800_000_000);
    const versions = new Map<string, number>();
    const put = (name: string): void => {
      const version = ((versions.get(name) ?? draw(VERSIONS)) + 1) % VERSIONS;
      versions.set(name, version);
      zone.apply('shop', name, headless('shop', name, endpoints(version)));
    };
    const always = Array.from({ length: ALWAYS }, (_, n) => `web-${String(n)}`);
    const sometimes = Array.from({ length: SOMETIMES }, (_, n) => `flap-${String(n)}`);
    for (const name of always) put(name);

    const control = new SharedArrayBuffer(4 * (2 + 2 * READERS));
    const cells = new Int32Array(control);
    const faults: string[] = [];
    const readers = Array.from({ length: READERS }, (_, reader) => {
      const full = (name: string): string => `${name}.shop.svc.${ZONE}`;
      const task: ReaderTask = {
        image: writer.buffer,
        reader,
        control,
        always: always.map(full),
        sometimes: sometimes.map(full),
        seed: 1_000 + reader,
      };
      const worker = new Worker(new URL('./support-reader.ts', import.meta.url), { workerData: task });
      worker.on('message', (fault: string) => {
        if (fault !== '') faults.push(fault);
      });
      worker.on('error', (error) => faults.push(error instanceof Error ? error.stack! : String(error)));
      return once(worker, 'exit');
    });

    const began = performance.now();
    const elapsed = (): number => (performance.now() - began) / 1_000;
    let replaced = 0;
    let mostHeld = 0;
    let warmOctets = 0;
    const crowd: string[] = [];
    while (elapsed() < seconds && faults.length === 0) {
      const end = performance.now() + SLICE_MILLIS;
      do {
        const dice = draw(100);
        if (dice < 80) put(always[draw(ALWAYS)]!);
        else if (dice < 90) put(sometimes[draw(SOMETIMES)]!);
        else if (dice < 98) zone.apply('shop', sometimes[draw(SOMETIMES)]!, undefined);
        else if (crowd.length < 3_000) {
          // The index grows, and later shrinks, under the readers.
          for (let n = 0; n < 200; n++) {
            const name = `crowd-${String(crowd.length)}`;
            crowd.push(name);
            zone.apply(
              'crowd',
              name,
              headless('crowd', name, [{ cluster: 'east', host: 'a', address: '10.0.0.1', family: 4, ports: [] }]),
            );
          }
        } else for (const name of crowd.splice(0)) zone.apply('crowd', name, undefined);
        replaced++;
      } while (performance.now() < end);
      mostHeld = Math.max(mostHeld, writer.arena.used + writer.arena.garbage);
      if (elapsed() < seconds * 0.4) warmOctets = writer.buffer.byteLength;
      zone.seal(1_800_000_000 + elapsed());
      await nextTurn();
    }
    Atomics.store(cells, 0, 1);
    await Promise.all(readers);
    t.same(faults, [], 'every reply was whole and of one version');
    const judged = Array.from({ length: READERS }, (_, reader) => cells[2 + 2 * reader]!);
    const full = Array.from({ length: READERS }, (_, reader) => cells[3 + 2 * reader]!);
    t.comment(
      `${String(replaced)} changes; ${judged.join(' and ')} thousand replies, ${full.join(' and ')} thousand with records; image ${String(writer.buffer.byteLength >> 20)} MiB, at most ${String(mostHeld >> 20)} MiB held`,
    );
    t.ok(
      full.every((thousands) => thousands >= seconds),
      'the readers did read',
    );
    t.ok(replaced > seconds * 100, 'and the writer wrote');
    t.ok(
      writer.buffer.byteLength <= warmOctets * 1.5 + (8 << 20),
      `memory stays: ${String(warmOctets)}, then ${String(writer.buffer.byteLength)} octets`,
    );
    for (const name of [...always, ...sometimes]) zone.apply('shop', name, undefined);
    for (const name of crowd) zone.apply('crowd', name, undefined);
    t.equal(zone.size, 0);
    const left = writer.arena.used;
    t.ok(left < 2 << 20, `${String(left)} octets are in use when every service is gone`);
  },
);
