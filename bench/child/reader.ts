// A reader thread of child/replace.ts: asks random names of the image until its stop flag is set, and looks at every
// octet of the addresses it gets: each must carry the number of the service that was asked for, and be another one.

import { parentPort, workerData } from 'node:worker_threads';
import { stopRequested } from '../../src/dns/image.ts';
import { Responder, transport } from '../../src/dns/respond.ts';
import { encodeAll } from '../lib/load.ts';
import { questionOf } from '../lib/names.ts';
import { randomNumbers } from '../lib/stats.ts';

export interface ReaderTask {
  readonly image: SharedArrayBuffer;
  readonly reader: number;
  readonly names: number;
  readonly mostAddresses: number;
}

export interface ReaderReport {
  readonly read: number;
  readonly wrong: number;
}

const QUERIES = 20_000;
/** Queries in one stretch online, as a UDP worker's batch. */
const BATCH = 16;
const RECORD_OCTETS = 16;

const { image, reader, names, mostAddresses } = workerData as ReaderTask;
const random = randomNumbers(reader + 1);
const numbers = Array.from({ length: QUERIES }, () => Math.floor(random() * names));
const messages = encodeAll(numbers.map(questionOf));
const buffer = new Uint8Array(4_096);
const responder = new Responder(image, reader, buffer);
const stop = new Int32Array(image, 0, 16);

/** Whether the reply in the buffer is one that the service with this number has had. */
function isRight(length: number, question: number, number: number): boolean {
  const answers = buffer[7]!;
  if ((buffer[3]! & 0x0f) !== 0 || answers < 1 || answers > mostAddresses) return false;
  if (length !== question + answers * RECORD_OCTETS) return false;
  let seen = 0;
  for (let p = question + RECORD_OCTETS - 4; p < length; p += RECORD_OCTETS) {
    const network = buffer[p]! - 10;
    if (network < 0 || network >= answers) return false;
    seen |= 1 << network;
    if (((buffer[p + 1]! << 16) | (buffer[p + 2]! << 8) | buffer[p + 3]!) !== number) return false;
  }
  return seen === (1 << answers) - 1;
}

let read = 0;
let wrong = 0;
while (!stopRequested(stop)) {
  responder.enter();
  for (let i = 0; i < BATCH; i++) {
    const at = (read + i) % QUERIES;
    const message = messages[at]!;
    buffer.set(message);
    const length = responder.respond(0, message.length, transport.UDP);
    if (!isRight(length, message.length, numbers[at]!)) wrong++;
  }
  responder.leave();
  read += BATCH;
}
const report: ReaderReport = { read, wrong };
parentPort!.postMessage(report);
