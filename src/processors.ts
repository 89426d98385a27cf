// How many processors this process may use: what decides the default of `--workers`.
// A container sees every processor of its node; its CPU quota stands in the cgroup (v2, or v1 with its own files).

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Whole processors that this process may use: those it sees, or fewer if its cgroup has a quota; at least 1. */
export function processors(read: (path: string) => string | undefined = readText): number {
  return Math.max(1, Math.floor(Math.min(availableParallelism(), cgroupProcessors(read) ?? Infinity)));
}

/** The lowest CPU quota from this process's cgroup up to the root, in processors; undefined without one. */
function cgroupProcessors(read: (path: string) => string | undefined): number | undefined {
  const groups = read('/proc/self/cgroup') ?? '';
  const quotas: number[] = [];
  const v2 = /^0::(\/.*)$/m.exec(groups)?.[1] ?? '/';
  const v1 = /^\d+:(?:[^:\n]*,)?cpu(?:,[^:\n]*)?:(\/.*)$/m.exec(groups)?.[1] ?? '/';
  for (const folder of upwards(v2)) {
    const [quota, period] = (read(`/sys/fs/cgroup${folder}cpu.max`) ?? '').trim().split(' ');
    quotas.push(Number(quota) / Number(period));
  }
  for (const folder of upwards(v1)) {
    const quota = read(`/sys/fs/cgroup/cpu${folder}cpu.cfs_quota_us`);
    quotas.push(Number(quota) / Number(read(`/sys/fs/cgroup/cpu${folder}cpu.cfs_period_us`)));
  }
  // `max`, -1 and a file that is not there are no quota.
  const bounds = quotas.filter((quota) => quota > 0 && Number.isFinite(quota));
  return bounds.length > 0 ? Math.min(...bounds) : undefined;
}

function upwards(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '..');
  return names
    .reduceRight<string[]>((found, _, i) => [...found, `/${names.slice(0, i + 1).join('/')}/`], [])
    .concat('/');
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
