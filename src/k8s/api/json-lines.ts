// Newline-delimited JSON as a watch sends it, out of chunks that are cut anywhere: whole lines, as octets.
// Not here: what a line says (reflector.ts), lists (json-list.ts). Holds an unfinished line and no more.

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const LEAST_CAPACITY = 4_096;

/** What was read is longer than it may be. */
export class TooLongError extends Error {
  override readonly name = 'TooLongError';
}

/** Octets that came in pieces. Its room doubles, so that no number of pieces copies an octet more than twice or so. */
export class Gathered {
  #octets: Buffer = Buffer.alloc(0);
  length = 0;

  add(chunk: Uint8Array, from: number, to: number): void {
    const end = this.length + to - from;
    if (end > this.#octets.length) this.#grow(end);
    this.#octets.set(chunk.subarray(from, to), this.length);
    this.length = end;
  }

  addOctet(octet: number): void {
    if (this.length === this.#octets.length) this.#grow(this.length + 1);
    this.#octets[this.length++] = octet;
  }

  /** What there is; it changes with the next `add`. */
  get view(): Buffer {
    return this.#octets.subarray(0, this.length);
  }

  /** What there was: it is the caller's from now on. */
  take(): Buffer {
    const { view } = this;
    this.#octets = Buffer.alloc(0);
    this.length = 0;
    return view;
  }

  #grow(octets: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#octets.length, octets, LEAST_CAPACITY));
    grown.set(this.view);
    this.#octets = grown;
  }
}

/** The octets as a Buffer, without a copy. */
export function bufferOf(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
}

export class LineReader {
  readonly #limitOctets: number;
  readonly #unfinished = new Gathered();

  constructor(limitOctets: number) {
    this.#limitOctets = limitOctets;
  }

  /**
   * The lines that are whole with this chunk, without their ends; empty lines are skipped. To be read to the end before
   * the next chunk is pushed. A line that lies in one chunk is a view of it. Throws TooLongError.
   */
  *push(octets: Uint8Array): Generator<Buffer, void, undefined> {
    const chunk = bufferOf(octets);
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#check(end - from);
      let line: Buffer;
      if (this.#unfinished.length === 0) line = chunk.subarray(from, end);
      else {
        this.#unfinished.add(chunk, from, end);
        line = this.#unfinished.take();
      }
      from = end + 1;
      if (line.at(-1) === CARRIAGE_RETURN) line = line.subarray(0, -1);
      if (line.length > 0) yield line;
    }
    if (from === chunk.length) return;
    this.#check(chunk.length - from);
    this.#unfinished.add(chunk, from, chunk.length);
  }

  /** Octets of a line without its end: zero where the stream ended well. */
  end(): number {
    return this.#unfinished.length;
  }

  #check(more: number): void {
    if (this.#unfinished.length + more > this.#limitOctets) {
      throw new TooLongError(`a line of more than ${this.#limitOctets} octets`);
    }
  }
}
