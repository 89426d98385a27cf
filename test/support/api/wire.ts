// The octets of one answer on their way out: whole, or as a shape fault wants them. It says when the client is too slow
// to take more. Not here: what the octets are.

import type { ServerResponse } from 'node:http';
import { constants, createGzip, type Gzip } from 'node:zlib';
import { noShape, type Shape } from './faults.ts';

const TRICKLE_MILLIS = 50;
const CRLF = Buffer.from('\r\n');

export class Wire {
  readonly response: ServerResponse;
  readonly #shape: Shape;
  readonly #destroy: (how: 'fin' | 'reset') => void;
  #gzip: Gzip | undefined;
  #sent = 0;
  #trickle: Buffer[] = [];
  #trickleOctets = 0;
  #timer: NodeJS.Timeout | undefined;
  #waiting: (() => void)[] = [];
  #isEnding = false;
  isClosed = false;

  constructor(response: ServerResponse, shape: Shape, destroy: (how: 'fin' | 'reset') => void) {
    this.response = response;
    this.#shape = shape;
    this.#destroy = destroy;
    response.on('drain', () => this.#wake());
    response.once('close', () => {
      this.isClosed = true;
      clearInterval(this.#timer);
      this.#gzip?.destroy();
      this.#wake();
    });
  }

  head(code: number, headers: Readonly<Record<string, string>>): void {
    const { contentType, isGzip } = this.#shape;
    const all: Record<string, string> = { 'cache-control': 'no-cache, private', ...headers };
    if (contentType !== undefined) all['content-type'] = contentType;
    if (isGzip) {
      all['content-encoding'] = 'gzip';
      this.#gzip = createGzip({ flush: constants.Z_SYNC_FLUSH });
      this.#gzip.on('data', (part: Buffer) => this.#shaped(part));
      this.#gzip.once('end', () => this.#finish());
    }
    this.response.writeHead(code, all);
    this.response.flushHeaders();
  }

  write(octets: Buffer): void {
    if (this.isClosed) return;
    if (this.#gzip === undefined) this.#shaped(octets);
    else this.#gzip.write(octets);
  }

  end(): void {
    if (this.isClosed || this.#isEnding) return;
    this.#isEnding = true;
    if (this.#gzip === undefined) this.#finish();
    else this.#gzip.end();
  }

  /** The connection goes, whatever was sent of the body. */
  destroy(how: 'fin' | 'reset'): void {
    this.#destroy(how);
  }

  /** Octets not yet with the kernel. */
  get pendingOctets(): number {
    return this.response.writableLength + this.#trickleOctets + (this.#gzip?.writableLength ?? 0);
  }

  /** Resolves when more may be written, or the connection is gone. */
  ready(): Promise<void> | undefined {
    if (this.isClosed || (!this.response.writableNeedDrain && this.#trickleOctets === 0)) return undefined;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #shaped(octets: Buffer): void {
    if (this.#shape === noShape) return void this.response.write(octets);
    const { cut, octetsPerSecond } = this.#shape;
    if (cut !== undefined && this.#sent + octets.length >= cut.afterOctets) {
      this.response.write(octets.subarray(0, cut.afterOctets - this.#sent));
      this.isClosed = true;
      // What was written must be with the kernel before the connection goes: RST overtakes it otherwise.
      setImmediate(() => this.#destroy(cut.by));
      return;
    }
    this.#sent += octets.length;
    if (octetsPerSecond === undefined) return this.#chunked(octets);
    this.#trickle.push(octets);
    this.#trickleOctets += octets.length;
    const most = Math.max(1, Math.round((octetsPerSecond * TRICKLE_MILLIS) / 1_000));
    const millis = Math.max(TRICKLE_MILLIS, 1_000 / octetsPerSecond);
    this.#timer ??= setInterval(() => this.#drip(most), millis);
  }

  #drip(most: number): void {
    const next = this.#trickle[0];
    if (next === undefined) return;
    this.response.write(next.subarray(0, most));
    this.#trickleOctets -= Math.min(most, next.length);
    if (next.length > most) this.#trickle[0] = next.subarray(most);
    else this.#trickle.shift();
    if (this.#trickleOctets > 0) return;
    this.#wake();
    if (this.#isEnding) this.#finish();
  }

  #chunked(octets: Buffer): void {
    const { chunkOctets } = this.#shape;
    if (chunkOctets === undefined) return void this.response.write(octets);
    // Framed here (RFC 9112 7.1), as Node joins the chunks of one tick.
    const framed: Buffer[] = [];
    for (let at = 0; at < octets.length; at += chunkOctets) {
      const chunk = octets.subarray(at, at + chunkOctets);
      framed.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, CRLF);
    }
    this.response.socket?.write(Buffer.concat(framed));
  }

  #finish(): void {
    if (this.#trickleOctets > 0) return;
    clearInterval(this.#timer);
    this.response.end();
  }
}
