// A folder of manifest files as what one cluster holds: every .yaml, .yml and .json at any depth below it.
// Only files that changed are parsed again; one that does not parse (any more) keeps its last good objects. Nothing here
// throws for what a disk may do. Not here: following changes (lab.ts), what a field may hold (trim.ts).

import { limits } from '../../limits.ts';
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import path from 'node:path';
import { isRecord, shown } from '../objects/fields.ts';
import type { RawObject, Refusal } from '../objects/fields.ts';
import { readText } from './manifest-text.ts';
import type { TextDocument } from './manifest-text.ts';
import { PackedSlice } from '../objects/packed-slice.ts';
import type { PackedFields } from '../objects/packed-slice.ts';
import { trimObject } from '../objects/trim.ts';
import type { FleetObject, TrimDefaults } from '../objects/trim.ts';

/**
 * Something in a file that a person should look at. An error: it is not served; a warning: a part of it is not.
 * Line 0 is the file as a whole.
 */
export interface Finding {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

interface PlacedObject {
  readonly object: FleetObject;
  readonly line: number;
}

interface ManifestFile {
  /** What says on disk that the file is the same; '' while it may still be written. */
  stamp: string;
  digest: string;
  objects: readonly PlacedObject[];
  findings: readonly Finding[];
}

export interface ManifestRead {
  readonly objects: readonly FleetObject[];
  readonly findings: readonly Finding[];
  /** Whether `objects` may differ from what the last read gave. */
  readonly isChanged: boolean;
  /** A file was so young that another write of it may look the same from outside: read again soon. */
  readonly isUnsettled: boolean;
  /** Path and identity of each folder that was walked. */
  readonly folders: readonly string[];
}

/** A finding as people read it: `file:line: message`. */
export function findingText({ file, line, message }: Finding): string {
  return `${line > 0 ? `${file}:${line}` : file}: ${message}`;
}

/** Time stamps of files tick every 4 ms on Linux; below this age a file is read again. */
const SETTLED_MS = 40;
/** A file that is empty for so long was meant to be. */
const EMPTY_MS = 1_000;

/** Whether a folder may hold manifests in a file of this name. */
export function isManifestName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/i.test(name);
}

/** The code of an error of the file system, in words. */
export function fileTrouble(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'is not there';
  if (code === 'ENOTDIR') return 'is not a folder';
  return code === 'EACCES' || code === 'EPERM' ? 'must not be read' : message;
}

export class ManifestFolder {
  readonly dir: string;
  readonly #defaults: TrimDefaults = { namespace: 'default' };
  #files = new Map<string, ManifestFile>();
  #isNew = true;

  constructor(dir: string) {
    this.dir = dir;
  }

  async read(): Promise<ManifestRead> {
    const walk: Walk = { files: [], folders: [], findings: [] };
    await this.#walk(this.dir, [], walk);
    // A folder that could not be read says nothing about its files: they stay.
    const mayMiss = walk.findings.length > 0;
    const files = new Map<string, ManifestFile>();
    const walked = new Set(walk.files);
    let isChanged = this.#isNew;
    for (const file of [...new Set([...walked, ...(mayMiss ? this.#files.keys() : [])])].sort()) {
      const old = this.#files.get(file);
      const now = walked.has(file) ? await this.#readFile(file, old) : old;
      if (now !== undefined) files.set(file, now);
      if (now?.objects !== old?.objects) isChanged = true;
    }
    if ([...this.#files.keys()].some((file) => !files.has(file))) isChanged = true;
    this.#files = files;
    this.#isNew = false;
    const findings = [...walk.findings];
    const objects = this.#join(findings);
    const isUnsettled = [...files.values()].some(({ stamp }) => stamp === '');
    return { objects, findings, isChanged, isUnsettled, folders: walk.folders };
  }

  /** All objects in the order of file and position; of two with one name the first stays. */
  #join(findings: Finding[]): FleetObject[] {
    const first = new Map<string, string>();
    const objects: FleetObject[] = [];
    for (const [file, read] of this.#files) {
      findings.push(...read.findings);
      for (const { object, line } of read.objects) {
        const what = `${object.kind} ${object.object.namespace}/${object.object.name}`;
        const other = first.get(what);
        if (other === undefined) {
          first.set(what, `${file}:${line}`);
          objects.push(object);
        } else
          findings.push({ severity: 'warning', file, line, message: `${what}: is already in ${other}, which stays` });
      }
    }
    return objects;
  }

  async #walk(dir: string, parents: readonly string[], walk: Walk): Promise<void> {
    try {
      const { dev, ino } = await stat(dir, { bigint: true });
      const identity = `${dev}:${ino}`;
      if (parents.includes(identity) || parents.length > limits.lab.depth) return; // a symlink to a folder around it
      walk.folders.push(`${dir} ${identity}`);
      for (const entry of await readdir(dir, { withFileTypes: true })) {
        if (entry.name.startsWith('.')) continue;
        const child = path.join(dir, entry.name);
        const isFolder = entry.isSymbolicLink() ? await isFolderAt(child) : entry.isDirectory();
        if (isFolder) await this.#walk(child, [...parents, identity], walk);
        else if (isManifestName(entry.name)) walk.files.push(child);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && parents.length > 0) return;
      walk.findings.push({
        severity: 'error',
        file: dir,
        line: 0,
        message: `${fileTrouble(error)}; its last good objects stay`,
      });
    }
  }

  async #readFile(file: string, old: ManifestFile | undefined): Promise<ManifestFile | undefined> {
    const keep = (message: string, stamp: string, line = 0, digest = ''): ManifestFile => {
      const kept = old !== undefined && old.objects.length > 0 ? '; its last good objects stay' : '';
      const finding: Finding = { severity: 'error', file, line, message: message + kept };
      return { stamp, digest, objects: old?.objects ?? [], findings: [finding] };
    };
    try {
      const before = await stat(file, { bigint: true });
      if (!before.isFile()) return undefined;
      const stamp = stampOf(before);
      if (old?.stamp === stamp) return old;
      if (before.size > limits.lab.fileOctets) return keep(`is larger than ${limits.lab.fileOctets >> 20} MiB`, stamp);
      const age = Date.now() - Number(before.mtimeMs);
      const isYoung = age >= 0 && age < SETTLED_MS;
      // Somebody has emptied the file and is about to fill it: between the two there may be a busy machine's pause.
      if (before.size === 0n && Math.abs(age) < EMPTY_MS && old !== undefined) return { ...old, stamp: '' };
      const text = await readFile(file, 'utf8');
      const isTorn = stampOf(await stat(file, { bigint: true })) !== stamp;
      // Written while it was read: what came may be the beginning of a file, or nothing. It is read again soon.
      if (isTorn && old !== undefined) return { ...old, stamp: '' };
      const settledStamp = isYoung || isTorn ? '' : stamp;
      const digest = createHash('sha256').update(text).digest('base64');
      if (old?.digest === digest) return { ...old, stamp: settledStamp };
      const documents = readText(text, file.toLowerCase().endsWith('.json'));
      if ('message' in documents) {
        return keep(`does not parse: ${documents.message}`, settledStamp, documents.line, digest);
      }
      return { stamp: settledStamp, digest, ...readDocuments(file, documents, this.#defaults) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      return keep(fileTrouble(error), 'unread');
    }
  }
}

interface Walk {
  readonly files: string[];
  readonly folders: string[];
  readonly findings: Finding[];
}

async function isFolderAt(link: string): Promise<boolean> {
  try {
    return (await stat(link)).isDirectory();
  } catch {
    return false;
  }
}

function stampOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

/** A copy that keeps nothing of the text of its file alive. */
function detached({ kind, object }: FleetObject): FleetObject {
  const copy = structuredClone({ ...object });
  return { kind, object: 'packed' in copy ? new PackedSlice(copy as PackedFields) : copy } as FleetObject;
}

function readDocuments(
  file: string,
  documents: readonly TextDocument[],
  defaults: TrimDefaults,
): { objects: readonly PlacedObject[]; findings: readonly Finding[] } {
  const objects: PlacedObject[] = [];
  const findings: Finding[] = [];
  let more = 0;
  const find = (severity: Finding['severity'], message: string, line: () => number): void => {
    if (findings.length < limits.lab.findingsPerFile) findings.push({ severity, file, line: line(), message });
    else more++;
  };
  const read = (document: TextDocument, value: unknown, at: readonly (string | number)[], lack: TrimDefaults): void => {
    if (value === null || value === undefined) return;
    if (!isRecord(value)) {
      find('warning', `${shown(value)} is not a Kubernetes object`, () => document.line(at));
      return;
    }
    const items = itemsOf(value, at.length / 2 < limits.lab.listDepth);
    if (items !== undefined) {
      const lackOfItems = { ...lack, ...items.lack };
      for (const [i, item] of items.list.entries()) read(document, item, [...at, 'items', i], lackOfItems);
      return;
    }
    const trimmed = trimObject(value, lack);
    if (trimmed.kind !== 'ignored') {
      const object = { kind: trimmed.kind, object: trimmed.object } as FleetObject;
      objects.push({ object: document.isCut ? detached(object) : object, line: document.line(at) });
    }
    const what = describe(value, lack);
    const severity = trimmed.kind === 'ignored' ? 'error' : 'warning';
    for (const refusal of trimmed.refusals) {
      find(severity, `${what}: ${fieldText(refusal)}`, () => document.line([...at, ...refusal.path]));
    }
    if (trimmed.moreRefusals > 0) {
      find('warning', `${what}: and ${trimmed.moreRefusals} more fields like these`, () => document.line(at));
    }
  };
  for (const document of documents) read(document, document.value, [], defaults);
  if (more > 0) findings.push({ severity: 'warning', file, line: 0, message: `and ${more} more findings` });
  return { objects, findings };
}

/** The items of a `List`, or of a list of one kind, whose items say neither kind nor version. */
function itemsOf(
  value: RawObject,
  mayBeList: boolean,
): { list: readonly unknown[]; lack: { kind?: string; apiVersion?: string } } | undefined {
  const { kind, apiVersion, items } = value;
  if (!mayBeList || typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items)) return undefined;
  const lack = kind === 'List' || typeof apiVersion !== 'string' ? {} : { kind: kind.slice(0, -4), apiVersion };
  return { list: items, lack };
}

function describe(value: RawObject, lack: TrimDefaults): string {
  const metadata = isRecord(value['metadata']) ? value['metadata'] : {};
  const name = [metadata['namespace'] ?? lack.namespace, metadata['name']].map((part) =>
    typeof part === 'string' && part.length < 64 ? part : shown(part),
  );
  return `${typeof value['kind'] === 'string' ? value['kind'] : (lack.kind ?? 'object')} ${name.join('/')}`;
}

function fieldText({ path: steps, reason }: Refusal): string {
  let text = '';
  for (const step of steps) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^\w+$/.test(step)) text += text === '' ? step : '.' + step;
    else text += `['${step}']`;
  }
  return `${text}: ${reason}`;
}
