// The import rules hold in this repository, and the check that says so can fail.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { importViolations } from '../scripts/check-imports.ts';

t.test('this repository', async (t) => {
  t.strictSame(importViolations(path.join(import.meta.dirname, '..')), []);
});

const CASES: readonly (readonly [file: string, text: string, violations: readonly string[]])[] = [
  ['src/dns/a.ts', "import '../zones/b.ts';", ['src/dns/a.ts:1: src/dns/ must not import src/zones/ (../zones/b.ts)']],
  [
    'src/dns/deep/a.ts',
    "\nexport type { X } from '../../k8s/x.ts';",
    ['src/dns/deep/a.ts:2: src/dns/ must not import src/k8s/ (../../k8s/x.ts)'],
  ],
  [
    'src/zones/a.ts',
    "const x = await import('../ops/x.ts');",
    ['src/zones/a.ts:1: src/zones/ must not import src/ops/ (../ops/x.ts)'],
  ],
  [
    'src/zones/b.ts',
    "new Worker(new URL('../k8s/x.ts', import.meta.url));",
    ['src/zones/b.ts:1: src/zones/ must not import src/k8s/ (../k8s/x.ts)'],
  ],
  [
    'src/k8s/a.ts',
    "type X = import('../commands/x.ts').X;",
    ['src/k8s/a.ts:1: src/k8s/ must not import src/commands/ (../commands/x.ts)'],
  ],
  [
    'src/ops/a.ts',
    "import '../dns/a.ts';\nimport '../zones/a.ts';\nimport '../k8s/a.ts';\nimport '../server.ts';",
    ['src/ops/a.ts:4: src/ops/ must not import src/server.ts (../server.ts)'],
  ],
  ['src/server.ts', "import './dns/a.ts';\nimport './ops/a.ts';", []],
  [
    'src/config.ts',
    "import '../test/support/a.ts';",
    ['src/config.ts:1: src/ must not import test/ (../test/support/a.ts)'],
  ],
  ['src/dns/ffi.ts', "const koffi = (await import('koffi')).default;", []],
  [
    'src/dns/udp.ts',
    "const require = createRequire(import.meta.url);\nrequire('koffi');\nimport('koffi/indirect');",
    [
      'src/dns/udp.ts:2: koffi is imported only in src/dns/ffi.ts',
      'src/dns/udp.ts:3: koffi is imported only in src/dns/ffi.ts',
    ],
  ],
  ['test/koffi.ts', "import koffi from 'koffi';", ['test/koffi.ts:1: koffi is imported only in src/dns/ffi.ts']],
  ['src/commands/query.ts', "import { Command } from 'commander';\nimport packet from 'dns-packet';", []],
  [
    'src/zones/c.ts',
    "import packet from 'dns-packet';",
    ['src/zones/c.ts:1: dns-packet is imported only in src/commands/, test/, bench/'],
  ],
  ['test/dns/a.test.ts', "import packet from 'dns-packet';", []],
  ['src/zones/d.ts', "// import 'koffi'\nconst text = \"import 'koffi'\";\nimport 'koffi-like';", []],
];

for (const [file, text, violations] of CASES) {
  t.test(`planted: ${file}: ${text.split('\n')[0]!}`, async (t) => {
    const root = t.testdir({});
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
    t.strictSame(importViolations(root), violations);
  });
}
