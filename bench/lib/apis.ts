// API servers that benches read: child/api.ts as a process, the certificates it serves with, and kubeconfigs for it.

import { writeFile } from 'node:fs/promises';
import { issue, makeCa } from '../../test/support/api/certs.ts';
import type { ApiCounts, ApiOrder, ApiTask } from '../child/api.ts';
import type { MemberSize } from './member.ts';
import type { Player, Stage } from './stage.ts';

export interface Apis {
  readonly player: Player;
  /** One context a member. */
  readonly kubeconfig: string;
  expire(member: number, how: 'end' | 'cut'): Promise<void>;
  refuse(): Promise<void>;
  listen(): Promise<void>;
  count(): Promise<ApiCounts>;
  /** When each change was written. */
  change(changes: number, rate: number): Promise<readonly number[]>;
}

/** The name of a member's context, and its cluster id. */
export const memberId = (i: number): string => `member-${String(i).padStart(3, '0')}`;

/** Starts the servers and fills them. */
export async function startApis(
  stage: Stage,
  members: readonly MemberSize[],
  watchList: ApiTask['watchList'] = 'served',
): Promise<Apis> {
  const ca = makeCa('bench CA');
  const player = stage.child('api', { tls: issue(ca), members, watchList } satisfies ApiTask);
  const ports = JSON.parse(await player.line()) as number[];
  const kubeconfig = stage.file(`members-${String(ports[0])}.json`);
  await writeFile(kubeconfig, kubeconfigText(ca.cert, ports));
  const order = async (what: ApiOrder): Promise<unknown> => {
    player.tell(JSON.stringify(what));
    return JSON.parse(await player.line());
  };
  return {
    player,
    kubeconfig,
    expire: async (member, how) => {
      await order({ do: 'expire', member, how });
    },
    refuse: async () => {
      await order({ do: 'refuse' });
    },
    listen: async () => {
      await order({ do: 'listen' });
    },
    count: async () => (await order({ do: 'count' })) as ApiCounts,
    change: async (changes, rate) => (await order({ do: 'change', changes, rate })) as number[],
  };
}

/** JSON, which is YAML. */
function kubeconfigText(ca: string, ports: readonly number[]): string {
  const authority = Buffer.from(ca).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': memberId(0),
    users: [{ name: 'reader', user: { token: 'reader-token' } }],
    clusters: ports.map((port, i) => ({
      name: memberId(i),
      cluster: { server: `https://127.0.0.1:${String(port)}`, 'certificate-authority-data': authority },
    })),
    contexts: ports.map((_, i) => ({ name: memberId(i), context: { cluster: memberId(i), user: 'reader' } })),
  });
}
