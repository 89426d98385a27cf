// `check` on a healthy fleet, and on one with each of its findings planted: the line and the exit code.

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { check } from '../../src/commands/check.ts';
import { writeLab } from '../support/lab.ts';

async function run(
  lab: string,
  strict = false,
  output: 'text' | 'json' = 'text',
): Promise<{ code: number; text: string }> {
  let text = '';
  const code = await check({ lab, strict, output }, (part) => (text += part));
  return { code, text: text.replaceAll(lab, 'LAB') };
}

void t.test('a healthy fleet', async (t) => {
  const { code, text } = await run(path.join(import.meta.dirname, '../../examples/lab'), true);
  t.equal(code, 0);
  t.match(text, /^info +jobs\/batch: no ready endpoint \(2 not ready\): its name does not exist$/m);
  t.match(text, /^0 errors, 0 warnings, 1 note$/m);
});

const WEB = 'import s/web ClusterSetIP 10.0.0.1 http/TCP:80';

/** What is planted, in clusters a and b, and the one line that tells of it. */
const planted: readonly [what: string, a: string, b: string, line: RegExp, code: 0 | 1][] = [
  [
    'an exporter without an import',
    'export s/web',
    '',
    /^warning s\/web: exported by a, but no cluster holds a ServiceImport/m,
    0,
  ],
  ['an import without an exporter', WEB, '', /^warning s\/web: imported by a, but no cluster exports it$/m, 0],
  [
    'addresses that differ',
    `${WEB}\nexport s/web`,
    'import s/web ClusterSetIP 10.0.0.2 http/TCP:80',
    /^error +s\/web: ips differ: a 10\.0\.0\.1, b 10\.0\.0\.2; A and AAAA get SERVFAIL/m,
    1,
  ],
  [
    'types that differ',
    `${WEB}\nexport s/web`,
    'import s/web Headless http/TCP:80',
    /^warning s\/web: ServiceImport of b left out: Headless, but a says ClusterSetIP$/m,
    0,
  ],
  [
    'ports that differ',
    `${WEB}\nexport s/web`,
    'import s/web ClusterSetIP 10.0.0.1 http/TCP:8080',
    /^warning s\/web: port http\/tcp 8080 of the ServiceImport of b left out: 80 was first$/m,
    0,
  ],
  [
    'one address in two clusters',
    'import s/db Headless x/TCP:1\nexport s/db\nslice s/db IPv4 x/TCP:1 = p=10.0.0.1',
    'import s/db Headless x/TCP:1\nexport s/db\nslice s/db IPv4 x/TCP:1 = q=10.0.0.1',
    /^warning s\/db: address 10\.0\.0\.1 is given by a and b/m,
    0,
  ],
  [
    'a cluster that nobody configured',
    'import s/db Headless x/TCP:1\nslice s/db IPv4 from zz x/TCP:1 = p=10.0.0.1',
    '',
    /^warning cluster zz: named by EndpointSlice s\/\S+ in a, but no such cluster is configured$/m,
    0,
  ],
  [
    'no ips yet',
    'import s/web ClusterSetIP http/TCP:80\nexport s/web',
    '',
    /^info +s\/web: its ServiceImport has no ips/m,
    0,
  ],
];

void t.test('every finding planted', async (t) => {
  for (const [what, a, b, line, code] of planted) {
    const lab = writeLab(t, { a, b });
    const told = await run(lab);
    t.match(told.text, line, what);
    t.equal(told.code, code, `${what}: exit code`);
    if (/^warning/m.test(told.text)) t.equal((await run(lab, true)).code, 1, `${what}: --strict`);
    t.type((JSON.parse((await run(lab, false, 'json')).text) as unknown[]).length, 'number', `${what}: -o json`);
  }
});

void t.test('files', async (t) => {
  const lab = writeLab(t, { a: `${WEB}\nexport s/web` });
  writeFileSync(path.join(lab, 'a/bad.yaml'), 'kind: Service\n  x: [\n');
  const { code, text } = await run(lab);
  t.match(text, /^error +LAB\/a\/bad\.yaml:\d+: does not parse: /m);
  t.equal(code, 1);
  await t.rejects(run('/nowhere'), { message: '--lab /nowhere: is not there' });
});
