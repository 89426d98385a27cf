// A configuration file to the same Config that flags make; flags win. One document of YAML 1.2 (JSON is a part of it).
// A bad file is refused whole, in one line: `FILE:LINE: KEY: what`, with the first thing that is wrong.
// Not here: keys (config-schema.ts), what they mean together for clusters (config-clusters.ts), when to read again.

import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import type { Document, Node } from 'yaml';
import { makeConfig, parseServeFlags, readServeFlags, surroundings } from './config.ts';
import type { Config, Given, ServeFlags, Surroundings } from './config.ts';
import { clustersOfFile, fromBase } from './config-clusters.ts';
import type { KeyPath, Refuse } from './config-clusters.ts';
import { fileSchema, meantKey } from './config-schema.ts';
import type { FileConfig } from './config-schema.ts';
import { fileTrouble } from './k8s/manifests/manifests.ts';
import { limits } from './limits.ts';
import { UsageError } from './usage.ts';

/** What `serve` runs with, from its flags and from the file that they name. Throws UsageError. */
export async function readConfig(flags: unknown, around: Surroundings = surroundings()): Promise<Config> {
  const { config } = readServeFlags(flags);
  return config === undefined ? parseServeFlags(flags, around) : readConfigFile(config, flags, around);
}

/** A Config from a file; of what `flags`, as commander hands them over, say too, they win. Throws UsageError. */
export async function readConfigFile(
  file: string,
  flags: unknown,
  around: Surroundings = surroundings(),
): Promise<Config> {
  const typed = readServeFlags(flags);
  const text = await ConfigText.read(file);
  const refuse: Refuse = (at, what) => {
    throw text.refusal(at, what);
  };
  const keys = readKeys(text);
  const base = path.dirname(file);
  const clusters = clustersOfFile(keys, base, refuse);
  if (keys.lab === undefined && clusters.inCluster === undefined && clusters.entries.length === 0) {
    refuse(['clusters'], 'a source of clusters is needed: clusters, or lab');
  }
  const given = { ...givenOf(keys, base), ...flagsGiven(typed) };
  for (const [i, { name, addresses }] of (given.nameservers ?? []).entries()) {
    const isInZone = `.${name}`.endsWith(`.${given.zone ?? 'clusterset.local'}`);
    if (isInZone && addresses.length === 0) refuse(['nameservers', i], `${name} is in the zone and needs addresses`);
  }
  return makeConfig(given, clusters, around, file, (key, what) => {
    if (typed[key] !== undefined) throw new UsageError(`--${key}: ${what}`);
    return refuse([key], what);
  });
}

function givenOf(keys: FileConfig, base: string): Given {
  const { log, stateDir, lab, nameservers } = keys;
  return {
    ...keys,
    logLevel: log?.level,
    logFormat: log?.format,
    stateDir: stateDir === undefined ? undefined : fromBase(base, stateDir),
    lab: lab === undefined ? undefined : fromBase(base, lab),
    nameservers: nameservers?.map(({ name, addresses }) => ({ name, addresses: addresses ?? [] })),
  };
}

function flagsGiven(flags: ServeFlags): Given {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
}

interface Complaint {
  readonly at: KeyPath;
  readonly what: string;
}

/** The keys, if each is good by itself; else the refusal of the first that is not, in the order of the file. */
function readKeys(text: ConfigText): FileConfig {
  const result = fileSchema.safeParse(text.value);
  if (result.success) return result.data;
  const issues = result.error.issues.slice(0, limits.config.complaints);
  const complaints = issues.flatMap((issue): Complaint[] => {
    const at = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
    if (issue.code !== 'unrecognized_keys') return [{ at, what: issue.message }];
    return issue.keys.slice(0, limits.config.complaints).map((key) => ({ at: [...at, key], what: noKey(key, at) }));
  });
  const lines = complaints.map(({ at }) => text.lineOf(at));
  const first = complaints[lines.indexOf(Math.min(...lines))]!;
  throw text.refusal(first.at, first.what);
}

function noKey(key: string, at: KeyPath): string {
  const meant = meantKey(key, at);
  return `is no key here${meant === undefined ? '' : `; did you mean ${meant}?`}`;
}

/** The text as plain values, with a way back from a key to its line. */
class ConfigText {
  readonly file: string;
  readonly value: unknown;
  readonly #document: Document;
  readonly #lines: LineCounter;

  private constructor(file: string, document: Document, lines: LineCounter) {
    this.file = file;
    this.#document = document;
    this.#lines = lines;
    this.value = document.toJS({ maxAliasCount: limits.config.aliases });
  }

  /** Reads a file. Throws UsageError for one that is no YAML mapping. */
  static async read(file: string): Promise<ConfigText> {
    return ConfigText.parse(file, await readText(file));
  }

  /** Reads a text that was in `file`. Throws UsageError. */
  static parse(file: string, text: string): ConfigText {
    const lines = new LineCounter();
    const refuse = (offset: number, what: string): never => {
      // A text's end may lie behind its last line's end.
      const { line } = lines.linePos(Math.min(offset, text.trimEnd().length));
      throw new UsageError(`${file}:${line || 1}: ${what.replaceAll(/\s+/g, ' ').slice(0, 200)}`);
    };
    let start = 0;
    try {
      const document = parseDocument(text, {
        lineCounter: lines,
        prettyErrors: false,
        logLevel: 'error',
        uniqueKeys: false,
      });
      const [error] = document.errors;
      if (error?.code === 'MULTIPLE_DOCS') refuse(error.pos[0], 'is a second document: a configuration is one');
      if (error !== undefined) refuse(error.pos[0], `does not parse: ${error.message}`);
      const { contents } = document;
      start = contents?.range[0] ?? 0;
      const isEmpty = contents === null || (isScalar(contents) && contents.value === null);
      if (isEmpty) throw new UsageError(`${file}: is empty: it needs apiVersion and clusters`);
      if (!isMap(contents)) refuse(start, 'is not a mapping of keys');
      checkNodes(document, refuse);
      return new ConfigText(file, document, lines);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      // Too many aliases, or nested deeper than the stack is.
      return refuse(start, `does not parse: ${(error as Error).message}`);
    }
  }

  /** The refusal of what stands at `path`: `FILE:LINE: KEY: what`. */
  refusal(path: KeyPath, what: string): UsageError {
    const key = pathText(path);
    return new UsageError(`${this.file}:${this.lineOf(path)}: ${key === '' ? '' : `${key}: `}${what}`);
  }

  /** The line of the key, or of the nearest thing around it that is there. */
  lineOf(path: KeyPath): number {
    let node: unknown = this.#document.contents;
    let at = isNode(node) ? node.range?.[0] : 0;
    for (const step of path) {
      if (isAlias(node)) node = node.resolve(this.#document);
      let found: unknown;
      if (isMap(node)) {
        found = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      } else if (isSeq(node)) found = node.items[Number(step)];
      if (found === undefined) break;
      const named: unknown = isPair(found) ? found.key : found;
      node = isPair(found) ? found.value : found;
      at = isNode(named) ? (named.range?.[0] ?? at) : at;
    }
    return this.#lines.linePos(at ?? 0).line || 1;
  }
}

/** Keys and aliases, in one walk: what the parser does of this takes time by the square of a mapping's size. */
function checkNodes(document: Document, refuse: (offset: number, what: string) => never): void {
  const anchors = new Set<string>();
  let aliases = 0;
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) {
        const at = node.range?.[0] ?? 0;
        if (!anchors.has(node.source)) refuse(at, `*${node.source} names no anchor before it`);
        if (++aliases > limits.config.aliases) refuse(at, `has more than ${limits.config.aliases} aliases`);
        return;
      }
      if (node.anchor !== undefined) anchors.add(node.anchor);
      if (!isMap(node)) return;
      const keys = new Set<string>();
      for (const { key } of node.items) {
        const name = isScalar(key) ? String(key.value) : undefined;
        if (name === undefined) refuse(isNode(key) ? (key.range?.[0] ?? 0) : 0, 'a key must be a word');
        else if (keys.has(name))
          refuse(isNode(key) ? (key.range?.[0] ?? 0) : 0, `${pathText([name])}: stands twice in one mapping`);
        else keys.add(name);
      }
    },
  });
}

/** A path as people write it: `clusters[1].onLoss`. */
function pathText(path: KeyPath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else {
      const key = /^[-\w]{1,60}$/.test(step) ? step : JSON.stringify(step.slice(0, 60));
      text += text === '' ? key : `.${key}`;
    }
  }
  return text;
}

async function readText(file: string): Promise<string> {
  let octets: Buffer;
  try {
    const stats = await stat(file);
    // A pipe would give its text once, and never to who follows the file.
    if (!stats.isFile()) throw new UsageError(`${file}: is ${stats.isDirectory() ? 'a folder' : 'no plain file'}`);
    if (stats.size > limits.config.fileOctets) {
      throw new UsageError(`${file}: is larger than ${limits.config.fileOctets >> 20} MiB`);
    }
    octets = await readFile(file);
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(`${file}: ${fileTrouble(error)}`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(octets);
  } catch {
    throw new UsageError(`${file}: is not UTF-8`);
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'range' in value;
}
