// Lists and lines of JSON, cut anywhere. The oracle is JSON.parse of the whole text.
import fc from 'fast-check';
import t from 'tap';
import { LineReader, TooLongError } from '../../src/k8s/api/json-lines.ts';
import { ListError, ListReader } from '../../src/k8s/api/json-list.ts';
import type { ListEnd } from '../../src/k8s/api/json-list.ts';

const LIMIT = 8 * 1_024 * 1_024;
const HEAD = { kind: 'EndpointSliceList', apiVersion: 'discovery.k8s.io/v1', metadata: { resourceVersion: '7' } };

/** The octets in pieces: each size is how many octets the next piece has, over and over. */
function* cut(octets: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < octets.length; i++) {
    const size = sizes[i % sizes.length] ?? octets.length;
    yield octets.subarray(at, at + size);
    at += size;
  }
}

function readLines(octets: Uint8Array, sizes: readonly number[], limit = LIMIT): { lines: string[]; left: number } {
  const reader = new LineReader(limit);
  const lines: string[] = [];
  for (const chunk of cut(octets, sizes)) for (const line of reader.push(chunk)) lines.push(line.toString());
  return { lines, left: reader.end() };
}

function readList(text: string | Uint8Array, sizes: readonly number[] = [], limit = LIMIT): [unknown[], ListEnd] {
  const items: unknown[] = [];
  const reader = new ListReader((item) => items.push(item), limit);
  for (const chunk of cut(typeof text === 'string' ? Buffer.from(text) : text, sizes)) reader.push(chunk);
  return [items, reader.end()];
}

const sizes = fc.oneof(
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
  fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
);
/** Text with what a scanner may stumble over. */
const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '\n', 'é', '漢', '😀', 'a', 'items') }),
);
/** Through JSON once, since -0 and `__proto__` do not survive it. */
const json = fc
  .oneof(text, fc.jsonValue({ stringUnit: 'binary' }), fc.dictionary(text, fc.oneof(text, fc.array(text))))
  .map((value): unknown => JSON.parse(JSON.stringify(value)));

t.test('lines, cut anywhere', async (t) => {
  const line = fc.oneof(
    fc.constant(''),
    text.map((s) => JSON.stringify(s)),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n'))), line, sizes, (ended, last, sizes) => {
      const octets = Buffer.from(ended.map(([line, end]) => line + end).join('') + last);
      const { lines, left } = readLines(octets, sizes);
      t.strictSame(
        lines,
        ended.map(([line]) => line).filter((line) => line !== ''),
      );
      t.equal(left, Buffer.byteLength(last));
    }),
  );
  t.strictSame(readLines(Buffer.from('\n\r\n\r\na\n\n'), [1]), { lines: ['a'], left: 0 }, 'empty lines');
});

t.test('a line within a chunk is not copied', async (t) => {
  const chunk = Buffer.from('{"a":1}\n{"b":2}\n');
  for (const line of new LineReader(LIMIT).push(chunk)) t.equal(line.buffer, chunk.buffer);
});

t.test('a line that is too long', async (t) => {
  const fits = Buffer.from('a'.repeat(100) + '\n');
  for (const sizes of [[], [1], [64]]) {
    t.equal(readLines(fits, sizes, 100).lines.length, 1);
    t.throws(() => readLines(fits, sizes, 99), new TooLongError('a line of more than 99 octets'));
    t.throws(() => readLines(Buffer.alloc(100, 'a'), sizes, 99), TooLongError, 'before it ends');
  }
});

t.test('a long line in many chunks takes no more than linear time', async (t) => {
  const most = Buffer.alloc(LIMIT, 'a');
  most[LIMIT - 1] = 0x0a;
  const start = performance.now();
  t.equal(readLines(most, [64]).lines[0]?.length, LIMIT - 1);
  const item = Buffer.concat([Buffer.from('{"items":["'), most.fill('a'), Buffer.from('"]}')]);
  t.throws(() => readList(item, [64], 2 * LIMIT), { message: 'a list whose kind is nothing' });
  // 131,072 pieces: copying all of what came before with each would be 500 GB.
  t.ok(performance.now() - start < 20_000);
});

t.test('lists, cut anywhere, in whatever order of keys', async (t) => {
  const fields = fc.record(
    {
      extra: json,
      metadata: fc.record({
        resourceVersion: fc.constantFrom('1', '900'),
        continue: fc.constantFrom('', 'x"y\\', undefined),
        items: fc.array(json, { maxLength: 3 }),
      }),
      'items ': json,
      kind: fc.constantFrom('EndpointSliceList', 'List'),
      apiVersion: fc.constant('v1'),
      items: fc.oneof(fc.array(json), fc.constant(null)),
    },
    { requiredKeys: ['kind', 'metadata'] },
  );
  const written = fc.tuple(fields, fc.integer(), fc.constantFrom(undefined, 1, '\t')).map(([list, order, space]) => {
    const entries = Object.entries(list);
    const turn = Math.abs(order) % entries.length;
    return JSON.stringify(Object.fromEntries([...entries.slice(turn), ...entries.slice(0, turn)]), null, space);
  });
  fc.assert(
    fc.property(written, sizes, fc.constantFrom('', ' \r\n\t'), (text, sizes, space) => {
      const whole = JSON.parse(text) as { metadata: Record<string, unknown>; items?: unknown[] | null; kind: string };
      const [items, end] = readList(space + text + space, sizes);
      t.strictSame(items, whole.items ?? []);
      t.match(end, {
        kind: whole.kind,
        resourceVersion: whole.metadata['resourceVersion'],
        continueToken: whole.metadata['continue'] ?? '',
      });
    }),
    { numRuns: 500 },
  );
});

t.test('an item is given as soon as it is whole', async (t) => {
  const items: unknown[] = [];
  const reader = new ListReader((item) => items.push(item), LIMIT);
  reader.push(Buffer.from('{"items":[{"a":1},'));
  t.strictSame(items, [{ a: 1 }]);
  const failing = new ListReader(() => {
    throw new Error('of the sink');
  }, LIMIT);
  t.throws(() => failing.push(Buffer.from('{"items":[1]}')), { name: 'Error', message: 'of the sink' });
});

t.test('what stands around the items', async (t) => {
  const metadata = { resourceVersion: '12', continue: 'abc', remainingItemCount: 3 };
  t.strictSame(readList(JSON.stringify({ ...HEAD, metadata, items: [{}] }), [1]), [
    [{}],
    {
      kind: 'EndpointSliceList',
      apiVersion: 'discovery.k8s.io/v1',
      resourceVersion: '12',
      continueToken: 'abc',
      remaining: 3,
    },
  ]);
  const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code: 410, reason: 'Expired' };
  t.strictSame(readList(JSON.stringify(status), [1]), [[], { status }]);
  for (const items of ['[]', '[ \n]', 'null']) {
    t.strictSame(readList(JSON.stringify(HEAD).replace('{', `{"items":${items},`), [1])[0], [], items);
  }
  t.strictSame(readList(JSON.stringify(HEAD).replace('{', '{"\\u0069tems" : [1],'), [1])[0], [1], 'an escaped key');
});

t.test('what is no list, in one line', async (t) => {
  const whole = JSON.stringify({ ...HEAD, items: [{ a: '\\"]}' }, { b: ['é', null] }] });
  const octets = Buffer.from(whole);
  for (let length = 0; length < octets.length; length++) {
    t.throws(() => readList(octets.subarray(0, length)), new ListError('a list that ended before it was whole'));
  }
  const around = JSON.stringify(HEAD).slice(1, -1);
  const CASES: readonly (readonly [text: string, message: string | RegExp])[] = [
    ['<html>\n<body>', 'not a JSON object: it begins with "<html>\\n<body>"'],
    ['[]', 'not a JSON object: it begins with "[]"'],
    ['404 page not found\n', /^not a JSON object: it begins with "404 page/],
    ['{"items":[{]}', 'a list whose items do not end'],
    ['{"items":[{],{}]}', 'a list whose item 0 is not JSON'],
    ['{"items":[{]]', 'a list whose item 0 is not JSON'],
    ['{"items":[[{}', 'a list that ended before it was whole'],
    ['{"items":[1,,2]}', 'a list whose item 1 is not JSON'],
    ['{"items":[1,]}', 'a list whose item 1 is not JSON'],
    ['{"items":[,]}', 'a list whose item 0 is not JSON'],
    ['{"items":[{}{}]}', 'a list whose item 0 is not JSON'],
    ['{"items":[{"a":tru}]}', 'a list whose item 0 is not JSON'],
    ['{"items":["a\n"]}', 'a list whose item 0 is not JSON'],
    ['{"items":[1}', 'a list whose items do not end'],
    ['{"items":[1],"items":[2]}', 'a list that has items twice'],
    [`{"items":[1]${around}}`, 'a list that is not JSON around its items'],
    [`{"items":[1],${around},}`, 'a list that is not JSON around its items'],
    [`{"items":{},${around}}`, 'a list whose items are an object'],
    [`{${around}}}`, 'a list with something after its end'],
    [`{${around}}{"items":[1]}`, 'a list with something after its end'],
    ['{}', 'a list whose kind is nothing'],
    ['{"kind":"Service"}', 'a list whose kind is "Service"'],
    ['{"kind":"ServiceList","items":[]}', 'a list without a resourceVersion'],
    [`{"x":"${'a'.repeat(1_100_000)}"}`, 'a list with more than 1048576 octets around its items'],
  ];
  for (const [text, message] of CASES) {
    // Of a first chunk of one octet no more can be shown.
    for (const sizes of text.startsWith('{') ? [[], [1]] : [[]])
      t.throws(() => readList(text, sizes), { name: 'ListError', message }, text.slice(0, 60));
  }
});

t.test('limits of an item, and of depth', async (t) => {
  const text = JSON.stringify({ ...HEAD, items: ['a'.repeat(98)] });
  for (const sizes of [[], [1], [64]]) {
    t.equal(readList(text, sizes, 100)[0].length, 1);
    const message = 'a list whose item 0 has more than 99 octets';
    t.throws(() => readList(text, sizes, 99), { name: 'ListError', message });
    t.throws(() => readList(text.slice(0, -3), sizes, 97), { name: 'ListError' }, 'before it ends');
  }
  const depth = 2_000_000;
  const deep = `{${JSON.stringify(HEAD).slice(1, -1)},"items":[${'['.repeat(depth)}${']'.repeat(depth)}]}`;
  for (const sizes of [[], [65_536]]) {
    try {
      t.equal(readList(deep, sizes)[0].length, 1);
    } catch (error) {
      t.match(error, { name: 'ListError', message: 'a list whose item 0 is not JSON' });
    }
  }
  t.throws(() => readList('{"x":' + '['.repeat(1_000_000)), { name: 'ListError' });
});
