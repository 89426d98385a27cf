// The checker against a UDP server that answers as the test says: right, wrong, late, twice or not at all.

import dnsPacket, { type Answer } from 'dns-packet';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { answers, anyOf, Checker, type CheckerOptions } from './checker.ts';

type Act = 'answer' | 'drop' | 'twice' | 'garbage' | 'other name';

/** Answers A questions with `addresses`, as `act` says for each name. */
async function server(
  t: Test,
): Promise<{ port: number; addresses: string[]; act: (name: string) => Act; seen: Set<string> }> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  const self = { port: 0, addresses: ['10.0.0.1'], act: (_: string): Act => 'answer', seen: new Set<string>() };
  socket.on('message', (message, from) => {
    const { id, questions } = dnsPacket.decode(message);
    const name = questions![0]!.name;
    self.seen.add(name);
    const act = self.act(name);
    if (act === 'drop') return;
    const records: Answer[] = self.addresses.map((address) => ({ name, type: 'A', ttl: 5, data: address }));
    const asked = act === 'other name' ? [{ ...questions![0]!, name: 'other.test' }] : questions!;
    const reply = dnsPacket.encode({ type: 'response', id: id!, flags: 0, questions: asked, answers: records });
    const octets = act === 'garbage' ? reply.subarray(0, 20) : reply;
    for (let n = act === 'twice' ? 2 : 1; n > 0; n--) socket.send(octets, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return Object.assign(self, { port: socket.address().port });
}

async function checker(t: Test, options: CheckerOptions): Promise<Checker> {
  const open = await Checker.open({ lostMillis: 300, ...options });
  t.teardown(() => open.pause());
  return open;
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error('it did not come');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

t.test('right answers, at about the rate', async (t) => {
  const { port, seen } = await server(t);
  const check = await checker(t, { port, questionsPerSecond: 1_000, lostMillis: 10_000 });
  for (const name of ['a.test', 'b.test']) check.expect(name, 'A', answers([`${name} A 10.0.0.1`]));
  const began = performance.now();
  check.run();
  await until(() => check.report.answered >= 500);
  const { sent } = check.report;
  t.ok(sent <= performance.now() - began + 1, 'no faster than asked for');
  const report = await check.stop();
  t.same([report.violations, report.lost, report.strays], [0, 0, 0]);
  t.equal(report.answered, report.sent);
  t.ok(report.slowestMillis > 0);
  t.same([...seen].sort(), ['a.test', 'b.test']);
});

t.test('wrong answers are kept, up to a number, and counted', async (t) => {
  const fake = await server(t);
  const check = await checker(t, { port: fake.port, kept: 3 });
  check.expect('a.test', 'A', answers(['a.test A 10.0.0.2']));
  check.run();
  await until(() => check.report.violations > 10);
  const { first } = check.report;
  t.equal(first.length, 3);
  t.match(first[0], { name: 'a.test', type: 'A', got: 'NOERROR; a.test A 10.0.0.1' });
  check.expect('a.test', 'A', anyOf(answers(['a.test A 10.0.0.2']), answers(['a.test A 10.0.0.1'])));
  check.reset();
  await until(() => check.report.answered > 100);
  t.equal(check.report.violations, 0, 'judged by the new table');
  // Replies of before may still be under way.
  const finds = (got: RegExp): Promise<void> =>
    until(() => {
      const isFound = check.report.first.some((each) => got.test(each.got));
      if (!isFound) check.reset();
      return isFound;
    });
  fake.act = () => 'garbage';
  await finds(/does not decode/);
  fake.act = () => 'other name';
  await finds(/^the reply to other.test A$/);
  await check.stop();
});

t.test('a question asked before a change may be answered as before it', async (t) => {
  const fake = await server(t);
  const check = await checker(t, { port: fake.port, questionsPerSecond: 5_000, lostMillis: 10_000 });
  check.expect('a.test', 'A', answers(['a.test A 10.0.0.1']));
  check.run();
  for (let n = 2; n < 20; n++) {
    const answered = check.report.answered;
    await until(() => check.report.answered > answered + 10);
    fake.addresses = [`10.0.0.${n}`];
    check.expect('a.test', 'A', answers([`a.test A 10.0.0.${n}`]));
  }
  t.equal((await check.stop()).violations, 0);
});

t.test('no reply, and two', async (t) => {
  const fake = await server(t);
  fake.act = (name) => (name === 'a.test' ? 'drop' : 'twice');
  const check = await checker(t, { port: fake.port });
  for (const name of ['a.test', 'b.test']) check.expect(name, 'A', answers([`${name} A 10.0.0.1`]));
  check.run();
  await until(() => check.report.lost > 10 && check.report.strays > 10);
  t.same([...check.report.lostNames.keys()], ['a.test']);
  check.forget('a.test', 'A');
  check.reset();
  await until(() => check.report.answered > 100);
  t.equal(check.report.lost, 0);
  await check.stop();
});

t.test('a server that is away', async (t) => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(resolve));
  const check = await checker(t, { port });
  check.expect('a.test', 'A', answers([]));
  check.run();
  await until(() => check.report.lost > 10);
  const report = await check.stop();
  t.same([report.answered, report.sent], [0, report.lost]);
});
