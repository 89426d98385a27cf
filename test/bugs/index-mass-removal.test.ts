// Names that went and others that came: a table made for the few that were left filled up before it was complete, and
// the writer looked for a free slot for ever. Also where the image is full while the index grows.

import t from 'tap';
import { ImageFullError } from '../../src/zones/arena.ts';
import { Draft } from '../../src/zones/draft.ts';
import { ImageWriter } from '../../src/zones/image-writer.ts';
import { nameToWire } from '../../src/zones/wire.ts';

const draft = new Draft();

function put(writer: ImageWriter, name: string): number {
  draft.begin(0, 0);
  draft.wire(nameToWire(name));
  draft.endName();
  const reference = writer.put(draft);
  writer.publish();
  return reference;
}

void t.test('all names go, as many others come', (t) => {
  for (const names of [1_023, 5_000, 10_200, 40_900]) {
    const writer = new ImageWriter(7);
    const before = Array.from({ length: names }, (_, i) => put(writer, `a${String(i)}.x`));
    for (const reference of before) writer.remove(reference);
    writer.commit();
    const now = Array.from({ length: names }, (_, i) => put(writer, `b${String(i)}.x`));
    t.equal(writer.index.size, names);
    t.same(new Set(writer.index.references()), new Set(now), `${String(names)} names, each where it is found`);
    writer.commit();
  }
  t.end();
});

void t.test('the image is full while the index grows', (t) => {
  const writer = new ImageWriter(7, 2 << 20);
  let full = false;
  for (let i = 0; !full && i < 100_000; i++) {
    try {
      put(writer, `a${String(i)}.${'x'.repeat(60)}.${String(i % 7)}`);
    } catch (error) {
      if (!(error instanceof ImageFullError)) throw error;
      writer.discard();
      full = true;
    }
  }
  t.ok(full, 'refused, and not looked for without end');
  t.equal([...writer.index.references()].length, writer.index.size);
  t.end();
});
