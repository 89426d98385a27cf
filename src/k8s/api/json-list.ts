// One Kubernetes list document out of chunks that are cut anywhere: each item is given away as soon as it is whole, so
// that a list of 300 MB costs its largest item. Only depth, strings and escapes are followed here; JSON.parse judges
// every item and, at the end, all that stands around them. Not here: what an item is (trim.ts). RFC 8259; Kubernetes API
// conventions (Lists, Status).

import { isRecord, shown } from '../objects/fields.ts';
import type { RawObject } from '../objects/fields.ts';
import { bufferOf, Gathered } from './json-lines.ts';

/** Why a body is no list. */
export class ListError extends Error {
  override readonly name = 'ListError';
}

/** What stands around the items; or, where the body is a Status object, that. */
export type ListEnd =
  | {
      readonly status?: undefined;
      readonly kind: string;
      readonly apiVersion: string;
      readonly resourceVersion: string;
      /** '' on the last page. */
      readonly continueToken: string;
      /** `remainingItemCount`, where the server knows it. */
      readonly remaining: number | undefined;
    }
  | { readonly status: RawObject };

/** All of a document but its items. */
const MAX_REST_OCTETS = 1_024 * 1_024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Octets outside strings that matter within an item. Of a multi-octet character none does. */
const IS_MARK = new Uint8Array(256);
for (const octet of [QUOTE, COMMA, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT]) IS_MARK[octet] = 1;

function isSpace(octet: number): boolean {
  return octet === 0x20 || octet === 0x0a || octet === 0x0d || octet === 0x09;
}

export class ListReader {
  readonly #onItem: (item: unknown) => void;
  readonly #limitOctets: number;
  /** The part of the current item that came with earlier chunks. */
  readonly #item = new Gathered();
  /** The document without its items. */
  readonly #rest = new Gathered();
  #place: 'before' | 'around' | 'items' | 'after' = 'before';
  /** Open brackets: within the item in hand, or around the items. */
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  /** Where the last string of the rest began and ended. */
  #stringFrom = 0;
  #stringTo = 0;
  /** The next value is that of the key `items`. */
  #isItemsNext = false;
  #sawItems = false;
  #count = 0;

  /** What `onItem` throws is thrown by `push`. */
  constructor(onItem: (item: unknown) => void, limitOctetsPerItem: number) {
    this.#onItem = onItem;
    this.#limitOctets = limitOctetsPerItem;
  }

  /** Throws ListError, after which the reader is of no more use. */
  push(octets: Uint8Array): void {
    const chunk = bufferOf(octets);
    for (let at = 0; at < chunk.length;) {
      at = this.#place === 'items' ? this.#readItem(chunk, at) : this.#readRest(chunk, at);
    }
  }

  /** The document ended. Throws ListError where it is not whole, or no list. */
  end(): ListEnd {
    if (this.#place !== 'after') throw new ListError('a list that ended before it was whole');
    const rest = parse(this.#rest.take(), 'a list that is not JSON around its items');
    // It began with a brace, so it is an object.
    if (!isRecord(rest)) throw new ListError('a list that is no object');
    const { kind, apiVersion, metadata, items } = rest;
    if (kind === 'Status') return { status: rest };
    if (typeof kind !== 'string' || !kind.endsWith('List')) throw new ListError(`a list whose kind is ${shown(kind)}`);
    if (items !== undefined && items !== null && !Array.isArray(items)) {
      throw new ListError(`a list whose items are ${shown(items)}`);
    }
    const { resourceVersion, continue: token, remainingItemCount } = isRecord(metadata) ? metadata : {};
    if (typeof resourceVersion !== 'string' || resourceVersion === '') {
      throw new ListError('a list without a resourceVersion');
    }
    return {
      kind,
      apiVersion: typeof apiVersion === 'string' ? apiVersion : '',
      resourceVersion,
      continueToken: typeof token === 'string' ? token : '',
      remaining: typeof remainingItemCount === 'number' ? remainingItemCount : undefined,
    };
  }

  /** Reads on in `items`; gives the offset after the end of an item, or of the chunk. */
  #readItem(chunk: Buffer, from: number): number {
    const end = chunk.length;
    let at = this.#isInString ? this.#skipString(chunk, from) : from;
    let depth = this.#depth;
    for (;;) {
      while (at < end && IS_MARK[chunk[at]!] === 0) at++;
      if (at >= end) break;
      const octet = chunk[at]!;
      if (octet === QUOTE) at = this.#skipString(chunk, at + 1);
      else if (octet === COMMA) {
        if (depth === 0) return this.#endItem(chunk, from, at, octet);
        at++;
      } else {
        if (octet === OPEN_OBJECT || octet === OPEN_LIST) depth++;
        else if (depth-- === 0) return this.#endItem(chunk, from, at, octet);
        at++;
      }
    }
    this.#depth = depth;
    this.#checkItem(end - from);
    this.#item.add(chunk, from, end);
    return end;
  }

  /** Gives the offset after the quote that ends the string, or the end of the chunk. */
  #skipString(chunk: Buffer, from: number): number {
    const end = chunk.length;
    let at = from;
    if (this.#isEscaped && at < end) {
      this.#isEscaped = false;
      at++;
    }
    for (; at < end; at++) {
      const octet = chunk[at]!;
      if (octet === QUOTE) {
        this.#isInString = false;
        return at + 1;
      }
      if (octet !== BACKSLASH) continue;
      // The escaped octet may be the next chunk's first.
      if (++at === end) this.#isEscaped = true;
    }
    this.#isInString = true;
    return end;
  }

  /** The item, or the empty list, that ends with a comma or bracket at `to`. */
  #endItem(chunk: Buffer, from: number, to: number, octet: number): number {
    this.#checkItem(to - from);
    let text = chunk;
    let start = from;
    let end = to;
    if (this.#item.length > 0) {
      this.#item.add(chunk, from, to);
      text = this.#item.take();
      start = 0;
      end = text.length;
    }
    this.#depth = 0;
    if (octet === CLOSE_LIST) {
      this.#place = 'around';
      this.#depth = 1;
      this.#rest.addOctet(CLOSE_LIST);
      if (this.#count === 0 && isBlank(text, start, end)) return to + 1;
    } else if (octet === CLOSE_OBJECT) throw new ListError('a list whose items do not end');
    const item = parse(text.subarray(start, end), `a list whose item ${this.#count} is not JSON`);
    this.#count++;
    this.#onItem(item);
    return to + 1;
  }

  #checkItem(more: number): void {
    if (this.#item.length + more > this.#limitOctets) {
      throw new ListError(`a list whose item ${this.#count} has more than ${this.#limitOctets} octets`);
    }
  }

  /** Reads on outside `items`: hardly anything, so octet by octet. Gives the offset of the first item, or the end. */
  #readRest(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const octet = chunk[at]!;
      if (this.#place === 'before' || this.#place === 'after') {
        if (isSpace(octet)) continue;
        if (this.#place === 'after') throw new ListError('a list with something after its end');
        if (octet !== OPEN_OBJECT) throw new ListError(`not a JSON object: it begins with ${beginning(chunk, at)}`);
        this.#place = 'around';
      }
      if (this.#rest.length >= MAX_REST_OCTETS) {
        throw new ListError(`a list with more than ${MAX_REST_OCTETS} octets around its items`);
      }
      this.#rest.addOctet(octet);
      if (this.#isInString) this.#readInString(octet);
      else if (this.#readAround(octet)) return at + 1;
    }
    return chunk.length;
  }

  #readInString(octet: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (octet === BACKSLASH) this.#isEscaped = true;
    else if (octet === QUOTE) {
      this.#isInString = false;
      this.#stringTo = this.#rest.length;
    }
  }

  /** True: the next octet is the first of `items`. */
  #readAround(octet: number): boolean {
    if (isSpace(octet)) return false;
    const isItems = this.#isItemsNext;
    this.#isItemsNext = false;
    if (octet === QUOTE) {
      this.#isInString = true;
      this.#stringFrom = this.#rest.length - 1;
    } else if (octet === COLON && this.#depth === 1) {
      this.#isItemsNext = this.#isItemsKey();
    } else if (octet === OPEN_LIST && isItems) {
      if (this.#sawItems) throw new ListError('a list that has items twice');
      this.#sawItems = true;
      this.#place = 'items';
      this.#depth = 0;
      return true;
    } else if (octet === OPEN_OBJECT || octet === OPEN_LIST) this.#depth++;
    else if (octet === CLOSE_OBJECT || octet === CLOSE_LIST) {
      if (--this.#depth === 0) this.#place = 'after';
    }
    return false;
  }

  #isItemsKey(): boolean {
    const key = this.#rest.view.subarray(this.#stringFrom, this.#stringTo);
    // The longest way to write it is five \u escapes.
    return key.length <= 32 && parse(key, 'a list with a key that is not JSON') === 'items';
  }
}

function parse(text: Buffer, complaint: string): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    throw new ListError(complaint);
  }
}

function isBlank(text: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!isSpace(text[at]!)) return false;
  return true;
}

function beginning(chunk: Buffer, at: number): string {
  return shown(chunk.toString('utf8', at, at + 64));
}
