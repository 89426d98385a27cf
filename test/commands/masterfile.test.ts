// A master file: its text, and that the checkers of Knot and NSD take it where they are installed.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { masterFile, masterJson, type MasterRecord } from '../../src/commands/masterfile.ts';

const RECORDS: readonly MasterRecord[] = [
  { name: 'z.example.', type: 'NS', ttl: 5, data: 'ns.dns.z.example.' },
  { name: 'ns.dns.z.example.', type: 'A', ttl: 5, data: '192.0.2.1' },
  { name: 'dns-version.z.example.', type: 'TXT', ttl: 28800, data: '"1.0.0" "a\\"; b"' },
  { name: 'z.example.', type: 'SOA', ttl: 5, data: 'ns.dns.z.example. hostmaster.z.example. 7 60 60 60 5' },
  { name: '_http._tcp.web.shop.svc.z.example.', type: 'SRV', ttl: 5, data: '0 100 80 web.shop.svc.z.example.' },
  { name: 'web.shop.svc.z.example.', type: 'AAAA', ttl: 5, data: 'fd00::1' },
  { name: `${'h'.repeat(50)}.a.web.shop.svc.z.example.`, type: 'A', ttl: 5, data: '192.0.2.2' },
  { name: '$include\\.\\064\\"x;().z.example.', type: 'A', ttl: 5, data: '192.0.2.3' },
  { name: 'a\nb\\\\é.z.example.', type: 'TXT', ttl: 5, data: '"a\nb"' },
];

const WANTED = `\
; clusterset-dns\\010evil
z.example.                                      5      IN SOA   ns.dns.z.example. hostmaster.z.example. 7 60 60 60 5
z.example.                                      5      IN NS    ns.dns.z.example.
ns.dns.z.example.                               5      IN A     192.0.2.1
dns-version.z.example.                          28800  IN TXT   "1.0.0" "a\\"; b"
_http._tcp.web.shop.svc.z.example.              5      IN SRV   0 100 80 web.shop.svc.z.example.
web.shop.svc.z.example.                         5      IN AAAA  fd00::1
${'h'.repeat(50)}.a.web.shop.svc.z.example. 5 IN A 192.0.2.2
\\036include\\.\\064\\"x\\059\\040\\041.z.example.     5      IN A     192.0.2.3
a\\010b\\\\\\195\\169.z.example.                     5      IN TXT   "a\\010b"
`;

t.test('text', async (t) => {
  const text = [...masterFile(RECORDS, ['clusterset-dns\nevil'])].join('');
  t.equal(text.replace(/(h{50}\S+) +5 +IN A +/, '$1 5 IN A '), WANTED);
  t.throws(() => [...masterFile(RECORDS.slice(0, 2), [])], { message: 'a zone has one SOA record, not 0' });

  const file = path.join(t.testdir({}), 'z.example.zone');
  writeFileSync(file, text);
  // Knot reads dumps in test/peers.
  try {
    execFileSync('nsd-checkzone', ['z.example', file], { stdio: 'pipe' });
    t.pass('nsd-checkzone');
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: string; stdout?: Buffer; stderr?: Buffer };
    if (code === 'ENOENT' && process.env['CI'] !== 'true') t.pass('nsd-checkzone', { skip: 'not installed' });
    else t.fail(`nsd-checkzone: ${String(stdout)}${String(stderr)}`);
  }
});

t.test('JSON', async (t) => {
  const records = JSON.parse([...masterJson(RECORDS)].join('')) as MasterRecord[];
  t.equal(records.length, RECORDS.length);
  t.strictSame(records[0], { name: 'z.example.', ttl: 5, type: 'SOA', data: RECORDS[3]!.data });
});
