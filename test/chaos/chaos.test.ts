/**
 * One minute of chaos with five API servers: no name lost, no wrong address, and every cluster healed five seconds after
 * the first sound answers of its API server. `npm run bench -- chaos` is the same for ten minutes. CHAOS_SEED repeats a run.
 */
import process from 'node:process';
import t from 'tap';
import { faultKinds } from './support-faults.ts';
import { runChaos } from './support-run.ts';
import { History } from './support-truth.ts';

t.test('states of an object live as long as its window', (t) => {
  const history = new History('a');
  const settle = history.put('b');
  t.same(history.since(performance.now() + 1_000), ['a', 'b'], 'nobody knows yet that it was written');
  settle();
  const settled = performance.now();
  t.same(history.since(settled + 1), ['b']);
  t.same(history.since(settled - 1_000), ['a', 'b'], 'a cluster in trouble may be answered as before');
  t.same(history.prune(settled + 1), ['a']);
  t.same(history.since(-Infinity), ['b']);
  t.end();
});

t.test('a minute', async (t) => {
  const seed = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1e6));
  t.comment(`CHAOS_SEED=${seed}`);
  const lines: string[] = [];
  const report = await runChaos({
    ...{ seed, seconds: 28, faultMillis: 4_000, settleMillis: 36_000, isSlow: false, restarts: 2 },
    ...{ questionsPerSecond: 1_000, tell: (line: string) => lines.push(line) },
  });
  const { checker, healing, faults, changes, starts, outOfTouch } = report;
  const { healed, unhealed } = healing;
  t.comment(
    `${checker.sent} questions, ${changes} changes, ${faults.size} of ${Object.keys(faultKinds).length} kinds of faults`,
  );
  t.comment(
    `healed in ${Math.round(Math.max(...healed))} ms at most; started in ${starts.map(Math.round).join(' and ')} ms`,
  );
  t.same(checker.first.slice(0, 10), [], 'no wrong answer');
  t.equal(checker.violations, 0);
  t.same([...checker.lostNames], [], 'no question without a reply');
  t.same(unhealed, [], 'every cluster has healed in time');
  t.same(outOfTouch, [], 'all are in touch at the end');
  t.ok(checker.answered > 10_000 && changes > 100 && healed.length > 5 && starts.length === 2, 'something was tried');
  t.ok(report.connections <= 5 * 5, `${report.connections} connections for five clusters`);
  if (!t.passing()) t.comment(lines.join('\n'));
});
