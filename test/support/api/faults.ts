// The ways in which the fault server breaks the rules, and which request each of them meets.
// A fault replaces the answer of a request, shapes its octets, or rewrites the lines of a watch. The first two are fixed
// when the request comes; the lines' are looked up for every line, so that they reach watches that are open already.

import type { ApiRequest, RequestKind } from './request.ts';
import type { ResourceName } from './resources.ts';

/** Instead of the answer. */
export type AnswerFault =
  /** Never any octet. */
  | { readonly type: 'black-hole' }
  /** Waits until `heal()` and is answered then, as after a partition. */
  | { readonly type: 'hold' }
  /** 200 and headers, and never any more. */
  | { readonly type: 'headers-only' }
  /** RST at once. */
  | { readonly type: 'reset' }
  /** FIN without an answer. */
  | { readonly type: 'hang-up' }
  /** 200, and the whole body is nothing: for a watch, one that ends at once. */
  | { readonly type: 'empty' }
  | {
      readonly type: 'status';
      readonly code: number;
      readonly message?: string;
      readonly reason?: string;
      /** The header Retry-After, verbatim. */
      readonly retryAfter?: string;
      /** `details.retryAfterSeconds`. */
      readonly retryAfterSeconds?: number;
      /** text/plain, as what stands before the API server's own answers has it. */
      readonly isText?: boolean;
    }
  /** 200 and one ERROR event, then the end: for watches. */
  | {
      readonly type: 'error-event';
      readonly code: number;
      readonly message?: string;
      readonly retryAfterSeconds?: number;
    }
  /** Anything. */
  | {
      readonly type: 'raw';
      readonly code?: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body: string | Buffer;
    };

/** The right answer, in the wrong octets; several of them add up. */
export type ShapeFault =
  | { readonly type: 'delay'; readonly millis: number }
  /** The connection ends behind so many octets of the body. */
  | { readonly type: 'cut'; readonly afterOctets: number; readonly by?: 'reset' | 'fin' }
  /** HTTP chunks of so many octets, cut anywhere. */
  | { readonly type: 'chunks'; readonly octets: number }
  | { readonly type: 'trickle'; readonly octetsPerSecond: number }
  | { readonly type: 'gzip' }
  | { readonly type: 'content-type'; readonly value: string }
  /** A list's metadata: what is undefined is left out. */
  | { readonly type: 'list-metadata'; readonly metadata: Readonly<Record<string, unknown>> };

/** Lines of watches, open ones too. */
export type LineFault =
  /** The watches that are open, and those to come, never send again: not even once this is healed. */
  | { readonly type: 'silent' }
  /** Kept back until `heal()`, then sent. */
  | { readonly type: 'held' }
  | { readonly type: 'no-bookmarks' }
  /** What a line becomes. A line has its newline; `type` is that of its event. */
  | { readonly type: 'rewrite'; readonly line: (line: string, type: string) => readonly string[] };

export type Fault = AnswerFault | ShapeFault | LineFault;

/** The requests that a fault meets: all, without a condition. */
export interface Where {
  readonly kinds?: readonly RequestKind[];
  readonly resource?: ResourceName;
  /** Only pages after a list's first (true), or only first ones (false). */
  readonly isContinued?: boolean;
  /** Only the next n of them; a rewrite: the next n lines. */
  readonly times?: number;
  readonly when?: (request: ApiRequest) => boolean;
}

/** What shapes one answer. */
export interface Shape {
  readonly delayMillis: number;
  readonly cut: { readonly afterOctets: number; readonly by: 'reset' | 'fin' } | undefined;
  readonly chunkOctets: number | undefined;
  readonly octetsPerSecond: number | undefined;
  readonly isGzip: boolean;
  readonly contentType: string | undefined;
  readonly listMetadata: Readonly<Record<string, unknown>>;
}

export const noShape: Shape = {
  delayMillis: 0,
  cut: undefined,
  chunkOctets: undefined,
  octetsPerSecond: undefined,
  isGzip: false,
  contentType: undefined,
  listMetadata: {},
};

interface Entry {
  readonly fault: Fault;
  readonly where: Where;
  left: number;
}

const shapes = new Set<Fault['type']>([
  'delay',
  'cut',
  'chunks',
  'trickle',
  'gzip',
  'content-type',
  'list-metadata',
] satisfies ShapeFault['type'][]);
const lines = new Set<Fault['type']>(['silent', 'held', 'no-bookmarks', 'rewrite'] satisfies LineFault['type'][]);

export class FaultTable {
  #entries: Entry[] = [];

  /** Gives what takes this one away again. */
  add(fault: Fault, where: Where): () => void {
    const entry = { fault, where, left: where.times ?? Infinity };
    this.#entries.push(entry);
    return () => {
      this.#entries = this.#entries.filter((each) => each !== entry);
    };
  }

  clear(): void {
    this.#entries = [];
  }

  /** The newest that meets the request. */
  answer(request: ApiRequest): AnswerFault | undefined {
    const entry = this.#entries.findLast(
      (each) => !shapes.has(each.fault.type) && !lines.has(each.fault.type) && meets(each, request),
    );
    if (entry === undefined) return undefined;
    this.#use(entry);
    return entry.fault as AnswerFault;
  }

  shape(request: ApiRequest): Shape {
    let shape = noShape;
    for (const entry of this.#entries) {
      if (!shapes.has(entry.fault.type) || !meets(entry, request)) continue;
      this.#use(entry);
      shape = { ...shape, ...shaped(entry.fault as ShapeFault) };
    }
    return shape;
  }

  /** Whether a watch may send now. */
  stops(request: ApiRequest): 'silent' | 'held' | undefined {
    for (const entry of this.#entries) {
      const { type } = entry.fault;
      if ((type === 'silent' || type === 'held') && meets(entry, request)) return type;
    }
    return undefined;
  }

  /** What becomes of a line of a watch: one, none or more. */
  lines(request: ApiRequest, line: Buffer, type: string): readonly Buffer[] {
    let out: readonly Buffer[] = [line];
    for (const entry of this.#entries) {
      const { fault } = entry;
      if (fault.type !== 'no-bookmarks' && fault.type !== 'rewrite') continue;
      if (!meets(entry, request)) continue;
      if (fault.type === 'no-bookmarks') {
        if (type === 'BOOKMARK') out = [];
        continue;
      }
      this.#use(entry);
      out = out.flatMap((each) => fault.line(each.toString(), type).map((text) => Buffer.from(text)));
    }
    return out;
  }

  #use(entry: Entry): void {
    entry.left--;
    if (entry.left <= 0) this.#entries = this.#entries.filter((each) => each !== entry);
  }
}

function meets({ where }: Entry, request: ApiRequest): boolean {
  if (where.kinds !== undefined && !where.kinds.includes(request.kind)) return false;
  if (where.resource !== undefined && where.resource !== request.resource) return false;
  if (where.isContinued !== undefined && where.isContinued !== request.query.has('continue')) return false;
  return where.when?.(request) ?? true;
}

function shaped(fault: ShapeFault): Partial<Shape> {
  switch (fault.type) {
    case 'delay':
      return { delayMillis: fault.millis };
    case 'cut':
      return { cut: { afterOctets: fault.afterOctets, by: fault.by ?? 'reset' } };
    case 'chunks':
      return { chunkOctets: fault.octets };
    case 'trickle':
      return { octetsPerSecond: fault.octetsPerSecond };
    case 'gzip':
      return { isGzip: true };
    case 'content-type':
      return { contentType: fault.value };
    case 'list-metadata':
      return { listMetadata: fault.metadata };
  }
}

/** Rewrites for `{type: 'rewrite', line: …}`. */
export const rewrites = {
  /** Every event comes twice. */
  twice: () => (line: string) => [line, line],
  /** Events are lost, bookmarks are not. */
  skipped: () => (line: string, type: string) => (type === 'BOOKMARK' ? [line] : []),
  /** Every second event overtakes the first. */
  swapped: () => {
    let kept: string | undefined;
    return (line: string, type: string) => {
      if (type === 'BOOKMARK') return [line];
      const before = kept;
      kept = before === undefined ? line : undefined;
      return before === undefined ? [] : [line, before];
    };
  },
  typed: (type: string) => (line: string) => [line.replace(/"type":"[A-Z]+"/, `"type":"${type}"`)],
  /** Every resourceVersion in the line becomes this text; undefined: is taken away. */
  versioned: (version: string | undefined) => (line: string) => [
    line.replaceAll(/"resourceVersion":"[^"]*",?/g, version === undefined ? '' : `"resourceVersion":"${version}",`),
  ],
} as const;
