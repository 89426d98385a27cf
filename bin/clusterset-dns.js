#!/usr/bin/env node
// The door of the `clusterset-dns` command. Plain JavaScript that Node 10 can still parse: an old Node must end in a
// sentence, not in a SyntaxError at the first type annotation. A clone carries a Node of its own (the devDependency
// `node`); with an older one in hand, that one is run instead. It reads no argument: src/main.ts does, when imported.
'use strict';

var fs = require('fs');
var path = require('path');

var LOWEST = [22, 19];
var root = path.join(__dirname, '..');

function isOld(version) {
  var parts = version.split('.').map(Number);
  return parts[0] < LOWEST[0] || (parts[0] === LOWEST[0] && parts[1] < LOWEST[1]);
}

function refuse(line) {
  process.stderr.write('clusterset-dns: ' + line + '\n');
  process.exit(2);
}

function runMain() {
  // An installed package has only dist/; a clone runs src/, and Node strips the types.
  var source = path.join(root, 'src', 'main.ts');
  var built = path.join(root, 'dist', 'main.js');
  var main = fs.existsSync(source) ? source : built;
  if (!fs.existsSync(main)) refuse('neither dist/main.js nor src/main.ts is here; run npm run build');
  import(require('url').pathToFileURL(main).href).catch(function (error) {
    process.stderr.write('clusterset-dns: ' + ((error && error.stack) || error) + '\n');
    process.exit(1);
  });
}

function runCloneNode(node) {
  var childProcess = require('child_process');
  var probe = childProcess.spawnSync(node, ['--version'], { encoding: 'utf8' });
  if (probe.status !== 0) {
    var said = String(probe.stderr || probe.error || '');
    if (said.indexOf('libatomic.so.1') >= 0) {
      refuse("node_modules/node cannot run: libatomic.so.1 is missing (Debian's package libatomic1)");
    }
    refuse('node_modules/node cannot run: ' + (said.trim().split('\n')[0] || 'status ' + probe.status));
  }
  var child = childProcess.spawn(node, [__filename].concat(process.argv.slice(2)), { stdio: 'inherit' });
  function forward(signal) {
    process.on(signal, function () {
      // Ctrl-C reaches the child from the terminal itself; a second SIGINT would cut its lame-duck time short.
      if (signal === 'SIGINT' && process.stdin.isTTY) return;
      child.kill(signal);
    });
  }
  var signals = ['SIGTERM', 'SIGINT', 'SIGHUP'];
  signals.forEach(forward);
  child.on('error', function (error) {
    refuse('node_modules/node cannot run: ' + error.message);
  });
  child.on('exit', function (code, signal) {
    if (signal === null) process.exit(code);
    signals.forEach(function (name) {
      process.removeAllListeners(name);
    });
    process.kill(process.pid, signal);
  });
}

if (!isOld(process.versions.node)) {
  runMain();
} else {
  var own = path.join(root, 'node_modules', 'node', 'bin', 'node');
  if (fs.existsSync(own)) runCloneNode(own);
  else
    refuse('needs Node.js ' + LOWEST.join('.') + ' or later, not ' + process.versions.node + ' (in a clone: npm ci)');
}
