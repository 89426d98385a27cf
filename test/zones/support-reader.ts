// A reader thread of image-readers.test.ts: asks without end and judges every reply. Its reading of replies is its own.
// Every record of a service carries the service's version: addresses are 10.<version, 16 bits>.<number>, IPv6 ones
// fd00::<version>:<number>, ports version % 60000 + 1; and how many endpoints there are follows from the version.
import { workerData, parentPort } from 'node:worker_threads';
import { Responder, transport } from '../../src/dns/respond.ts';
import { questionOf } from './support-ask.ts';

export interface ReaderTask {
  readonly image: SharedArrayBuffer;
  readonly reader: number;
  /** Word 0: stop. Words 2 + 2 × reader: replies judged, in thousands; and those with records. */
  readonly control: SharedArrayBuffer;
  /** Services that always exist, and those that come and go. */
  readonly always: readonly string[];
  readonly sometimes: readonly string[];
  readonly seed: number;
}

/** How many endpoints a service has in this version: one to some that do not fit into a UDP message. */
export function endpointsOf(version: number): number {
  return 1 + ((version * 7) % 110);
}

interface Rdata {
  readonly type: number;
  /** Of an address or a port. */
  readonly version: number;
  readonly number: number;
}

const BATCH = 24;
const TYPES = ['A', 'AAAA', 'SRV', 'MX'] as const;
const SERVFAIL = 2;
const NXDOMAIN = 3;
const VERSIONS = 60_000;

if (parentPort !== null) read(workerData as ReaderTask);

function read(task: ReaderTask): void {
  const { image, reader, always, sometimes } = task;
  const control = new Int32Array(task.control);
  const buffer = new Uint8Array(65_536 + 1_024);
  const responder = new Responder(image, reader, buffer);
  const zone = 'clusterset.local';
  const questions = [...always, ...sometimes].flatMap((name, n) =>
    [name, `_http._tcp.${name}`, `pod-0.east.${name}`, `east.${name}`].flatMap((owner, shape) =>
      TYPES.map((type) => ({ name: owner, type, shape, lives: n < always.length, octets: questionOf(owner, type) })),
    ),
  );
  questions.push({
    name: `dns-version.${zone}`,
    type: 'MX',
    shape: 3,
    lives: true,
    octets: questionOf(`dns-version.${zone}`, 'MX'),
  });
  let random = task.seed;
  const draw = (below: number): number => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((random / 2 ** 32) * below);
  };
  let judged = 0;
  let full = 0;
  while (Atomics.load(control, 0) === 0) {
    responder.enter();
    for (let n = 0; n < BATCH; n++) {
      const { name, type, shape, lives, octets } = questions[draw(questions.length)]!;
      const overTcp = draw(2) === 0;
      buffer.set(octets);
      const length = responder.respond(0, octets.length, overTcp ? transport.TCP : transport.UDP);
      const wrong = judge(buffer, length, octets.length, { type, shape, lives, overTcp });
      if (wrong !== '') {
        parentPort!.postMessage(`${name} ${type} over ${overTcp ? 'TCP' : 'UDP'}: ${wrong}`);
        responder.leave();
        return;
      }
      if (((buffer[6]! << 8) | buffer[7]!) > 0) full++;
      judged++;
    }
    // Now and then a reader stays inside for long, as a preempted one does.
    if (draw(400) === 0) {
      const until = performance.now() + 5;
      while (performance.now() < until);
    }
    responder.leave();
    Atomics.store(control, 2 + 2 * reader, Math.floor(judged / 1_000));
    Atomics.store(control, 3 + 2 * reader, Math.floor(full / 1_000));
  }
  parentPort!.postMessage('');
}

interface Expected {
  readonly type: (typeof TYPES)[number];
  readonly shape: number;
  readonly lives: boolean;
  readonly overTcp: boolean;
}

/** '' or what is wrong with the reply. */
function judge(m: Uint8Array, length: number, questionEnd: number, expected: Expected): string {
  const { type, shape, lives, overTcp } = expected;
  const rcode = m[3]! & 15;
  const [answers, authority, additional] = [6, 8, 10].map((at) => (m[at]! << 8) | m[at + 1]!) as [
    number,
    number,
    number,
  ];
  const said = `rcode ${String(rcode)}, ${String(answers)} answers, ${String(authority)}, ${String(additional)}, ${String(length)} octets`;
  if (rcode === SERVFAIL) return `SERVFAIL (${said})`;
  if (rcode === NXDOMAIN)
    return lives ? `a name that always exists is missing (${said})` : authority === 1 ? '' : `no SOA (${said})`;
  if (rcode !== 0) return said;
  const hasRecords =
    shape === 0 ? type !== 'MX' : shape === 1 ? type === 'SRV' : shape === 2 && (type === 'A' || type === 'AAAA');
  if (!hasRecords) return answers === 0 && authority === 1 ? '' : `not NODATA (${said})`;
  if (answers === 0) return `no records (${said})`;
  // The OPT goes along with the question; dns-packet put it behind the question of the query.
  const records: Rdata[] = [];
  let p = questionEnd - 11;
  for (let n = 0; n < answers + authority + additional; n++) {
    const record = readRecord(m, p, length);
    if (typeof record === 'string') return `${record} at ${String(p)} (${said})`;
    if (record.rdata !== undefined) records.push(record.rdata);
    p = record.end;
  }
  if (p !== length) return `${String(length - p)} octets behind the last record (${said})`;
  const version = records[0]!.version;
  if (records.some((record) => record.version !== version))
    return `versions ${[...new Set(records.map((record) => record.version))].join()} in one reply (${said})`;
  const endpoints = endpointsOf(version);
  const truncated = (m[2]! & 2) !== 0;
  const numbers = new Set(records.slice(0, answers).map((record) => record.number));
  const wanted = shape === 2 ? 1 : endpoints;
  if (!truncated && answers !== wanted)
    return `${String(answers)} of ${String(wanted)} records of version ${String(version)} (${said})`;
  if (truncated && overTcp) return `truncated over TCP (${said})`;
  if (type !== 'SRV' && numbers.size !== answers) return `a record twice (${said})`;
  if ([...numbers].some((number) => number >= endpoints)) return `an endpoint of another version (${said})`;
  return '';
}

function readRecord(m: Uint8Array, p: number, end: number): { rdata: Rdata | undefined; end: number } | string {
  // Owners are pointers or the root.
  const at = m[p]! >= 0xc0 ? p + 2 : m[p] === 0 ? p + 1 : -1;
  if (at < 0) return `owner octet ${String(m[p])}`;
  const type = (m[at]! << 8) | m[at + 1]!;
  const from = at + 10;
  const rdlength = (m[at + 8]! << 8) | m[at + 9]!;
  if (from + rdlength > end) return 'RDATA beyond the end';
  const next = from + rdlength;
  const word = (offset: number): number => (m[from + offset]! << 8) | m[from + offset + 1]!;
  switch (type) {
    case 1:
      if (rdlength !== 4 || m[from] !== 10) return `A of ${[...m.subarray(from, next)].join('.')}`;
      return { rdata: { type, version: word(1) % VERSIONS, number: m[from + 3]! }, end: next };
    case 28:
      if (rdlength !== 16 || word(0) !== 0xfd00) return 'AAAA of another network';
      return { rdata: { type, version: word(12) % VERSIONS, number: word(14) }, end: next };
    case 33: {
      // pod-<n>.east.…
      const label = String.fromCharCode(...m.subarray(from + 7, from + 7 + m[from + 6]!));
      const [, digits] = /^pod-(\d+)$/.exec(label) ?? [];
      if (digits === undefined) return `target ${label}`;
      return { rdata: { type, version: word(4) - 1, number: Number(digits) }, end: next };
    }
    case 41:
      return { rdata: undefined, end: next };
    default:
      return `type ${String(type)}`;
  }
}
