// Packed endpoints against the endpoints they were made of.
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { hasDistinctIPv4, isPacked, packEndpoints, unpackEndpoints } from '../../src/k8s/objects/packed-endpoints.ts';
import { PackedSlice } from '../../src/k8s/objects/packed-slice.ts';
import { sameSlice } from '../../src/k8s/objects/same.ts';
import type { Endpoint, EndpointSlice } from '../../src/zones/objects.ts';

const UUID = '0ff1ce00-a0b1-4c2d-8e3f-fedcba987654';

function endpoint(fields: Partial<Endpoint> = {}): Endpoint {
  return { addresses: ['10.0.0.1'], hostname: '', ready: true, uid: UUID, ...fields };
}

/** A character of a text that is nearly what packs well, changed. */
const nearly = (texts: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(texts, fc.nat(40), fc.constantFrom('', '0', 'A', 'g', '-', '.', ' ', '\u00ff', '\u0100'))
    .map(([text, at, other]) => text.slice(0, at) + other + text.slice(at + 1));
const address = fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.ipV6(), nearly(fc.ipV4()));
const uid = fc.oneof(fc.constant(''), fc.uuid(), nearly(fc.uuid()), fc.string({ unit: 'binary' }));
const endpoints: fc.Arbitrary<readonly Endpoint[]> = fc.array(
  fc.record(
    {
      addresses: fc.oneof(
        fc.array(address),
        address.map((one) => [one]),
      ),
      hostname: fc.oneof(fc.constantFrom('', 'mysql-0', 'a'.repeat(63), 'a'.repeat(64)), fc.string({ unit: 'binary' })),
      ready: fc.boolean(),
      uid,
    },
    { noNullPrototype: true },
  ),
  { maxLength: 20 },
);

t.test('endpoints come back as they were', async (t) => {
  fc.assert(
    fc.property(endpoints, (endpoints) => {
      const packed = packEndpoints(endpoints);
      return isDeepStrictEqual(unpackEndpoints(packed), endpoints) && isPacked(packed);
    }),
    { numRuns: 1000 },
  );
  const long = [endpoint({ hostname: 'x'.repeat(3_000_000), uid: '漢'.repeat(40_000) }), endpoint()];
  t.ok(isDeepStrictEqual(unpackEndpoints(packEndpoints(long)), long), 'texts longer than the scratch');
  const many = Array.from({ length: 100_000 }, (_, i) =>
    endpoint({ addresses: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`] }),
  );
  t.ok(isDeepStrictEqual(unpackEndpoints(packEndpoints(many)), many), 'more of them than the scratch');
  t.strictSame(unpackEndpoints(packEndpoints([])), []);
});

t.test('what is usual takes few octets, each a character of one', async (t) => {
  const SIZES: readonly (readonly [what: string, fields: Partial<Endpoint>, octets: number])[] = [
    ['a pod', {}, 21],
    ['not ready', { ready: false }, 21],
    ['of a StatefulSet', { hostname: 'mysql-0' }, 29],
    ['without a uid', { uid: '' }, 5],
    ['a uid in upper case', { uid: UUID.toUpperCase() }, 42],
    ['IPv6', { addresses: ['fd00:10:244::1f'] }, 34],
  ];
  for (const [what, fields, octets] of SIZES) {
    const packed = packEndpoints([endpoint(fields)]);
    t.equal(packed.length, octets, what);
    t.notMatch(packed, /[\u0100-\uffff]/);
  }
  t.notMatch(packEndpoints([endpoint({ hostname: '漢' })]), /[\u0100-\uffff]/);
});

const FIELDS = {
  namespace: 'ns',
  name: 's1',
  service: 'web',
  form: 'mirrored',
  sourceCluster: 'eu',
  addressType: 'IPv4',
  ports: [{ name: 'http', protocol: 'tcp', port: 80 }],
} as const;

function packedSlice(endpoints: readonly Endpoint[], fields: Partial<EndpointSlice> = {}): PackedSlice {
  return new PackedSlice({ ...FIELDS, ...fields, packed: packEndpoints(endpoints) });
}

t.test('a slice reads as the interface says', async (t) => {
  const slice = packedSlice([endpoint()]);
  t.strictSame(slice.endpoints, [endpoint()]);
  t.strictSame(slice.toJSON(), { ...FIELDS, endpoints: [endpoint()] });
  t.equal(JSON.stringify([slice]), JSON.stringify([{ ...FIELDS, endpoints: [endpoint()] }]));
});

t.test('equal slices, packed or plain', async () => {
  const changed = fc.constantFrom<Partial<EndpointSlice>>({}, { name: 's2' }, { service: 'db' }, { ports: [] });
  fc.assert(
    fc.property(endpoints, endpoints, fc.boolean(), changed, (left, other, isSame, fields) => {
      const right = isSame ? structuredClone(left) : other;
      const expected = isDeepStrictEqual(left, right) && Object.keys(fields).length === 0;
      const plain: EndpointSlice = { ...FIELDS, ...fields, endpoints: right };
      return (
        sameSlice(packedSlice(left), packedSlice(right, fields)) === expected &&
        sameSlice(packedSlice(left), plain) === expected &&
        sameSlice(plain, packedSlice(left)) === expected
      );
    }),
  );
});

t.test('ports and texts that are alike are kept once, and never mixed up', async (t) => {
  const alike = packedSlice([], { ports: [{ ...FIELDS.ports[0] }] });
  t.equal(alike.ports, packedSlice([]).ports);
  const ports = fc.array(
    fc.record(
      {
        name: fc.constantFrom('', 'a', 'http'),
        protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
        port: fc.integer({ min: 1, max: 12 }),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 20 },
  );
  fc.assert(
    fc.property(ports, fc.string(), (ports, text) => {
      const slice = packedSlice([], { ports, service: text, sourceCluster: text, namespace: text });
      const texts = [slice.service, slice.sourceCluster, slice.namespace];
      return isDeepStrictEqual(slice.ports, ports) && texts.every((given) => given === text);
    }),
  );
  // The tables are begun anew when they are full.
  for (let i = 0; i < 20_000; i++) {
    const slice = packedSlice([], { service: `s${i}`, ports: [{ ...FIELDS.ports[0], name: `p${i}` }] });
    if (slice.service !== `s${i}` || slice.ports[0]?.name !== `p${i}`) t.fail(`slice ${i}`);
  }
});

t.test('octets that are no packed endpoints', async (t) => {
  const packed = packEndpoints([endpoint({ addresses: ['fd00::1', 'fd00::2'], hostname: 'a', uid: 'u' }), endpoint()]);
  const first = packEndpoints([endpoint({ addresses: ['fd00::1', 'fd00::2'], hostname: 'a', uid: 'u' })]).length;
  for (let end = 1; end < packed.length; end++) t.equal(isPacked(packed.slice(0, end)), end === first);
  t.notOk(isPacked('\x20'), 'an unknown flag');
  const octets = fc.uint8Array({ maxLength: 60 }).map((octets) => Buffer.from(octets).toString('latin1'));
  fc.assert(
    fc.property(octets, (text) => {
      return !isPacked(text) || unpackEndpoints(text).every(({ addresses }) => Array.isArray(addresses));
    }),
    { numRuns: 1000 },
  );
});

t.test('that no address stands twice is told of single IPv4 addresses, and never wrongly', (t) => {
  const few = fc.constantFrom('10.0.0.1', '10.0.0.2', '255.0.0.1', '10.0.0.255');
  const some = fc.array(
    fc.record({
      addresses: fc.oneof(
        few.map((one) => [one]),
        fc.ipV4().map((one) => [one]),
        fc.array(few, { maxLength: 3 }),
      ),
      hostname: fc.constantFrom('', 'a'),
      ready: fc.boolean(),
      uid,
    }),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(some, (list) => {
      const all = list.flatMap(({ addresses }) => addresses);
      const expected = list.every(({ addresses }) => addresses.length === 1) && new Set(all).size === all.length;
      return hasDistinctIPv4(packEndpoints(list)) === expected;
    }),
    { numRuns: 2_000 },
  );
  const many = Array.from({ length: 1_025 }, (_, i): Endpoint => {
    return { addresses: [`10.0.${i >> 8}.${i & 255}`], hostname: '', ready: true, uid: '' };
  });
  t.ok(hasDistinctIPv4(packEndpoints(many.slice(1))));
  t.notOk(hasDistinctIPv4(packEndpoints(many)), 'more than a slice may have are not looked at');
  t.end();
});
