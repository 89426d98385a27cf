// The command's front door: `bin/clusterset-dns.js` runs under whatever Node is on the path and goes on under the clone's.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t from 'tap';

const bin = join(import.meta.dirname, '../../bin/clusterset-dns.js');

/** The first Node on the path that is too old for the sources, or nothing. */
function oldNode(): string | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  return path
    .map((folder) => join(folder, 'node'))
    .filter((node) => !node.includes('node_modules') && existsSync(node))
    .find((node) => {
      const { stdout } = spawnSync(node, ['-p', 'process.versions.node'], { encoding: 'utf8', env: {} });
      return Number(stdout.split('.')[0]) < 22;
    });
}

const node = oldNode();
const skip = node === undefined ? 'no Node older than 22 is on the path' : false;

void t.test('an old Node hands over to the clone’s', { skip }, (t) => {
  const version = spawnSync(node!, [bin, '--version'], { encoding: 'utf8', env: {} });
  t.equal(version.status, 0);
  t.match(version.stdout, /^clusterset-dns \d+\.\d+\.\d+.*Node v?26\./);
  const usage = spawnSync(node!, [bin, 'serve', '--ttl', '5000', '--lab', '.'], { encoding: 'utf8', env: {} });
  t.equal(usage.status, 2, 'the exit code comes through');
  t.match(usage.stderr, /^clusterset-dns: --ttl: /);
  t.equal(usage.stderr.trim().split('\n').length, 1);
  t.end();
});

void t.test('a Node that is too old, without the clone’s', { skip }, (t) => {
  const script = `
    const fs = require('fs'), os = require('os'), path = require('path');
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'shim-'));
    fs.mkdirSync(path.join(dir, 'bin'));
    for (const file of ['clusterset-dns.js', 'package.json']) {
      fs.copyFileSync(path.join(${JSON.stringify(join(bin, '..'))}, file), path.join(dir, 'bin', file));
    }
    const run = require('child_process').spawnSync(process.execPath, [path.join(dir, 'bin/clusterset-dns.js'), '--version'], { encoding: 'utf8' });
    fs.rmSync(dir, { recursive: true });
    process.stdout.write(JSON.stringify({ status: run.status, stderr: run.stderr }));`;
  const { stdout } = spawnSync(node!, ['-e', script], { encoding: 'utf8', env: {} });
  const { status, stderr } = JSON.parse(stdout) as { status: number; stderr: string };
  t.equal(status, 2);
  t.match(stderr, /^clusterset-dns: .*Node/);
  t.equal(stderr.trim().split('\n').length, 1, 'one line');
  t.end();
});
