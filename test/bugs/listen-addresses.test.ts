// IPv6 text of `--listen`: a zone id ended with a stack trace, and a wildcard written in full was not seen as one.

import t from 'tap';
import { parseServeFlags } from '../../src/config.ts';
import { UsageError } from '../../src/usage.ts';

const around = { stderrIsTerminal: false, processors: 1 };

void t.test('one address, one text', (t) => {
  for (const listen of ['[fe80::1%eth0]:53', '[::ffff:127.0.0.1]:53', '[::1]:65536', '::1:53']) {
    t.throws(() => parseServeFlags({ lab: '.', listen: [listen] }, around), UsageError, listen);
  }
  const { listen } = parseServeFlags({ lab: '.', listen: ['[0:0:0:0:0:0:0:0]:53', '[FD00:0::1]:53'] }, around);
  t.same(
    listen.map(({ host }) => host),
    ['::', 'fd00::1'],
  );
  t.throws(() => parseServeFlags({ lab: '.', listen: ['[::]:53', '[::0]:53'] }, around), UsageError, 'twice');
  t.end();
});
