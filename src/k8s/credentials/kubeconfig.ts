// A kubeconfig as its files say it, before any of it is believed: entries by name, merged as kubectl merges them (the
// first file that has a name wins; nothing is merged within an entry). Not here: YAML, what an entry's fields mean.

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { CredentialError, at } from './credential-error.ts';
import { readBounded } from './credential-file.ts';
import { NO_RECORD, isRecord, shown } from '../objects/fields.ts';
import type { RawObject } from '../objects/fields.ts';

/** A thousand contexts with certificates in them. */
const MAX_OCTETS = 8 * 1_024 * 1_024;
/** What a text can become in memory goes by its punctuation: 170 octets each. A context has a hundred at most. */
const MAX_PUNCTUATION = 500_000;
const MAX_NAME_CHARACTERS = 1_024;
const SHOWN_NAMES = 5;

/** A context, cluster or user: what stands below its name, and the file that this is in. */
export interface Entry {
  readonly name: string;
  readonly fields: RawObject;
  readonly file: string;
}

export interface Kubeconfig {
  /** Those that were read. */
  readonly files: readonly string[];
  readonly current: string | undefined;
  readonly contexts: ReadonlyMap<string, Entry>;
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
}

/** YAML to plain values. Throws an error with a reason and perhaps a place in the text. */
export type ParseYaml = (text: string) => unknown;

/** Reads the file, or where none is given the files that kubectl reads. */
export async function readKubeconfig(
  file: string | undefined,
  env: NodeJS.ProcessEnv,
  parse: ParseYaml,
): Promise<Kubeconfig> {
  if (file !== undefined) return merge([await readOne(path.resolve(file), parse)]);
  const listed = (env['KUBECONFIG'] ?? '').split(path.delimiter).filter((name) => name !== '');
  if (listed.length === 0) return merge([await readOne(path.join(homedir(), '.kube', 'config'), parse)]);
  const names = [...new Set(listed.map((name) => path.resolve(name)))];
  // Of a list, kubectl leaves out what is missing, and fails on what cannot be read.
  const there = names.filter((name) => existsSync(name));
  if (there.length === 0) throw new CredentialError(`kubeconfig ${names.join(path.delimiter)}: does not exist`);
  return merge(await Promise.all(there.map((name) => readOne(name, parse))));
}

interface OneFile {
  readonly file: string;
  readonly current: string | undefined;
  readonly lists: Readonly<Record<'contexts' | 'clusters' | 'users', readonly Entry[]>>;
}

async function readOne(file: string, parse: ParseYaml): Promise<OneFile> {
  return at(`kubeconfig ${file}`, async () => {
    const text = await readBounded(file, MAX_OCTETS);
    // To kubectl an empty file is a kubeconfig without entries.
    const value = text.trim() === '' ? NO_RECORD : parsed(text, parse);
    if (!isRecord(value)) throw new CredentialError('is no kubeconfig');
    const lists = {
      contexts: entries(value, 'contexts', 'context', file),
      clusters: entries(value, 'clusters', 'cluster', file),
      users: entries(value, 'users', 'user', file),
    };
    return { file, current: textField(value, 'current-context'), lists };
  });
}

function parsed(text: string, parse: ParseYaml): unknown {
  // Before it is parsed: where a thread's heap is full, V8 may end the whole process.
  let punctuation = 0;
  for (let i = 0; i < text.length; i++) if (isPunctuation(text.charCodeAt(i))) punctuation++;
  if (punctuation > MAX_PUNCTUATION) throw new CredentialError('is no kubeconfig: it has too many values');
  try {
    return parse(text);
  } catch (error) {
    const { reason, mark } = error as { readonly reason?: string; readonly mark?: { readonly line: number } };
    // What follows a quote or a bracket is a piece of the text, which may be a piece of a token.
    const words = reason?.split(/["'<(:]/)[0]?.trim() ?? 'no YAML';
    throw new CredentialError(`does not parse: ${words}${mark === undefined ? '' : `, line ${mark.line + 1}`}`);
  }
}

/** Each value of a YAML text has one of these beside it: a line's end, `,`, `:`, `[`, `{`. */
function isPunctuation(c: number): boolean {
  return c === 0x0a || c === 0x2c || c === 0x3a || c === 0x5b || c === 0x7b || c === 0x0d;
}

function entries(value: RawObject, list: string, below: string, file: string): Entry[] {
  const items = value[list] ?? [];
  if (!Array.isArray(items)) throw new CredentialError(`${list}: must be a list`);
  const seen = new Set<string>();
  return items.map((item: unknown, i) => {
    const place = `${list}[${i}]`;
    if (!isRecord(item)) throw new CredentialError(`${place}: must be an object`);
    const { name } = item;
    if (typeof name !== 'string' || name === '') throw new CredentialError(`${place}.name: must be a string`);
    if (name.length > MAX_NAME_CHARACTERS) throw new CredentialError(`${place}.name: is too long`);
    if (seen.has(name)) throw new CredentialError(`${list}: two have the name ${shown(name)}`);
    seen.add(name);
    const fields = item[below] ?? {};
    if (!isRecord(fields)) throw new CredentialError(`${place}.${below}: must be an object`);
    return { name, fields, file };
  });
}

function merge(files: readonly OneFile[]): Kubeconfig {
  const merged = (list: keyof OneFile['lists']): Map<string, Entry> => {
    const byName = new Map<string, Entry>();
    for (const { lists } of files)
      for (const entry of lists[list]) if (!byName.has(entry.name)) byName.set(entry.name, entry);
    return byName;
  };
  return {
    files: files.map(({ file }) => file),
    current: files.find(({ current }) => current !== undefined)?.current,
    contexts: merged('contexts'),
    clusters: merged('clusters'),
    users: merged('users'),
  };
}

/** The context of this name, or the current one. */
export function findContext(kubeconfig: Kubeconfig, name = kubeconfig.current): Entry {
  const { contexts, files } = kubeconfig;
  const found = name === undefined ? undefined : contexts.get(name);
  if (found !== undefined) return found;
  const place = `kubeconfig ${files.join(path.delimiter)}`;
  if (contexts.size === 0) throw new CredentialError(`${place}: has no contexts`);
  const names = [...contexts.keys()].slice(0, SHOWN_NAMES).map(shown);
  if (contexts.size > SHOWN_NAMES) names.push(`${contexts.size - SHOWN_NAMES} more`);
  const what = name === undefined ? 'has no current-context' : `has no context ${shown(name)}`;
  throw new CredentialError(`${place}: ${what} (it has ${names.join(', ')})`);
}

/** A field that is a string; undefined where it is absent, null or empty, which mean the same in a kubeconfig. */
export function textField(fields: RawObject, key: string): string | undefined {
  const value = fields[key] ?? '';
  if (typeof value !== 'string') throw new CredentialError(`${key}: must be a string`);
  return value === '' ? undefined : value;
}

/** A field that is true or false; absent means false. */
export function flagField(fields: RawObject, key: string): boolean {
  const value = fields[key] ?? false;
  if (typeof value !== 'boolean') throw new CredentialError(`${key}: must be true or false`);
  return value;
}

/** A field that is a list of strings. */
export function textsField(fields: RawObject, key: string): readonly string[] {
  const value = fields[key] ?? [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw new CredentialError(`${key}: must be a list of strings`);
  }
  return value;
}
