// One line a fact, whatever octets its fields hold.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import t from 'tap';
import { createLog, type LogFields, type LogFormat, type LogLevel } from '../src/log.ts';

function lines(format: LogFormat, level: LogLevel, write: (log: ReturnType<typeof createLog>) => void): string[] {
  const found: string[] = [];
  write(createLog({ level, format, destination: { write: (line) => found.push(line) } }));
  return found;
}

// [fields, message, the text after the time, the JSON after the time]
const CASES: readonly (readonly [fields: LogFields, message: string, text: string, json: string])[] = [
  [{}, 'ready', 'INFO ready', '"message":"ready"'],
  [{ cluster: 'a', count: 3 }, 'synced', 'INFO synced cluster=a count=3', '"cluster":"a","count":3,"message":"synced"'],
  [{ file: 'a b', empty: '' }, 'x', 'INFO x file="a b" empty=""', '"file":"a b","empty":"","message":"x"'],
  [{ q: 'a=b"c\\' }, 'x', 'INFO x q="a=b\\"c\\\\"', '"q":"a=b\\"c\\\\","message":"x"'],
  [{ name: 'a\nINFO forged' }, 'x', 'INFO x name="a\\nINFO forged"', '"name":"a\\nINFO forged","message":"x"'],
  [{ name: '\u009b31m\u007f' }, 'x', 'INFO x name=\\u009b31m\\u007f', '"name":"\\u009b31m\\u007f","message":"x"'],
  [{ name: '\u001b[2J' }, 'x', 'INFO x name=\\u001b[2J', '"name":"\\u001b[2J","message":"x"'],
  [{ name: '\u202eevil\u2028' }, 'x', 'INFO x name="\\u202eevil\\u2028"', '"name":"\\u202eevil\\u2028","message":"x"'],
  [{ name: '\u{e0041}' }, 'x', 'INFO x name=\\udb40\\udc41', '"name":"\\udb40\\udc41","message":"x"'],
  [{ 'a\nb': 1 }, 'x', 'INFO x "a\\nb"=1', '"a\\nb":1,"message":"x"'],
  [{}, 'one\r\ntwo', 'INFO one\\u000d\\u000atwo', '"message":"one\\r\\ntwo"'],
  [{}, '100%s of %d %j', 'INFO 100%s of %d %j', '"message":"100%s of %d %j"'],
  [{ ids: ['a', 'b'], none: undefined }, 'x', 'INFO x ids=["a","b"]', '"ids":["a","b"],"message":"x"'],
  [
    { error: new Error('a', { cause: new TypeError('b') }) },
    'x',
    'INFO x error="a: b"',
    '"error":"a: b","message":"x"',
  ],
  [{ serial: 10n }, 'x', 'INFO x serial=10', '"serial":"10","message":"x"'],
];

for (const [fields, message, text, json] of CASES) {
  t.test(JSON.stringify(message) + ' ' + Object.keys(fields).join(), async (t) => {
    for (const [format, wanted] of [
      ['text', `TIME ${text}\n`],
      ['json', `{"level":"info","time":"TIME",${json}}\n`],
    ] as const) {
      const found = lines(format, 'info', (log) => log.info(fields, message));
      t.strictSame(
        found.map((line) => line.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/, 'TIME')),
        [wanted],
      );
    }
  });
}

t.test('levels', async (t) => {
  for (const [level, wanted] of [
    ['error', ['ERROR']],
    ['warn', ['ERROR', 'WARN']],
    ['info', ['ERROR', 'WARN', 'INFO']],
    ['debug', ['ERROR', 'WARN', 'INFO', 'DEBUG']],
  ] as const) {
    const found = lines('text', level, (log) => {
      log.error({}, 'x');
      log.warn({}, 'x');
      log.info({}, 'x');
      log.debug({}, 'x');
    });
    t.strictSame(
      found.map((line) => line.split(' ')[1]),
      wanted,
    );
  }
});

t.test('stderr has the line before a sudden end, stdout has nothing', async (t) => {
  const source = `import { createLog } from './src/log.ts';
    createLog({ level: 'info', format: 'json' }).info({}, 'last');
    process.kill(process.pid, 'SIGKILL');`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', source], {
    cwd: path.join(import.meta.dirname, '..'),
    encoding: 'utf8',
  });
  t.equal(stdout, '');
  t.match(stderr, /"message":"last"\}\n$/);
});
