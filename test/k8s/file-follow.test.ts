// Single files on a real disk, and the ways in which they change there.
import { mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { followFiles } from '../../src/k8s/file-follow.ts';
import { limits } from '../../src/limits.ts';

t.test('changes of content, and nothing else', async (t) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'follow-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  const at = (name: string): string => path.join(dir, name);
  await mkdir(at('..1'));
  await mkdir(at('..2'));
  await mkdir(at('..3'));
  await writeFile(at('..1/mounted'), 'one');
  await writeFile(at('..2/mounted'), 'two');
  await writeFile(at('..3/mounted'), 'two');
  await symlink('..1', at('..data'));
  await symlink('..data/mounted', at('mounted'));
  await writeFile(at('plain'), 'one');
  const seen: string[] = [];
  const follower = await followFiles(
    [at('plain'), at('mounted'), at('later'), at('plain')],
    (files) => seen.push(...files.map((file) => path.basename(file))),
    20,
  );
  t.teardown(() => follower.close());

  /** Waits for this change, and that no other comes with it. */
  const sees = async (name: string, what: string): Promise<void> => {
    const start = performance.now();
    while (seen.length === 0 && performance.now() - start < 10_000) await delay(5);
    await delay(100);
    t.strictSame(seen.splice(0), [name], what);
  };
  const seesNothing = async (what: string): Promise<void> => {
    await delay(200);
    t.strictSame(seen.splice(0), [], what);
  };

  await writeFile(at('plain'), 'two');
  await sees('plain', 'written in place');
  await writeFile(at('plain'), 'two');
  await utimes(at('plain'), 1, 1);
  await seesNothing('the same octets, touched');
  await writeFile(at('.plain.swp'), 'six');
  await rename(at('.plain.swp'), at('plain'));
  await sees('plain', 'renamed over');
  await symlink('..2', at('..tmp'));
  await rename(at('..tmp'), at('..data'));
  await sees('mounted', 'the folder that a symlink names is swapped');
  await symlink('..3', at('..tmp'));
  await rename(at('..tmp'), at('..data'));
  await seesNothing('swapped for the same octets');
  await rm(at('plain'));
  await sees('plain', 'gone');
  await writeFile(at('plain'), 'six');
  await sees('plain', 'there again');
  await writeFile(at('later'), '');
  await sees('later', 'appears');
  await writeFile(at('later'), Buffer.alloc(limits.config.fileOctets + 1));
  await sees('later', 'too large to be read');
  await follower.close();
  await writeFile(at('plain'), 'last');
  await seesNothing('closed');
});
