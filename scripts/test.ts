// `npm test [-- FILE…]`: runs tap (its settings are in .taprc), prints one line a file and every failure in full, and
// closes with `N passed, N failed[, N skipped]`. What is counted are assertions: the leaves of tap's tree, never the
// subtests and files that sum them up. A file that fails without a failed assertion (a crash, a time-out, a plan not
// met) counts as one failure, and so do a file without any test and a run in which none ran (a skipped one did not).
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Parser, type FinalResults, type Result } from 'tap-parser';

const root = fileURLToPath(new URL('..', import.meta.url));
const tap = fileURLToPath(new URL('../node_modules/.bin/tap', import.meta.url));

let passed = 0;
let failed = 0;
let skipped = 0;
let failedBefore = 0; // `failed` when the file now read began
let passedBefore = 0;
let skippedBefore = 0;
let said: string[] = []; // what the file now read printed beside TAP
const failedFiles = new Set<string>();
const files = new WeakSet<Result>(); // test points of the top level: a file each, or tap's own word

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function indent(text: string): string {
  return text.trimEnd().replace(/^/gm, '    ');
}

function listen(parser: Parser): void {
  parser.on('child', listen);
  parser.on('extra', (text: string) => said.push(text));
  parser.on('comment', (text: string) => {
    if (!/^# (Subtest|time=|test count\()/.test(text)) said.push(text);
  });
}

function fail(what: string, detail: unknown): void {
  failed++;
  print(`  not ok: ${what}`);
  if (detail && Object.keys(detail).length > 0) print(indent(JSON.stringify(detail, null, 2).replaceAll('\\n', '\n')));
}

function closeFile(file: Result): void {
  files.add(file);
  const detail = (file.diag ?? {}) as Record<string, unknown>;
  const isTimeout = file.name === 'timeout!'; // tap's own word, after the file that it stopped
  const name = isTimeout ? String(detail['expired']) : file.name;
  if (isTimeout && failedFiles.has(name)) return;
  if (file.skip === 'no tests found') {
    fail(`${name}: no test in it`, null);
  } else if (file.skip && skipped === skippedBefore) {
    skipped++;
    print(`  skipped: ${file.skip === true ? name : file.skip}`);
  } else if (!file.ok && failed === failedBefore) {
    const end = typeof detail['signal'] === 'string' ? detail['signal'] : `exit code ${String(detail['exitCode'])}`;
    fail(`${name}: ${isTimeout ? 'timed out' : `failed outside of an assertion (${end})`}`, null);
  }
  const counts = [`${String(passed - passedBefore)} passed`];
  if (failed > failedBefore) counts.push(`${String(failed - failedBefore)} failed`);
  if (skipped > skippedBefore) counts.push(`${String(skipped - skippedBefore)} skipped`);
  const seconds = file.time === null ? '' : `  ${(file.time / 1000).toFixed(1)} s`;
  if (failed > failedBefore) {
    failedFiles.add(name);
    if (said.length > 0) print(`  it said:\n${indent(said.join(''))}`);
  }
  print(`${failed > failedBefore ? 'FAIL' : 'ok  '}  ${name}  ${counts.join(', ')}${seconds}`);
  said = [];
  [passedBefore, failedBefore, skippedBefore] = [passed, failed, skipped];
}

function finish(results: FinalResults | null, code: number | null, signal: string | null): void {
  if (passed + failed === 0) fail('no test ran', null);
  else if ((code !== 0 || results?.ok !== true) && failed === 0) fail(`tap ended with ${String(signal ?? code)}`, null);
  print(`${String(passed)} passed, ${String(failed)} failed${skipped > 0 ? `, ${String(skipped)} skipped` : ''}`);
  process.exitCode = failed > 0 ? 1 : 0;
}

let results: FinalResults | null = null;
const parser = new Parser();
listen(parser);
// The parser hands every leaf to its root as pass, fail, skip or todo, whatever the depth.
parser.on('assert', closeFile);
parser.on('pass', (leaf: Result) => {
  if (!files.has(leaf)) passed++;
});
parser.on('fail', (leaf: Result) => {
  if (!files.has(leaf)) fail(leaf.fullname, leaf.diag);
});
for (const event of ['skip', 'todo']) {
  parser.on(event, (leaf: Result) => {
    if (files.has(leaf)) return;
    skipped++;
    const reason = leaf.skip || leaf.todo;
    print(`  skipped: ${leaf.fullname}${typeof reason === 'string' && reason !== '' ? ` (${reason})` : ''}`);
  });
}
parser.on('bailout', (reason: string) => {
  fail(`bailed out: ${reason}`, null);
});
parser.on('complete', (final: FinalResults) => {
  results = final;
});

const child = spawn(process.execPath, [tap, '--reporter=tap', ...process.argv.slice(2)], {
  cwd: root,
  stdio: ['ignore', 'pipe', 'inherit'],
});
child.stdout.setEncoding('utf8');
child.stdout.on('data', (text: string) => parser.write(text));
child.on('close', (code, signal) => {
  parser.end();
  finish(results, code, signal);
});
for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => child.kill(signal));
}
