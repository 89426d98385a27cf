// Reads the access of each source; kubeconfigs in a process of their own, which ends when nothing more is asked. Not a
// thread: what client-node takes, 70 MB, stays with a process whose thread has ended, and goes with one that ends itself.
// Not here: following files and renewing tokens in time; how a kubeconfig is read (credentials-child.ts).

import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Access, AccessSource } from '../api/access.ts';
import { CredentialError } from './credential-error.ts';
import { readInCluster, SERVICE_ACCOUNT_DIR } from './in-cluster.ts';

export { CredentialError } from './credential-error.ts';
export { readToken } from './credential-file.ts';

/** An exec plugin, or a refresh of an OpenID Connect token, has this long. */
const PLUGIN_MS = 30_000;
/** The process is kept for so long after its last answer: a start asks for contexts, an id and then the access. */
const LINGER_MS = 1_500;
/** Of its heap: client-node takes 70 MB, and the largest kubeconfig that is read five times as much. */
const HEAP_MIB = 1_024;

export interface KubeconfigContexts {
  readonly current: string | undefined;
  readonly names: readonly string[];
  readonly files: readonly string[];
}

/** What the process is asked. */
export interface KubeconfigQuestion {
  readonly kind: 'access' | 'contexts';
  readonly file: string | undefined;
  readonly context: string | undefined;
}

/** The questions of one turn: each file is read once for them, and each plugin runs once. */
export interface QuestionBatch {
  readonly batch: number;
  readonly questions: readonly KubeconfigQuestion[];
  readonly pluginMillis: number;
}

/** One of the three, by the question. */
export interface Answer {
  readonly access?: Access;
  readonly contexts?: KubeconfigContexts;
  readonly error?: string;
}

/** An answer to question `index` of a batch. */
export interface PlacedAnswer extends Answer {
  readonly batch: number;
  readonly index: number;
}

export interface CredentialsOptions {
  /** Where the ServiceAccount of this pod is mounted. */
  readonly serviceAccountDir?: string;
  /** How long an exec plugin may take. */
  readonly pluginMillis?: number;
}

interface Waiting {
  readonly question: KubeconfigQuestion;
  readonly onAnswer: (answer: Answer) => void;
}

/** Reads the access of a source, again whenever it is asked to; nothing is kept. */
export class Credentials {
  readonly #serviceAccountDir: string;
  readonly #pluginMillis: number;
  #waiting: Waiting[] = [];
  #isGathering = false;
  #reader: Reader | undefined;
  #isClosed = false;

  constructor(options: CredentialsOptions = {}) {
    this.#serviceAccountDir = options.serviceAccountDir ?? SERVICE_ACCOUNT_DIR;
    this.#pluginMillis = options.pluginMillis ?? PLUGIN_MS;
  }

  /** Rejects with a CredentialError. */
  async read(source: AccessSource): Promise<Access> {
    if (source.kind === 'in-cluster') return readInCluster(this.#serviceAccountDir, process.env);
    const { file, context } = source;
    const { access, error } = await this.#ask({ kind: 'access', file, context });
    if (access === undefined) throw new CredentialError(error ?? 'no answer');
    return access;
  }

  /** The contexts of a kubeconfig, and which is current. Rejects with a CredentialError. */
  async contexts(file: string | undefined): Promise<KubeconfigContexts> {
    const { contexts, error } = await this.#ask({ kind: 'contexts', file, context: undefined });
    if (contexts === undefined) throw new CredentialError(error ?? 'no answer');
    return contexts;
  }

  /** Ends the process and its plugins; what was asked for is rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#reader?.close();
  }

  #ask(question: KubeconfigQuestion): Promise<Answer> {
    if (this.#isClosed) return Promise.resolve({ error: CLOSED });
    return new Promise((resolve) => {
      this.#waiting.push({ question, onAnswer: resolve });
      if (this.#isGathering) return;
      this.#isGathering = true;
      // Whatever is asked in this turn is one batch.
      void nextTurn().then(() => this.#askAll());
    });
  }

  #askAll(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#isGathering = false;
    if (this.#isClosed) {
      for (const { onAnswer } of batch) onAnswer({ error: CLOSED });
      return;
    }
    const reader: Reader = (this.#reader ??= new Reader(() => {
      if (this.#reader === reader) this.#reader = undefined;
    }));
    reader.ask(batch, this.#pluginMillis);
  }
}

const CLOSED = 'credentials are no longer read: the server stops';

/** One process. Every question gets one answer, if need be that the process ended. */
class Reader {
  readonly #child: ChildProcess;
  readonly #batches = new Map<number, Map<number, Waiting>>();
  readonly #ended: Promise<void>;
  readonly #onEnd: () => void;
  #asked = 0;
  #linger: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** `onEnd`: it takes no more questions. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
    // The same file name in the source tree and in the compiled one.
    const file = fileURLToPath(new URL(`./credentials-child${extname(import.meta.url)}`, import.meta.url));
    const execArgv = [`--max-old-space-size=${HEAP_MIB}`];
    // Its standard error is not ours: what V8 says of a full heap is no line of a log.
    this.#child = fork(file, { execArgv, serialization: 'advanced', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const child = this.#child;
    let reason = 'the process that reads credentials ended by itself';
    child.on('message', (answer: PlacedAnswer) => this.#take(answer));
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(this.#linger);
        onEnd();
        for (const batch of this.#batches.values()) {
          for (const { question, onAnswer } of batch.values()) {
            onAnswer({ error: this.#isClosed ? CLOSED : nameFile(question, reason) });
          }
        }
        this.#batches.clear();
        resolve();
      };
      child.once('exit', end);
      child.once('error', (error: NodeJS.ErrnoException) => {
        reason = `the process that reads credentials does not start (${error.code ?? error.name})`;
        if (child.pid === undefined) end();
      });
    });
  }

  ask(waiting: readonly Waiting[], pluginMillis: number): void {
    clearTimeout(this.#linger);
    const batch = this.#asked++;
    this.#batches.set(batch, new Map(waiting.entries()));
    const message: QuestionBatch = { batch, questions: waiting.map(({ question }) => question), pluginMillis };
    // A process that has just ended tells so by its exit.
    this.#child.send(message, () => undefined);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }

  #take({ batch, index, ...answer }: PlacedAnswer): void {
    const open = this.#batches.get(batch);
    const asked = open?.get(index);
    if (open === undefined || asked === undefined) return;
    open.delete(index);
    if (open.size === 0) this.#batches.delete(batch);
    if (this.#batches.size === 0) {
      this.#linger = setTimeout(() => {
        // Whatever is asked from now on is asked of another one.
        this.#onEnd();
        if (this.#child.connected) this.#child.disconnect();
      }, LINGER_MS).unref();
    }
    asked.onAnswer(answer);
  }
}

function nameFile({ file }: KubeconfigQuestion, reason: string): string {
  return file === undefined ? reason : `kubeconfig ${file}: ${reason}`;
}
