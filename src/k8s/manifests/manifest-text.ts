// The text of a manifest file as plain values, with a way back from a field to its line.
// YAML 1.2 by the yaml package. JSON by JSON.parse, which is a hundred times faster; lines are then found by a scan of
// the text, only when somebody asks for one. Not here: files, Kubernetes.

import { isAlias, isNode, LineCounter, parseAllDocuments } from 'yaml';
import type { Document } from 'yaml';

type Path = readonly (string | number)[];

/** One document. `line`: where the field of this path begins, or the nearest thing around it that is there. */
export interface TextDocument {
  readonly value: unknown;
  /** Strings in `value` may be cut out of the text, and then keep all of it in memory. */
  readonly isCut: boolean;
  line(path: Path): number;
}

export interface TextError {
  readonly line: number;
  readonly message: string;
}

/** In a longer JSON text that does not parse the line of the error is not looked for. */
const MAX_SEARCHED_CHARACTERS = 16 << 20;

/** The documents of a text, or its first error. */
export function readText(text: string, isJson: boolean): readonly TextDocument[] | TextError {
  if (!isJson) return readYaml(text);
  const json = text.startsWith('\ufeff') ? text.slice(1) : text;
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return { line: jsonErrorLine(json), message: oneLine((error as Error).message) };
  }
  const places = new JsonPlaces(json);
  return [{ value, isCut: false, line: (path) => places.line(path) }];
}

function readYaml(text: string): readonly TextDocument[] | TextError {
  const lines = new LineCounter();
  const read: TextDocument[] = [];
  let start = 0;
  try {
    for (const document of parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent' })) {
      const [error] = document.errors;
      if (error !== undefined) return { line: lines.linePos(error.pos[0]).line, message: oneLine(error.message) };
      start = document.contents?.range[0] ?? start;
      read.push({ value: document.toJS() as unknown, isCut: true, line: (path) => yamlLine(document, lines, path) });
    }
  } catch (error) {
    // Too many aliases, or nested deeper than the stack is.
    return { line: lines.linePos(start).line || 1, message: oneLine((error as Error).message) };
  }
  return read;
}

function yamlLine(document: Document, lines: LineCounter, path: Path): number {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range && !isAlias(node)) return lines.linePos(node.range[0]).line;
  }
  return 1;
}

function oneLine(message: string): string {
  return message.replaceAll(/\s+/g, ' ').slice(0, 200);
}

/**
 * The first line whose end makes the text before it no beginning of any JSON: V8 often gives no position. No token of
 * JSON goes over a line's end, so a beginning fails only at its own end.
 */
function jsonErrorLine(text: string): number {
  if (text.length > MAX_SEARCHED_CHARACTERS) return 0;
  const ends = [...text.matchAll(/\n/g), { index: text.length }].map(({ index }) => index);
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isJsonBeginning(text.slice(0, ends[middle]))) low = middle + 1;
    else high = middle;
  }
  return low + 1;
}

function isJsonBeginning(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const { message } = error as Error;
    const position = / at position (\d+)/.exec(message)?.[1];
    return position === undefined ? message.includes('end of JSON') : Number(position) >= text.trimEnd().length;
  }
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Lines of fields in a JSON text that is known to be good. The items of a List at its top are found in one pass. */
class JsonPlaces {
  readonly #text: string;
  #items: { at: number; line: number }[] | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  line(path: Path): number {
    const [first, second] = path;
    const item = first === 'items' && typeof second === 'number' ? this.#itemPlaces()[second] : undefined;
    const from = item ?? {
      at: afterSpace(this.#text, 0),
      line: newlines(this.#text, 0, afterSpace(this.#text, 0)) + 1,
    };
    let at = from.at;
    for (const step of item === undefined ? path : path.slice(2)) {
      let found: number | undefined;
      for (const [name, child] of children(this.#text, at)) if (name === step) found = child; // the last one counts
      if (found === undefined) break;
      at = found;
    }
    return from.line + newlines(this.#text, from.at, at);
  }

  #itemPlaces(): { at: number; line: number }[] {
    if (this.#items !== undefined) return this.#items;
    this.#items = [];
    let list: number | undefined;
    for (const [name, child] of children(this.#text, afterSpace(this.#text, 0))) if (name === 'items') list = child;
    let line = 1;
    let counted = 0;
    for (const [, at] of list === undefined ? [] : children(this.#text, list)) {
      line += newlines(this.#text, counted, at);
      counted = at;
      this.#items.push({ at, line });
    }
    return this.#items;
  }
}

/** Names, or indices, of what an object, or a list, at `at` holds, each with the offset of its value. */
function* children(text: string, at: number): Generator<[string | number, number]> {
  const open = text.charCodeAt(at);
  if (open !== OPEN_OBJECT && open !== OPEN_LIST) return;
  let i = afterSpace(text, at + 1);
  for (let index = 0; i < text.length; index++) {
    const c = text.charCodeAt(i);
    if (c === CLOSE_OBJECT || c === CLOSE_LIST) return;
    let name: string | number = index;
    if (open === OPEN_OBJECT) {
      const end = afterString(text, i);
      name = JSON.parse(text.slice(i, end)) as string;
      i = afterSpace(text, afterSpace(text, end) + 1);
    }
    yield [name, i];
    i = afterSpace(text, afterValue(text, i));
    if (text.charCodeAt(i) === COMMA) i = afterSpace(text, i + 1);
  }
}

function afterSpace(text: string, at: number): number {
  let i = at;
  while (text.charCodeAt(i) <= 0x20) i++;
  return i;
}

function afterString(text: string, at: number): number {
  for (let quote = text.indexOf('"', at + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let first = quote;
    while (text.charCodeAt(first - 1) === BACKSLASH) first--;
    if ((quote - first) % 2 === 0) return quote + 1;
  }
  return text.length;
}

function afterValue(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === QUOTE) {
      i = afterString(text, i) - 1;
      if (depth === 0) return i + 1;
    } else if (c === OPEN_OBJECT || c === OPEN_LIST) depth++;
    else if (c === CLOSE_OBJECT || c === CLOSE_LIST) {
      if (depth === 0) return i;
      if (--depth === 0) return i + 1;
    } else if (c === COMMA && depth === 0) return i;
  }
  return text.length;
}

function newlines(text: string, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (text.charCodeAt(i) === NEWLINE) count++;
  return count;
}
