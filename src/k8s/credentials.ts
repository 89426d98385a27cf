// Reads the access of each source, kubeconfigs in a thread that lives for one batch: its memory is given back.
// Not here: following files and renewing tokens in time; how a kubeconfig is read (credentials-worker.ts).

import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Access, AccessSource } from './access.ts';
import { CredentialError } from './credential-error.ts';
import { readInCluster, SERVICE_ACCOUNT_DIR } from './in-cluster.ts';

export { CredentialError } from './credential-error.ts';
export { readToken } from './credential-file.ts';

/** An exec plugin, or a refresh of an OpenID Connect token, has this long. */
const PLUGIN_MS = 30_000;
/**
 * The thread's heap. The old generation's bound is wide: V8 may end the whole process where it is hit. A small young
 * generation leaves 15 MB less behind.
 */
const HEAP = { maxOldGenerationSizeMb: 1_024, maxYoungGenerationSizeMb: 4 };

export interface KubeconfigContexts {
  readonly current: string | undefined;
  readonly names: readonly string[];
  readonly files: readonly string[];
}

/** What the thread is asked. */
export interface KubeconfigQuestion {
  readonly kind: 'access' | 'contexts';
  readonly file: string | undefined;
  readonly context: string | undefined;
}

/** The thread's `workerData`. */
export interface WorkerBatch {
  readonly questions: readonly KubeconfigQuestion[];
  readonly pluginMillis: number;
}

/** One of the three, by the question. */
export interface Answer {
  readonly access?: Access;
  readonly contexts?: KubeconfigContexts;
  readonly error?: string;
}

/** The contexts of a kubeconfig, and which is current. */
export async function readContexts(file: string | undefined): Promise<KubeconfigContexts> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const thread = new BatchThread([{ kind: 'contexts', file, context: undefined }], PLUGIN_MS, (_index, answer) => {
    resolve(answer);
  });
  await thread.ended;
  const { contexts, error } = await promise;
  if (contexts === undefined) throw new CredentialError(error ?? 'no answer');
  return contexts;
}

export interface CredentialsOptions {
  /** Where the ServiceAccount of this pod is mounted. */
  readonly serviceAccountDir?: string;
  /** How long an exec plugin may take. */
  readonly pluginMillis?: number;
}

interface Waiting {
  readonly question: KubeconfigQuestion;
  readonly resolve: (access: Access) => void;
  readonly reject: (error: CredentialError) => void;
}

/** Reads the access of a source, again whenever it is asked to; nothing is kept. */
export class Credentials {
  readonly #serviceAccountDir: string;
  readonly #pluginMillis: number;
  #waiting: Waiting[] = [];
  #reading: Promise<void> | undefined;
  #thread: BatchThread | undefined;
  #isClosed = false;

  constructor(options: CredentialsOptions = {}) {
    this.#serviceAccountDir = options.serviceAccountDir ?? SERVICE_ACCOUNT_DIR;
    this.#pluginMillis = options.pluginMillis ?? PLUGIN_MS;
  }

  /** Rejects with a CredentialError. What is asked while a thread reads is read by the next one. */
  read(source: AccessSource): Promise<Access> {
    if (this.#isClosed) return Promise.reject(new CredentialError(CLOSED));
    if (source.kind === 'in-cluster') return readInCluster(this.#serviceAccountDir, process.env);
    const { file, context } = source;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ question: { kind: 'access', file, context }, resolve, reject });
      this.#reading ??= this.#readAll();
    });
  }

  /** Ends the thread and its plugins; what was asked for is rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#thread?.close();
    await this.#reading;
  }

  async #readAll(): Promise<void> {
    await nextTurn(); // whatever is asked in this turn is one batch
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      if (this.#isClosed) for (const { reject } of batch) reject(new CredentialError(CLOSED));
      else await this.#readBatch(batch);
    }
    this.#reading = undefined;
  }

  async #readBatch(batch: readonly Waiting[]): Promise<void> {
    const questions = batch.map(({ question }) => question);
    this.#thread = new BatchThread(questions, this.#pluginMillis, (index, { access, error }) => {
      const { resolve, reject } = batch[index]!;
      if (access === undefined) reject(new CredentialError(error ?? 'no answer'));
      else resolve(access);
    });
    await this.#thread.ended;
    this.#thread = undefined;
  }
}

const CLOSED = 'credentials are no longer read: the server stops';

/** One thread, one batch. Every question gets one answer, if need be that the thread ended. */
class BatchThread {
  /** When the thread is gone. Never rejects. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  #isClosed = false;

  constructor(
    questions: readonly KubeconfigQuestion[],
    pluginMillis: number,
    onAnswer: (index: number, answer: Answer) => void,
  ) {
    // The same file name in the source tree and in the compiled one.
    const file = new URL(`./credentials-worker${extname(import.meta.url)}`, import.meta.url);
    const workerData: WorkerBatch = { questions, pluginMillis };
    const worker = new Worker(file, { workerData, resourceLimits: HEAP });
    this.#worker = worker;
    const open = new Set(questions.keys());
    let reason = 'the thread that reads credentials ended by itself';
    worker.on('message', ({ index, ...answer }: Answer & { readonly index: number }) => {
      if (open.delete(index)) onAnswer(index, answer);
      if (open.size === 0) void worker.terminate();
    });
    worker.on('error', (error: unknown) => {
      const { code, name } = error as NodeJS.ErrnoException;
      const isFull = code === 'ERR_WORKER_OUT_OF_MEMORY';
      reason = `the thread that reads credentials ${isFull ? 'ran out of memory' : `failed (${code ?? name})`}`;
    });
    this.ended = new Promise((resolve) => {
      worker.once('exit', () => {
        for (const index of open)
          onAnswer(index, { error: this.#isClosed ? CLOSED : nameFile(questions[index]!, reason) });
        resolve();
      });
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#worker.postMessage('close');
  }
}

function nameFile({ file }: KubeconfigQuestion, reason: string): string {
  return file === undefined ? reason : `kubeconfig ${file}: ${reason}`;
}
