/**
 * The zone image below the zone: its memory, its index while it grows, its views, and what a reader makes of entries
 * that later issues will write (variants by view, stale sets). Answers are decoded by dns-packet.
 */
import t, { type Test } from 'tap';
import { ede, type } from '../../src/dns/iana.ts';
import {
  ImageViews,
  MAX_IMAGE_OCTETS,
  MAX_VIEWS,
  createImageBuffer,
  entry,
  header,
  index,
  readerWord,
  setKind,
} from '../../src/dns/image.ts';
import { nameToWire } from '../../src/zones/wire.ts';
import { Arena, ImageFullError } from '../../src/zones/arena.ts';
import { Draft } from '../../src/zones/draft.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { rrsets } from '../../src/zones/readback.ts';
import { Zone } from '../../src/zones/zone.ts';
import { Asker } from './support-ask.ts';
import { ZONE, clusterSetIP, headless, pods, port, settings, v4 } from './support-services.ts';

const seed = 7;

// The arena

/** Every size that a class begins or ends at, and some between. */
function sizes(): number[] {
  const found = new Set<number>();
  for (let n = 1; n <= 1_100; n++) found.add(n);
  for (let power = 10; power < 20; power++) {
    for (let quarter = 4; quarter <= 8; quarter++) {
      for (const near of [-1, 0, 1]) found.add((quarter << (power - 2)) + near);
    }
  }
  return [...found].sort((a, b) => a - b);
}

t.test('blocks of every size are apart, whole, aligned, and come back', (t) => {
  const arena = new Arena(seed);
  const given = sizes().map((octets) => ({ octets, block: arena.allocate(octets) }));
  const ordered = [...given].sort((a, b) => a.block - b.block);
  const overlaps = ordered.filter(
    ({ block, octets }, n) => n + 1 < ordered.length && block + octets > ordered[n + 1]!.block,
  );
  t.same(overlaps, [], 'no block reaches into the next');
  t.ok(
    ordered.every(({ block }) => block % 8 === 0 && block > 0),
    'aligned',
  );
  t.ok(ordered.at(-1)!.block + ordered.at(-1)!.octets <= arena.buffer.byteLength, 'within the buffer');
  const total = given.reduce((sum, { octets }) => sum + octets, 0);
  t.ok(arena.used >= total && arena.used < total * 1.26 + given.length * 8, 'classes waste a quarter at most');
  for (const { block, octets } of given) arena.retire(block, octets);
  t.equal(arena.used, 0);
  t.ok(arena.garbage >= total);
  arena.advance();
  const before = arena.buffer.byteLength;
  const again = given.map(({ octets }) => arena.allocate(octets));
  t.equal(new Set(again).size, given.length, 'no block is given twice');
  t.equal(arena.buffer.byteLength, before, 'the same sizes take the same memory');
  const known = new Set(given.map(({ block }) => block));
  t.equal(again.filter((block) => known.has(block)).length, given.length, 'each block is used again');
  t.equal(arena.garbage, 0);
  t.end();
});

/** Whether a block retired now is given out again after `before` further epochs, while `online` says who is inside. */
function isReused(arena: Arena, octets: number, between: () => void): boolean {
  const block = arena.allocate(octets);
  arena.retire(block, octets);
  between();
  const taken: number[] = [];
  for (let n = 0; n < 64; n++) taken.push(arena.allocate(octets));
  for (const other of taken) if (other !== block) arena.retire(other, octets);
  return taken.includes(block);
}

t.test('a block is not used again while a reader can hold it', (t) => {
  const enter = (arena: Arena, reader: number): void => {
    const { words } = arena.views;
    Atomics.store(words, readerWord(reader), Atomics.load(words, header.EPOCH));
  };
  const leave = (arena: Arena, reader: number): void => void Atomics.store(arena.views.words, readerWord(reader), 0);
  for (const start of [1, 1_000, 0x7fff_fffd, -3]) {
    const arena = new Arena(seed);
    arena.views.words[header.EPOCH] = start;
    const name = `from epoch ${String(start)}`;
    let size = 40;
    const reused = (between: () => void): boolean => isReused(arena, (size += 8), between);
    t.notOk(
      reused(() => undefined),
      `${name}: not in its own epoch`,
    );
    t.ok(
      reused(() => arena.advance()),
      `${name}: in the next one, with nobody inside`,
    );
    enter(arena, 3);
    t.notOk(
      reused(() => arena.advance()),
      `${name}: not while a reader that entered before is online`,
    );
    t.notOk(
      reused(() => {
        for (let n = 0; n < 12; n++) {
          const other = arena.allocate(4_096);
          arena.retire(other, 4_096);
          arena.advance();
        }
      }),
      `${name}: however many epochs pass`,
    );
    leave(arena, 3);
    t.ok(
      reused(() => arena.advance()),
      `${name}: when it has left`,
    );
    t.ok(
      reused(() => {
        arena.advance();
        enter(arena, 63);
      }),
      `${name}: a reader that entered afterwards holds nothing back`,
    );
    leave(arena, 63);
    t.not(arena.views.words[header.EPOCH], 0, `${name}: 0 is no epoch`);
  }
  t.end();
});

t.test('the queue of retired blocks grows and keeps its order', (t) => {
  const arena = new Arena(seed);
  const blocks = Array.from({ length: 5_000 }, () => arena.allocate(64));
  // The ring is turned first, so that it grows across its seam.
  for (const block of blocks.slice(0, 700)) arena.retire(block, 64);
  arena.advance();
  for (let n = 0; n < 700; n++) arena.allocate(64);
  for (const block of blocks.slice(700)) arena.retire(block, 64);
  t.equal(arena.garbage, 4_300 * 64);
  arena.advance();
  const again = Array.from({ length: 4_300 }, () => arena.allocate(64));
  t.same(
    [...again].sort((a, b) => a - b),
    blocks.slice(700).sort((a, b) => a - b),
  );
  t.end();
});

t.test('index tables come back to tables and to small blocks', (t) => {
  const arena = new Arena(seed);
  const octets = 16 + 16_384 * 8;
  const first = arena.allocateTable(octets);
  arena.views.octets.fill(0xff, first, first + octets);
  arena.retireTable(first);
  t.equal(arena.used, 0);
  t.equal(arena.garbage, octets);
  t.not(arena.allocateTable(octets), first, 'not in its epoch');
  arena.advance();
  const again = arena.allocateTable(octets);
  t.equal(again, first, 'a table of its size takes it');
  t.ok(
    arena.views.octets.subarray(again, again + octets).every((octet) => octet === 0),
    'zeroed',
  );
  arena.retireTable(again);
  arena.advance();
  const before = arena.buffer.byteLength;
  const cut = new Set<number>();
  while (arena.buffer.byteLength === before) cut.add(arena.allocate(512));
  const inside = [...cut].filter((block) => block >= first && block < first + octets);
  t.ok(inside.length >= Math.floor(octets / 512) - 2, 'else it is cut before the buffer grows');
  t.ok(
    inside.every((block) => block + 512 <= first + octets),
    'and not beyond its end',
  );
  t.end();
});

t.test('the bound holds, is an error of its own, and spoils nothing', (t) => {
  const bound = 3 << 20;
  const arena = new Arena(seed, bound);
  const blocks: number[] = [];
  const refusal = (act: () => void): unknown => {
    try {
      act();
      return undefined;
    } catch (error) {
      return error;
    }
  };
  const full = refusal(() => {
    for (;;) blocks.push(arena.allocate(2_000));
  });
  t.ok(full instanceof ImageFullError, String(full));
  t.ok(arena.buffer.byteLength <= bound);
  t.ok(blocks.length * 2_048 > bound * 0.6, `${String(blocks.length)} blocks of 2,048 octets in ${String(bound)}`);
  t.ok(refusal(() => arena.allocate(2_000)) instanceof ImageFullError, 'again');
  arena.retire(blocks[5]!, 2_000);
  arena.advance();
  t.equal(arena.allocate(2_000), blocks[5], 'what goes makes room');
  t.equal(
    new SharedArrayBuffer(0, { maxByteLength: MAX_IMAGE_OCTETS }).maxByteLength,
    MAX_IMAGE_OCTETS,
    'a reference is an Int32',
  );
  t.end();
});

// The index

/** Writes entries of one address, straight into the image. */
class Names {
  readonly writer: ImageWriter;
  isPublishing = true;
  private readonly draft = new Draft();

  constructor(writer: ImageWriter) {
    this.writer = writer;
  }

  put(name: string, address: string): number {
    this.draft.begin(0, 0);
    this.draft.wire(nameToWire(name));
    this.draft.endName();
    this.draft.addressSet([address], 4);
    const reference = this.writer.put(this.draft);
    if (this.isPublishing) this.writer.publish();
    return reference;
  }
}

function imageWithZone(writer = new ImageWriter(seed)): ImageWriter {
  const zone = new Zone(writer, settings);
  zone.setUnknown(false);
  zone.seal(1_800_000_000);
  return writer;
}

/** The address that a reader gets, or the RCODE. */
function addressOf(asker: Asker, name: string): string {
  const reply = asker.ask(name, 'A');
  return reply.answers[0]?.split(' ')[2] ?? reply.rcode;
}

t.test('the index grows in steps; at each one every name is found and no removed one', (t) => {
  const writer = imageWithZone();
  const names = new Names(writer);
  const asker = new Asker(writer.buffer);
  const there = new Map<string, { reference: number; address: string }>();
  const gone: string[] = [];
  const masks = new Set<number>();
  let random = 12_345;
  const draw = (below: number): number => (random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0) % below;
  let wrong = '';
  const check = (name: string): void => {
    const got = addressOf(asker, name);
    const expected = there.get(name)?.address ?? 'NXDOMAIN';
    if (got !== expected) wrong ||= `${name}: ${got}, not ${expected}, with ${String(there.size)} names`;
  };
  const tableOf = (): number => {
    const { words } = writer.arena.views;
    return words[(words[header.INDEX]! >> 2) + index.MASK]! + 1;
  };
  const all: string[] = [];
  const change = (n: number, growing: boolean): void => {
    if (growing || draw(2) === 0) {
      const name = `n${String(growing ? n : draw(9_000))}.${ZONE}`;
      const address = v4(n + 1);
      there.set(name, { reference: names.put(name, address), address });
      all.push(name);
      check(name);
    } else {
      const name = all[draw(all.length)]!;
      const known = there.get(name);
      if (known !== undefined) writer.remove(known.reference);
      there.delete(name);
      gone.push(name);
      check(name);
    }
    writer.commit();
    masks.add(tableOf());
    // A sample at each step; everything at some.
    for (let k = 0; k < 6; k++) check(all[draw(all.length)]!);
    if (gone.length > 0) check(gone[draw(gone.length)]!);
    if (n % 1_024 === 0) for (const name of there.keys()) check(name);
    if (writer.index.size !== there.size + 4) wrong ||= `the index counts ${String(writer.index.size)} names`;
  };
  for (let n = 0; n < 9_000; n++) change(n, n < 5_000);
  t.equal(wrong, '', 'growing, then as many going as coming');
  t.ok(masks.size >= 4, `through tables of ${[...masks].join(', ')} slots`);
  for (const [name, { reference }] of [...there]) {
    writer.remove(reference);
    there.delete(name);
    writer.commit();
    if (there.size % 64 === 0) for (let k = 0; k < 20; k++) check(all[draw(all.length)]!);
  }
  t.equal(wrong, '', 'all removed');
  // Churn in an almost empty index: removed slots must not fill it up.
  const bytes = writer.buffer.byteLength;
  for (let n = 0; n < 20_000; n++) {
    const name = `churn${String(n)}.${ZONE}`;
    there.set(name, { reference: names.put(name, v4(n)), address: v4(n) });
    if (n % 16 === 0) check(name);
    writer.remove(there.get(name)!.reference);
    there.delete(name);
    if (n % 16 === 0) check(name);
    writer.commit();
  }
  t.equal(wrong, '', '20,000 names that came and went');
  const grown = writer.buffer.byteLength - bytes;
  t.ok(grown <= 65_536, `in the same memory: ${String(grown)} octets more`);
  t.ok(tableOf() <= 4_096, `and the table is small again: ${String(tableOf())} slots`);
  t.end();
});

t.test('a removed entry takes no other with it, and an old reference removes nothing', (t) => {
  const writer = imageWithZone();
  const names = new Names(writer);
  const asker = new Asker(writer.buffer);
  const first = names.put(`a.${ZONE}`, v4(1));
  const second = names.put(`a.${ZONE}`, v4(2));
  t.not(first, second);
  writer.remove(first);
  t.equal(addressOf(asker, `a.${ZONE}`), v4(2), 'its successor stands');
  t.equal(names.put(`a.${ZONE}`, v4(2)), second, 'the same again is the same entry');
  writer.remove(second);
  writer.remove(second);
  t.equal(addressOf(asker, `a.${ZONE}`), 'NXDOMAIN');
  t.end();
});

t.test('what was put is not seen before it is published, and leaves nothing when it is discarded', (t) => {
  const writer = imageWithZone();
  const names = new Names(writer);
  const asker = new Asker(writer.buffer);
  names.put(`a.${ZONE}`, v4(1));
  writer.commit();
  names.isPublishing = false;
  const { used } = writer.arena;
  const many = Array.from({ length: 700 }, (_, n) => `n${String(n)}.${ZONE}`);
  for (const name of [`a.${ZONE}`, ...many]) names.put(name, v4(2));
  t.same(
    [`a.${ZONE}`, many[0]!, many.at(-1)!].map((name) => addressOf(asker, name)),
    [v4(1), 'NXDOMAIN', 'NXDOMAIN'],
  );
  writer.discard();
  writer.publish();
  t.same(
    [`a.${ZONE}`, many[0]!].map((name) => addressOf(asker, name)),
    [v4(1), 'NXDOMAIN'],
    'discarded',
  );
  t.equal(writer.arena.used, used, 'and its memory given back');
  for (const name of [`a.${ZONE}`, ...many]) names.put(name, v4(3));
  writer.publish();
  t.same(new Set([`a.${ZONE}`, ...many].map((name) => addressOf(asker, name))), new Set([v4(3)]), 'published');
  t.equal(writer.index.size, 4 + 1 + many.length);
  t.end();
});

// A reader whose views are shorter than the image

t.test('the image grows while a reader is online', (t) => {
  const writer = imageWithZone();
  const zone = new Zone(writer, settings);
  const asker = new Asker(writer.buffer, 1, { online: false });
  zone.apply('shop', 'old', clusterSetIP('shop', 'old', [v4(1)]));
  asker.responder.enter();
  const before = writer.buffer.byteLength;
  for (let n = 0; writer.buffer.byteLength < before * 3; n++) {
    zone.apply(
      'shop',
      `web-${String(n)}`,
      headless('shop', `web-${String(n)}`, pods('east', 50, [port('tcp', 'http', 80)], n * 50)),
    );
  }
  t.equal(addressOf(asker, `old.shop.svc.${ZONE}`), v4(1));
  zone.apply('shop', 'new', clusterSetIP('shop', 'new', [v4(2)]));
  t.equal(addressOf(asker, `new.shop.svc.${ZONE}`), v4(2), 'a name behind the former end');
  zone.seal(1_800_000_010);
  t.equal(asker.ask(`nosuch.${ZONE}`, 'A').authority.join(), 'SOA', 'the zone table too');
  asker.responder.leave();
  t.end();
});

t.test('a set by reference in old memory, its endpoints in memory that a reader online has not seen', (t) => {
  const writer = imageWithZone();
  const zone = new Zone(writer, settings);
  const ports = [port('tcp', 'http', 80)];
  const service = (first: number, count = 60): void =>
    zone.apply('shop', 'web', headless('shop', 'web', pods('east', count, ports, first)));
  service(10_000);
  service(20_000);
  service(30_000, 1);
  // The endpoints' former blocks are used up and those of the sets are free, when the arena grows under the reader.
  const { arena } = writer;
  const firstNew = arena.buffer.byteLength;
  let asker = new Asker(writer.buffer, 1, { online: false });
  let length = 0;
  let probe = 0;
  for (let n = 0; probe < length || length === 0; n++) {
    asker.responder.leave();
    asker = new Asker(writer.buffer, 1, { online: false });
    asker.responder.enter();
    length = arena.buffer.byteLength;
    const name = `a${String(n).padStart(2, '0')}`;
    zone.apply('shop', name, headless('shop', name, pods('east', 60, [], 50_000)));
    // A block of the size of an endpoint's entry: where the next one goes.
    probe = arena.allocate(72);
    arena.release(probe, 72);
    if (n > 1_000) throw new Error('the arena never grew');
  }
  t.ok(length >= firstNew && arena.views.words[header.INDEX]! < length, 'the index is in memory that the reader sees');
  service(40_000);
  const reply = asker.ask(`_http._tcp.web.shop.svc.${ZONE}`, 'SRV');
  asker.responder.leave();
  t.equal(reply.answers.length, 60);
  t.ok(reply.answers.every((answer) => /pod-400\d\d\.east\.web\.shop\.svc\.clusterset\.local$/.test(answer)));
  t.end();
});

t.test('fixed views, as long as the buffer was', (t) => {
  const buffer = createImageBuffer(65_536);
  const views = new ImageViews(buffer);
  buffer.grow(131_072);
  t.equal(views.octets.length, 65_536);
  views.refresh();
  t.same([views.length, views.octets.length, views.words.length], [131_072, 131_072, 32_768]);
  t.end();
});

// Variants by view: nobody writes them yet, so these entries are written by hand

/** An entry whose sets differ by view; each variant is a list of sets, a set an address or a text that fails. */
function putVariants(
  writer: ImageWriter,
  name: string,
  pattern: number,
  variants: readonly (readonly string[])[],
): void {
  const wire = nameToWire(name);
  const nameWords = (wire.length + 3) >> 2;
  const table: number[] = [];
  const sets: number[] = [];
  for (const variant of variants) {
    table.push((entry.NAME + nameWords + variants.length + sets.length) | (variant.length << 24));
    for (const address of variant) {
      sets.push(type.A | (setKind.ADDRESSES << 16), 4, Buffer.from(address.split('.').map(Number)).readInt32LE());
    }
  }
  const draft = new Draft();
  draft.begin(0, 0);
  draft.wire(wire);
  draft.endName();
  draft.words[entry.HEAD]! |= variants.length << 16;
  draft.words[entry.ORIGIN]! |= pattern << 16;
  draft.words.set([...table, ...sets], draft.length);
  draft.length += table.length + sets.length;
  writer.put(draft);
  writer.publish();
  writer.commit();
}

function viewTest(t: Test, asker: Asker, name: string, expected: Readonly<Record<number, string>>): void {
  for (const [view, answer] of Object.entries(expected)) {
    asker.responder.view = Number(view);
    t.equal(addressOf(asker, name), answer, `view ${view}`);
  }
  asker.responder.view = 0;
}

t.test('an entry’s variants by view', (t) => {
  const writer = imageWithZone();
  const asker = new Asker(writer.buffer);
  const patterns = [0, 1, 2].map(() => new Uint8Array(MAX_VIEWS));
  patterns[1]!.set([1, 2, 0, 1]);
  patterns[2]!.set([0, 0, 1]);
  patterns[2]![MAX_VIEWS - 1] = 3;
  writer.setPatterns(patterns);
  putVariants(writer, `web.${ZONE}`, 1, [['10.0.0.1'], ['10.0.0.2']]);
  putVariants(writer, `only.${ZONE}`, 2, [['10.1.0.1'], [], ['10.1.0.3', '10.1.0.4']]);
  viewTest(t, asker, `web.${ZONE}`, { 0: '10.0.0.1', 1: '10.0.0.2', 2: 'NXDOMAIN', 3: '10.0.0.1', 4: 'NXDOMAIN' });
  viewTest(t, asker, `only.${ZONE}`, { 0: 'NXDOMAIN', 2: '10.1.0.1', 255: '10.1.0.3' });
  asker.responder.view = 2;
  t.equal(asker.ask(`web.${ZONE}`, 'A').authority.join(), 'SOA', 'a name that a view has not is denied with the SOA');
  asker.responder.view = 1;
  t.equal(asker.ask(`web.${ZONE}`, 'AAAA').rcode, 'NOERROR', 'and one that it has, has no other type');
  asker.responder.view = 0;
  const ofView = (view: number): string[] =>
    [...rrsets(writer, 5, view)]
      .filter((set) => set.type === type.A)
      .map(({ owner, rdata }) => `${owner} ${rdata.map((data) => data.join('.')).join()}`)
      .filter((line) => /^(web|only)\./.test(line))
      .sort();
  t.same(ofView(0), [`web.${ZONE}. 10.0.0.1`], 'read back in view 0');
  t.same(ofView(1), [`web.${ZONE}. 10.0.0.2`], 'in view 1');
  t.same(ofView(2), [`only.${ZONE}. 10.1.0.1`], 'in view 2');
  const { used } = writer.arena;
  for (let n = 0; n < 50; n++) putVariants(writer, `web.${ZONE}`, 1, [['10.0.0.1'], [`10.2.0.${String(n)}`]]);
  viewTest(t, asker, `web.${ZONE}`, { 0: '10.0.0.1', 1: '10.2.0.49' });
  t.equal(writer.arena.used, used, 'a replaced entry with variants is given back whole');
  t.end();
});

// Staleness and failures

t.test('stale sets of clusters say so with Extended DNS Error 3 (RFC 8914 4.4)', (t) => {
  const writer = imageWithZone();
  const zone = new Zone(writer, settings);
  const asker = new Asker(writer.buffer);
  zone.apply('shop', 'both', clusterSetIP('shop', 'both', [v4(1)], [], { clusters: ['a', 'b'] }));
  zone.apply('shop', 'a', clusterSetIP('shop', 'a', [v4(2)], [], { clusters: ['a'] }));
  zone.apply('shop', 'ab', clusterSetIP('shop', 'ab', [v4(3)], [], { clusters: ['ab'] }));
  zone.apply('shop', 'pods', headless('shop', 'pods', [...pods('a', 1), ...pods('b', 1, [], 1)]));
  const errors = (...names: string[]): string =>
    names.map((name) => asker.ask(`${name}.shop.svc.${ZONE}`, 'A').ede.join()).join(' ');
  t.equal(errors('both', 'a', 'ab', 'pods'), '   ', 'nothing is stale');
  writer.setStale(new Set(['a']));
  t.equal(errors('both', 'a', 'ab', 'pods', 'pod-0.a.pods', 'pod-1.b.pods'), '3 3  3 3 ', 'the sets with a');
  const reply = asker.ask(`a.shop.svc.${ZONE}`, 'A');
  t.same([reply.rcode, reply.answers.length], ['NOERROR', 1], 'with the answer');
  t.same(asker.ask(`a.shop.svc.${ZONE}`, 'AAAA').ede, [3], 'and with NODATA of such a name');
  t.same(asker.ask(`a.shop.svc.${ZONE}`, 'A', 'udp', false).ede, [], 'only to who speaks EDNS');
  zone.apply('shop', 'later', clusterSetIP('shop', 'later', [v4(4)], [], { clusters: ['a', 'z'] }));
  t.equal(errors('later'), '3', 'a set that is seen for the first time while a is stale');
  writer.setStale(new Set());
  writer.commit();
  t.equal(errors('both', 'a', 'ab', 'pods', 'later'), '    ', 'and back');
  const { used } = writer.arena;
  for (let n = 0; n < 100; n++) {
    writer.setStale(new Set(n % 2 === 0 ? ['b'] : []));
    writer.commit();
  }
  t.equal(writer.arena.used, used, 'the table is replaced, not added to');
  t.end();
});

t.test('a set that fails: SERVFAIL with its text, and the other types answered', (t) => {
  const writer = imageWithZone();
  const zone = new Zone(writer, settings);
  const asker = new Asker(writer.buffer);
  const text = 'addresses differ: a 10.0.0.1, b 10.0.0.2';
  zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(1)], [port('tcp', 'http', 80)], { addressConflict: text }));
  for (const family of ['A', 'AAAA']) {
    const reply = asker.ask(`web.shop.svc.${ZONE}`, family, 'udp');
    t.same(
      [reply.rcode, reply.aa, reply.ede, reply.edeText, reply.authority],
      ['SERVFAIL', false, [ede.OTHER], text, []],
      family,
    );
  }
  const srv = asker.ask(`_http._tcp.web.shop.svc.${ZONE}`, 'SRV');
  t.same([srv.rcode, srv.answers.length, srv.additional], ['NOERROR', 1, []], 'SRV, without addresses that mislead');
  t.equal(asker.ask(`web.shop.svc.${ZONE}`, 'TXT').rcode, 'NOERROR');
  t.equal(
    asker.ask(`web.shop.svc.${ZONE}`, 'A', 'udp', false).octets,
    12 + `web.shop.svc.${ZONE}`.length + 2 + 4,
    'the header and the question without EDNS',
  );
  const long = 'x'.repeat(1_300);
  zone.apply('shop', 'web', clusterSetIP('shop', 'web', [v4(1)], [], { addressConflict: long }));
  const cut = asker.ask(`web.shop.svc.${ZONE}`, 'A', 'udp');
  t.same([cut.rcode, cut.octets <= 1_232], ['SERVFAIL', true], 'a text that does not fit is left out');
  t.equal(asker.ask(`web.shop.svc.${ZONE}`, 'A', 'tcp').edeText, long);
  t.end();
});

t.test('the limits of a set: what passes 65,535 octets is a window, the same for both families', (t) => {
  const zone = new Zone(imageWithZone(), settings);
  const asker = new Asker(zone.writer.buffer);
  const count = 5_000;
  const dual = pods('east', count, [port('tcp', 'http', 80)]).flatMap((one, n) => [
    one,
    { ...one, address: `fd00::${(n + 1).toString(16)}`, family: 6 as const },
  ]);
  zone.apply('shop', 'web', headless('shop', 'web', dual));
  const name = `web.shop.svc.${ZONE}`;
  const [a, aaaa, srv] = [asker.ask(name, 'A'), asker.ask(name, 'AAAA'), asker.ask(name, 'SRV')];
  t.ok(
    [a, aaaa, srv].every((reply) => !reply.tc && reply.octets <= 65_535),
    'whole records, no TC over TCP',
  );
  t.equal(a.answers.length, aaaa.answers.length, 'as wide as AAAA allows');
  t.ok(
    aaaa.answers.length > 2_300 && srv.answers.length > 780,
    `${String(aaaa.answers.length)} AAAA, ${String(srv.answers.length)} SRV`,
  );
  for (const reply of [a, aaaa, srv]) t.equal(new Set(reply.answers).size, reply.answers.length, 'none twice');
  const places = new Map(dual.map(({ address }, n) => [address, n >> 1]));
  const number = (answer: string): number => places.get(answer.split(' ')[2]!) ?? -1;
  t.same(new Set(a.answers.map(number)), new Set(aaaa.answers.map(number)), 'the same endpoints');
  const overUdp = asker.ask(name, 'A', 'udp');
  t.same(
    [overUdp.tc, overUdp.octets <= 1_232, overUdp.answers.length > 70],
    [true, true, true],
    'over UDP cut, with TC',
  );
  t.end();
});
