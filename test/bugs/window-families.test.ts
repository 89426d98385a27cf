// Over TCP, A and AAAA of a service that no message holds must show the same endpoints, also where some pods have one
// family only (KEP-1645 2.4.1; RFC 1794 for the window).
import t from 'tap';
import { localZone } from '../support/in-process.ts';
import { query } from '../support/packet.ts';
import { walk } from '../support/reply.ts';

const PODS = 6000;
const DUAL = 5000;
const SLICE = 1000;

function slice(from: number, family: 'IPv4' | 'IPv6'): string {
  const endpoints = Array.from({ length: SLICE }, (_, i) => {
    const pod = String(from + i).padStart(4, '0');
    const address =
      family === 'IPv4'
        ? `10.1.${Math.floor((from + i) / 250)}.${(from + i) % 250}`
        : `fd00::${(from + i + 1).toString(16)}`;
    return `p${pod}=${address}#u${pod}`;
  });
  return `slice s/big ${family} = ${endpoints.join(' ')}`;
}

void t.test('the window of A and of AAAA where the last pods have no IPv6', async (t) => {
  const lines = ['import s/big Headless', 'export s/big'];
  for (let from = 0; from < PODS; from += SLICE) {
    lines.push(slice(from, 'IPv4'));
    if (from < DUAL) lines.push(slice(from, 'IPv6'));
  }
  const { respond } = localZone({ c: lines.join('\n') });
  let clock = 1_800_000_000_000;
  t.capture(Date, 'now', () => clock);
  const pods = (type: 'A' | 'AAAA'): Set<number> => {
    const { records } = walk(respond(query('big.s.svc.clusterset.local', type), 'TCP'));
    return new Set(
      records.map(({ rdata }) => (type === 'A' ? rdata[2]! * 250 + rdata[3]! : rdata.readUInt16BE(14) - 1)),
    );
  };
  for (let window = 0; window < 8; window++, clock += 5_000) {
    const [a, aaaa] = [pods('A'), pods('AAAA')];
    const apart = [...aaaa].filter((pod) => !a.has(pod)).length;
    t.equal(apart, 0, `window ${window}: ${apart} of ${aaaa.size} pods in AAAA are not in A`);
  }
});
