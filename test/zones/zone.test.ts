/**
 * The zone, put and removed service by service, against a naive one: a Map of name → type → set of presentation RDATA,
 * made anew from the services after every change. Replies are decoded by dns-packet. KEP-1645 2.3 and 2.4, RFC 8020.
 */
import fc from 'fast-check';
import t from 'tap';
import { ImageFullError } from '../../src/zones/arena.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import type { MergedService } from '../../src/zones/objects.ts';
import { rdataToText, rrsets } from '../../src/zones/readback.ts';
import { Zone } from '../../src/zones/zone.ts';
import { Asker, type Reply } from './support-ask.ts';
import {
  ZONE,
  change,
  clusterSetIP,
  endpoint,
  headless,
  pods,
  port,
  settings,
  v4,
  type Change,
} from './support-services.ts';

const seed = Number(process.env['TEST_SEED'] ?? 20_260_301);
const runs = Number(process.env['TEST_RUNS'] ?? 120);
const NOW = 1_800_000_000;
const SERIAL_EPOCH = 1_577_836_800;
const MOST_NAME_CHARACTERS = 253;

// The naive zone

type Records = Map<string, Map<string, Set<string>>>;
const FAILURE = 'SERVFAIL';

function naiveZone(services: Iterable<MergedService>): Records {
  const zone: Records = new Map();
  const name = (owner: string): Map<string, Set<string>> => {
    let types = zone.get(owner);
    if (types === undefined) zone.set(owner, (types = new Map<string, Set<string>>()));
    return types;
  };
  const add = (owner: string, type: string, rdata: string): void => {
    if (owner.length > MOST_NAME_CHARACTERS) return;
    const types = name(owner);
    types.set(type, (types.get(type) ?? new Set()).add(rdata));
  };
  const family = (address: string): string => (address.includes(':') ? 'AAAA' : 'A');
  for (const { name: owner, addresses } of settings.nameServers) {
    add(ZONE, 'NS', owner);
    for (const address of addresses) add(owner, family(address), address);
  }
  add(`dns-version.${ZONE}`, 'TXT', '1.0.0');
  for (const service of services) {
    const owner = `${service.name}.${service.namespace}.svc.${ZONE}`;
    const targets =
      service.type === 'ClusterSetIP'
        ? [{ target: owner, ports: service.ports, addresses: service.addresses }]
        : service.endpoints.map(({ host, cluster, address, ports }) => ({
            target: `${host}.${cluster}.${owner}`,
            ports,
            addresses: [address],
          }));
    // A ClusterSetIP import exists even while it has no addresses.
    if (service.type === 'ClusterSetIP') name(owner);
    for (const { target, ports, addresses } of targets) {
      for (const address of addresses) for (const at of [owner, target]) add(at, family(address), address);
      for (const { name: portName, protocol, port: number } of ports) {
        for (const at of [owner, `_${portName}._${protocol}.${owner}`])
          add(at, 'SRV', `0 100 ${String(number)} ${target}`);
      }
    }
    if (service.addressConflict !== '') for (const type of ['A', 'AAAA']) name(owner).set(type, new Set([FAILURE]));
  }
  return zone;
}

/** RFC 8020: a name exists if it has records, or one below it has. */
function exists(zone: Records, name: string): boolean {
  return zone.has(name) || [...zone.keys()].some((other) => other.endsWith('.' + name));
}

/** The name and everything between it and the apex. */
function withAncestors(name: string): string[] {
  const labels = name.split('.');
  return labels
    .map((_, n) => labels.slice(n).join('.'))
    .filter((above) => above === ZONE || above.endsWith('.' + ZONE));
}

// Comparing

const TYPES = ['A', 'AAAA', 'SRV', 'TXT', 'NS', 'MX'] as const;

/** '' or what the reply to this question has wrong. */
function difference(asker: Asker, zone: Records, name: string, type: string): string {
  const expected = [...(zone.get(name)?.get(type) ?? [])].map((rdata) => `${name} ${type} ${rdata}`).sort();
  for (const over of ['udp', 'tcp'] as const) {
    const reply = asker.ask(name, type, over);
    const said = `${over} ${name} ${type}: ${reply.rcode} tc=${String(reply.tc)} ${reply.answers.join(' | ')}`;
    if (expected[0]?.endsWith(FAILURE)) {
      if (reply.rcode !== 'SERVFAIL' || !reply.edeText.includes('differ')) return `${said}, not SERVFAIL with its text`;
      continue;
    }
    if (reply.rcode !== (exists(zone, name) ? 'NOERROR' : 'NXDOMAIN')) return `${said}, not that RCODE`;
    if (!reply.aa) return `${said}, not authoritative`;
    if (reply.octets > (over === 'udp' ? 1_232 : 65_535)) return `${said}: ${String(reply.octets)} octets`;
    if ((reply.authority.join() === 'SOA') !== (expected.length === 0)) return `${said}, SOA or not`;
    if (new Set(reply.answers).size !== reply.answers.length) return `${said}: a record twice`;
    if (reply.tc ? over === 'tcp' : reply.answers.length !== expected.length)
      return `${said}, not ${expected.join(' | ')}`;
    if (reply.answers.some((answer) => !expected.includes(answer))) return `${said}, not ${expected.join(' | ')}`;
    if (expected.length > 0 && reply.ttls.join() !== (type === 'TXT' ? '28800' : '5'))
      return `${said}, TTL ${reply.ttls.join()}`;
    const wrong = wrongAdditional(zone, reply, type);
    if (wrong !== '') return `${said}, ${wrong}`;
  }
  return '';
}

/** Additional records are true, belong to a target, and come as whole RRsets. */
function wrongAdditional(zone: Records, reply: Reply, type: string): string {
  const counts = new Map<string, number>();
  for (const record of reply.additional) {
    const [owner = '', kind = '', rdata = ''] = record.split(' ');
    const isTarget = reply.answers.some((answer) => answer.endsWith(' ' + owner));
    if (!isTarget || (type !== 'SRV' && type !== 'NS')) return `additional of no target: ${record}`;
    if (!zone.get(owner)?.get(kind)?.has(rdata)) return `additional that is not so: ${record}`;
    counts.set(`${owner} ${kind}`, (counts.get(`${owner} ${kind}`) ?? 0) + 1);
  }
  for (const [set, count] of counts) {
    const [owner = '', kind = ''] = set.split(' ');
    if (count !== zone.get(owner)?.get(kind)?.size) return `half an additional set: ${set}`;
  }
  return '';
}

/** Every SRV record of these names points to a name that has an address, or says why it has none. */
function unresolved(asker: Asker, names: Iterable<string>, zone: Records = new Map()): string {
  for (const name of names) {
    for (const answer of asker.ask(name, 'SRV').answers) {
      const target = answer.split(' ').at(-1)!;
      // A host that becomes a cluster's name while it is published.
      if (!zone.has(target) && exists(zone, target)) continue;
      const replies = ['A', 'AAAA'].map((type) => asker.ask(target, type));
      const isService = target.split('.').length === 5;
      if (isService && replies.every((reply) => reply.rcode !== 'NXDOMAIN')) continue;
      if (!replies.some((reply) => reply.answers.length > 0)) return `${name} SRV: ${target} does not resolve`;
    }
  }
  return '';
}

/** The zone as sorted lines, as `dump` reads it. */
function lines(writer: ImageWriter): string[] {
  const found: string[] = [];
  for (const { owner, type, ttlSeconds, rdata, failure } of rrsets(writer, settings.ttlSeconds)) {
    if (failure !== '') found.push(`${owner} ${String(type)} ${failure}`);
    for (const data of rdata) found.push(`${owner} ${String(ttlSeconds)} ${String(type)} ${rdataToText(type, data)}`);
  }
  return found.sort();
}

function newZone(writer = new ImageWriter(seed)): Zone {
  const zone = new Zone(writer, settings);
  zone.setUnknown(false);
  zone.seal(NOW);
  return zone;
}

function rebuilt(services: Iterable<MergedService>): Zone {
  const zone = newZone();
  for (const service of services) zone.apply(service.namespace, service.name, service);
  return zone;
}

/** An image writer that lets a test look at the zone after every single publication. */
class WatchedWriter extends ImageWriter {
  onChange: () => void = () => undefined;
  onRemove: () => void = () => undefined;
  constructor(seed: number) {
    super(seed);
    const put = this.index.put.bind(this.index);
    this.index.put = (hash, reference) => {
      const replaced = put(hash, reference);
      this.onChange();
      return replaced;
    };
  }
  override remove(reference: number): void {
    super.remove(reference);
    this.onRemove();
  }
}

function checkSteps(changes: readonly Change[]): void {
  const writer = new WatchedWriter(seed);
  const zone = newZone(writer);
  const asker = new Asker(writer.buffer);
  const services = new Map<string, MergedService>();
  const everNamed = new Set<string>(
    ['www.example.com', `*.svc.${ZONE}`, `x.${ZONE}`].map((name) =>
      name.replace('www.example.com', `www.example.com.${ZONE}`),
    ),
  );
  for (const { namespace, name, service } of changes) {
    const key = `${namespace}/${name}`;
    const before = services.get(key);
    if (service === undefined) services.delete(key);
    else services.set(key, service);
    const touched = new Set(
      [before, service].filter((one) => one !== undefined).flatMap((one) => [...naiveZone([one]).keys()]),
    );
    const withServices = [...touched].filter((owner) => owner.startsWith('_') || owner.split('.').length === 5);
    const naive = naiveZone(services.values());
    let halfway = '';
    writer.onChange = writer.onRemove = () => {
      if (halfway === '' && touched.size < 40) halfway = unresolved(asker, withServices, naive);
    };
    zone.apply(namespace, name, service);
    writer.onChange = writer.onRemove = () => undefined;
    if (halfway !== '') throw new Error(`while ${key} is published: ${halfway}`);
    for (const owner of new Set([...touched].flatMap(withAncestors))) {
      everNamed.add(owner);
      for (const type of ['A', 'AAAA', 'SRV']) {
        if (owner === ZONE) continue;
        const wrong = difference(asker, naive, owner, type);
        if (wrong !== '') throw new Error(wrong);
      }
    }
    const dangling = unresolved(asker, withServices);
    if (dangling !== '') throw new Error(dangling);
  }
  const naive = naiveZone(services.values());
  for (const name of [...everNamed, ...naive.keys()]) {
    for (const owner of [name, `nosuch.${name}`]) {
      for (const type of TYPES) {
        const wrong = difference(asker, naive, owner, type);
        if (wrong !== '') throw new Error(wrong);
      }
    }
  }
  const [now, anew] = [lines(writer), lines(rebuilt(services.values()).writer)];
  if (now.join('\n') !== anew.join('\n')) {
    const odd = [
      ...now.filter((line) => !anew.includes(line)).map((l) => `+ ${l}`),
      ...anew.filter((line) => !now.includes(line)).map((l) => `- ${l}`),
    ];
    throw new Error(`incremental (+) and rebuilt (-) zone differ:\n${odd.slice(0, 20).join('\n')}`);
  }
}

t.test('random puts and removes give the answers of a naive zone', (t) => {
  let steps = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 24, size: 'max' }), (changes) => {
      steps += changes.length;
      checkSteps(changes);
    }),
    { seed, numRuns: runs },
  );
  t.ok(steps > runs * 6, `${String(steps)} changes: fast-check was not stuck at short lists`);
  t.end();
});

t.test('a service goes as it came: no SRV stands whose target is gone', (t) => {
  const writer = new WatchedWriter(seed);
  const zone = newZone(writer);
  const asker = new Asker(writer.buffer);
  const ports = [port('tcp', 'http', 80)];
  for (const count of [3, 60]) {
    const names = [`web.shop.svc.${ZONE}`, `_http._tcp.web.shop.svc.${ZONE}`];
    zone.apply('shop', 'web', headless('shop', 'web', pods('east', count, ports)));
    let seen = '';
    writer.onChange = writer.onRemove = () => {
      seen ||= unresolved(asker, names);
    };
    zone.apply('shop', 'web', headless('shop', 'web', pods('east', count, [port('tcp', 'other', 80)], 200)));
    t.equal(seen, '', `${String(count)} endpoints replaced, and their port's name`);
    seen = '';
    zone.apply('shop', 'web', undefined);
    t.equal(seen, '', `${String(count)} endpoints and their service removed`);
    writer.onChange = writer.onRemove = () => undefined;
  }
  t.end();
});

t.test('cluster ids that share labels: what stood for their common name takes nothing else along', (t) => {
  const zone = newZone();
  const asker = new Asker(zone.writer.buffer);
  const both = headless('shop', 'web', [endpoint('prod.eu', 'web-0', v4(1)), endpoint('stage.eu', 'web-0', v4(2))]);
  for (let round = 0; round < 40; round++) {
    zone.apply('shop', 'web', both);
    for (let n = 0; n < 8; n++) {
      const service = headless('db', `db-${String(n)}`, [endpoint('eu', 'x', v4(round * 8 + n))]);
      zone.apply('db', service.name, service);
    }
    zone.apply('shop', 'web', undefined);
  }
  const lost = Array.from({ length: 8 }, (_, n) => `db-${String(n)}.db.svc.${ZONE}`)
    .flatMap((name) => [name, `eu.${name}`, `x.eu.${name}`])
    .filter((name) => asker.ask(name, 'A').rcode !== 'NOERROR');
  t.same(lost, [], 'other services are whole');
  t.equal(asker.ask(`eu.web.shop.svc.${ZONE}`, 'A').rcode, 'NXDOMAIN');
  t.end();
});

t.test('a host label that looks like another endpoint’s address is still one host', (t) => {
  const ports = [port('tcp', 'http', 80)];
  for (const count of [0, 60]) {
    const zone = newZone();
    const asker = new Asker(zone.writer.buffer);
    const service = headless('shop', 'web', [
      endpoint('east', '10-0-0-12', '10.0.0.1', ports),
      endpoint('east', '10-0-0-5', '10.0.0.5', ports),
      endpoint('east', '10-0-0-12', '10.0.0.12', ports),
      ...Array.from({ length: count }, (_, n) => endpoint('east', `10-1-0-${String(n)}`, `10.1.0.${String(n)}`, ports)),
    ]);
    zone.apply('shop', 'web', service);
    const naive = naiveZone([service]);
    for (const [name, type] of [
      ['10-0-0-12.east.web', 'A'],
      ['web', 'SRV'],
      ['_http._tcp.web', 'SRV'],
    ] as const) {
      t.equal(difference(asker, naive, `${name}.shop.svc.${ZONE}`, type), '', `${name} ${type}`);
    }
  }
  t.end();
});

t.test(
  'a name that is too long has no entry, and nothing above it exists for its sake (RFC 1035 3.1, RFC 8020)',
  (t) => {
    const zone = newZone();
    const asker = new Asker(zone.writer.buffer);
    const [namespace, name, host] = ['n'.repeat(63), 's'.repeat(63), 'h'.repeat(63)];
    const service = `${name}.${namespace}.svc.${ZONE}`;
    // 255 octets are 253 characters: what is left for the cluster's id and its dot.
    const room = MOST_NAME_CHARACTERS - service.length - host.length - 2;
    const fits = 'c'.repeat(room);
    const ports = [port('tcp', 'http', 80)];
    zone.apply(
      namespace,
      name,
      headless(namespace, name, [endpoint(fits, host, v4(1), ports), endpoint(fits + 'x', host, v4(2), ports)]),
    );
    t.same(asker.ask(`${host}.${fits}.${service}`, 'A').answers.length, 1, 'a name of 255 octets');
    t.equal(asker.ask(service, 'SRV').answers.length, 1, 'no SRV points to a name that cannot be');
    t.equal(asker.ask(service, 'A').answers.length, 2, 'the endpoint still counts at the service');
    t.equal(asker.ask(`${fits}.${service}`, 'A').rcode, 'NOERROR');
    t.equal(asker.ask(`${fits}x.${service}`, 'A').rcode, 'NXDOMAIN', 'nothing is below this cluster');
    zone.apply(namespace, name, headless(namespace, name, [endpoint(fits + 'x', host, v4(2), ports)]));
    t.equal(asker.ask(`_http._tcp.${service}`, 'SRV').rcode, 'NXDOMAIN', 'no SRV record, no name');
    t.end();
  },
);

t.test('namespaces come and go with their services', (t) => {
  const zone = newZone();
  const asker = new Asker(zone.writer.buffer);
  const rcodes = (): string =>
    [`svc.${ZONE}`, `shop.svc.${ZONE}`, `db.svc.${ZONE}`].map((name) => asker.ask(name, 'A').rcode).join(' ');
  t.equal(rcodes(), 'NXDOMAIN NXDOMAIN NXDOMAIN', 'an empty zone has no svc');
  t.equal(asker.ask(ZONE, 'A').rcode, 'NOERROR', 'but its apex');
  t.equal(asker.ask(`dns.${ZONE}`, 'A').rcode, 'NOERROR', 'and the name above its name server');
  zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(1)]));
  t.equal(rcodes(), 'NOERROR NOERROR NXDOMAIN');
  zone.apply('db', 'mysql', headless('db', 'mysql', []));
  t.equal(rcodes(), 'NOERROR NOERROR NXDOMAIN', 'a service without endpoints makes no namespace');
  zone.apply('shop', 'api', clusterSetIP('shop', 'api', []));
  zone.apply('shop', 'web', undefined);
  t.equal(rcodes(), 'NOERROR NOERROR NXDOMAIN', 'one service without addresses is left');
  zone.apply('shop', 'api', undefined);
  zone.apply('shop', 'api', undefined);
  t.equal(rcodes(), 'NXDOMAIN NXDOMAIN NXDOMAIN');
  t.equal(zone.size, 0);
  t.end();
});

t.test('a service without records shows nothing for an instant', (t) => {
  const writer = new WatchedWriter(seed);
  const zone = newZone(writer);
  const asker = new Asker(writer.buffer);
  const seen = new Set<string>();
  writer.onChange = writer.onRemove = () => seen.add(asker.ask(`db.svc.${ZONE}`, 'A').rcode);
  zone.apply('db', 'mysql', headless('db', 'mysql', []));
  t.same(
    [...seen].filter((rcode) => rcode !== 'NXDOMAIN'),
    [],
    'its namespace never exists',
  );
  t.end();
});

t.test('unknown names: SERVFAIL by shape until told otherwise, known names answered meanwhile (RFC 8914 4.15)', (t) => {
  const zone = new Zone(new ImageWriter(seed), settings);
  zone.seal(NOW);
  const asker = new Asker(zone.writer.buffer);
  zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(1)]));
  const services = [
    'nosuch.shop',
    'web.other',
    'pod.east.web.shop',
    'pod.prod.eu.web.shop',
    '_http._tcp.web.shop',
    'a.b.c.d.e.web.shop',
  ];
  const others = [
    'x.svc',
    'a.b.c.svc',
    '_http.a.svc',
    '_a._b._c.d.svc',
    'x._tcp.web.shop.svc',
    'x',
    'www.example.com',
    'a.b.pod',
    'www.example.com.svc',
  ];
  for (const name of services) {
    const reply = asker.ask(`${name}.svc.${ZONE}`, 'A');
    t.same([reply.rcode, reply.ede, reply.authority], ['SERVFAIL', [14], []], `${name}.svc is not known`);
  }
  for (const name of others) t.equal(asker.ask(`${name}.${ZONE}`, 'A').rcode, 'NXDOMAIN', `${name} can be no service`);
  t.equal(asker.ask(`web.shop.svc.${ZONE}`, 'A').answers.length, 1);
  t.equal(asker.ask(`web.shop.svc.${ZONE}`, 'AAAA').rcode, 'NOERROR', 'a known name has no other type');
  zone.setUnknown(false);
  for (const name of services)
    t.equal(asker.ask(`${name}.svc.${ZONE}`, 'A').rcode, 'NXDOMAIN', `${name}.svc is not there`);
  zone.setUnknown(true);
  t.equal(asker.ask(`nosuch.shop.svc.${ZONE}`, 'A').rcode, 'SERVFAIL', 'and back');
  t.end();
});

// Serials

function serialOf(zone: Zone): number {
  const reply = new Asker(zone.writer.buffer).ask(ZONE, 'SOA');
  const negative = new Asker(zone.writer.buffer).ask(`nosuch.${ZONE}`, 'A');
  const [apex, denial] = [reply.packet.answers?.[0], negative.packet.authorities?.[0]];
  if (apex?.type !== 'SOA' || denial?.type !== 'SOA') throw new Error('no SOA');
  if (apex.data.serial !== denial.data.serial || apex.data.serial !== zone.serial) throw new Error('two serials');
  return apex.data.serial;
}

t.test('serials rise with every sealed version, across restarts, and tell replicas apart', (t) => {
  let n = 0;
  const touch = (zone: Zone): void => zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(++n)]));
  for (const replica of [0, 1, 2, 3]) {
    const zone = new Zone(new ImageWriter(seed), settings, replica);
    const serials: number[] = [];
    const seal = (now: number): boolean => {
      const sealed = zone.seal(now);
      serials.push(serialOf(zone));
      return sealed;
    };
    t.equal(seal(NOW), true);
    t.equal(serials[0], 4 * (NOW - SERIAL_EPOCH) + replica, 'four a second since 2020');
    t.equal(seal(NOW + 1), false, 'nothing changed, no version');
    t.equal(serials[1], serials[0]);
    t.equal((touch(zone), seal(NOW + 1.5)), true);
    t.equal((touch(zone), seal(NOW + 1.9)), false, 'one version a second');
    for (const [now, what] of [
      [NOW + 2, 'later, with what waited'],
      [NOW - 500, 'the clock was set back'],
      [NOW + 4.9, 'on again'],
    ] as const) {
      touch(zone);
      const last = serials.at(-1)!;
      t.equal(seal(now), true, what);
      t.ok(serials.at(-1)! > last, `replica ${String(replica)} rises: ${what}`);
    }
    t.ok(
      serials.every((serial) => serial % 4 === replica),
      `replica ${String(replica)} by its residue`,
    );
    zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(n)]));
    t.equal(seal(NOW + 10), false, 'the same put again is no change');
    const restarted = new Zone(new ImageWriter(seed), settings, replica);
    restarted.seal(NOW + 60);
    t.ok(restarted.serial > serials.at(-1)!, 'a restart a minute later goes on above');
  }
  t.end();
});

t.test('serials of a process that seals every second never run ahead of its clock', (t) => {
  // Else a process that is restarted at once would begin below its predecessor.
  const zone = new Zone(new ImageWriter(seed), settings);
  zone.seal(NOW + 0.1);
  for (let second = 0; second < 30; second++) {
    zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(second)]));
    // The server seals at its start, when the lab is read, and then every second from its start.
    zone.seal(NOW + (second === 0 ? 0.5 : second + 0.1));
  }
  const restarted = new Zone(new ImageWriter(seed), settings);
  restarted.seal(NOW + 30);
  t.ok(restarted.serial > zone.serial, `${String(restarted.serial)} after ${String(zone.serial)}`);
  t.end();
});

t.test('a clock before 2020: a replica keeps its residue', (t) => {
  for (const replica of [0, 1, 3]) {
    const zone = new Zone(new ImageWriter(seed), settings, replica);
    zone.seal(0);
    t.equal(zone.serial % 4, replica);
  }
  t.end();
});

// A full image

const SMALL_IMAGE_OCTETS = 2 << 20;

/** Fills a small image with services of `size` endpoints until it refuses; gives what was accepted. */
function fillZone(size: number): { zone: Zone; accepted: Map<string, MergedService> } {
  const zone = newZone(new ImageWriter(seed, SMALL_IMAGE_OCTETS));
  const accepted = new Map<string, MergedService>();
  for (let n = 0; n < 100_000; n++) {
    const service = headless('shop', `web-${String(n)}`, pods('east', size, [port('tcp', 'http', 80)], n * size));
    try {
      zone.apply('shop', service.name, service);
    } catch (error) {
      if (!(error instanceof ImageFullError)) throw error;
      return { zone, accepted };
    }
    accepted.set(service.name, service);
  }
  throw new Error('the image never filled');
}

t.test('a full image: old answers stay, and what goes makes room', (t) => {
  for (const size of [1, 40]) {
    const { zone, accepted } = fillZone(size);
    const asker = new Asker(zone.writer.buffer);
    t.ok(accepted.size > 10, `${String(accepted.size)} services of ${String(size)} fit`);
    t.ok(zone.writer.buffer.byteLength <= SMALL_IMAGE_OCTETS, 'within its bound');
    const wrong = (): string[] => {
      const naive = naiveZone(accepted.values());
      return [...accepted.keys()]
        .flatMap((name) => [`${name}.shop.svc.${ZONE}`, `_http._tcp.${name}.shop.svc.${ZONE}`])
        .flatMap((name) => ['A', 'SRV', 'AAAA'].map((type) => difference(asker, naive, name, type)))
        .filter((found) => found !== '');
    };
    t.same(wrong().slice(0, 3), [], 'every service that was accepted answers');
    t.doesNotThrow(() => zone.seal(NOW + 1), 'the second tick of the server ends nothing');
    t.doesNotThrow(() => serialOf(zone), 'one serial everywhere: its old version or a new one');
    for (const name of [...accepted.keys()].slice(0, 2)) {
      zone.apply('shop', name, undefined);
      accepted.delete(name);
    }
    // Now every service changes, over and over: its endpoints keep their names and get other addresses, so that entries
    // are replaced one by one until one is refused in the service's middle.
    let refused = 0;
    for (let round = 1; round <= 6; round++) {
      for (const [name, { endpoints }] of [...accepted]) {
        const moved = endpoints.map((one, n) => ({ ...one, address: v4(round * 100_000 + n) }));
        const bigger = headless(
          'shop',
          name,
          round % 2 === 0 ? moved : [...moved, ...pods('west', size, moved[0]!.ports)],
        );
        try {
          zone.apply('shop', name, bigger);
          accepted.set(name, bigger);
        } catch (error) {
          if (!(error instanceof ImageFullError)) throw error;
          refused++;
        }
      }
    }
    t.ok(refused > 0, `${String(refused)} changes were refused`);
    const names = [...accepted.keys()].map((name) => `${name}.shop.svc.${ZONE}`);
    const broken = names
      .flatMap((name) => asker.ask(`_http._tcp.${name}`, 'SRV').answers.map((answer) => [answer, name] as const))
      .filter(
        ([answer, name]) =>
          !/^\S+ SRV 0 100 80 pod-\d+\.(east|west)\.\S+$/.test(answer) || !answer.endsWith(`st.${name}`),
      )
      .map(([answer]) => answer);
    t.same(broken.slice(0, 3), [], 'every SRV record is one of its own service');
    t.equal(unresolved(asker, names), '', 'and its target resolves');
    let thrown = '';
    for (const key of [...zone.serviceKeys()]) {
      try {
        zone.apply('shop', key.split('/')[1]!, undefined);
      } catch (error) {
        thrown = String(error);
      }
    }
    t.equal(thrown, '', 'a removal needs no room');
    t.equal(zone.size, 0);
    t.equal(asker.ask(`svc.${ZONE}`, 'A').rcode, 'NXDOMAIN', 'nothing is left');
    if (thrown === '') {
      const again = headless('shop', 'web-3', pods('east', size, [port('tcp', 'http', 80)], size * 3));
      zone.apply('shop', 'web-3', again);
      t.equal(asker.ask(`web-3.shop.svc.${ZONE}`, 'A').answers.length, size, 'there is room again');
      const anew = lines(rebuilt([again]).writer);
      const withoutSerial = (line: string): string => line.replace(/ \d+ (?=7200 )/, ' ');
      t.same(lines(zone.writer).map(withoutSerial), anew.map(withoutSerial), 'and nothing else stands');
    }
  }
  t.end();
});
