// Load as a process of its own, on the last core: what is asked for, and what came of it.

import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { Question } from './fleet.ts';
import type { Stage } from './stage.ts';

export interface LoadTask {
  readonly port: number;
  /** File of questions, JSON. */
  readonly questions: string;
}

/** One line to the generator asks for one run. */
export interface LoadRun {
  readonly rate: number;
  readonly seconds: number;
  /** Of load before anything is counted. */
  readonly warmSeconds: number;
}

export interface LoadResult {
  readonly sent: number;
  readonly received: number;
  readonly failed: number;
  readonly seconds: number;
  /** Microseconds to a reply: of `load` from when its query was due, of `steady` from when it was sent. */
  readonly p50: number;
  readonly p99: number;
  /** How late queries left the generator, microseconds. */
  readonly lateP50: number;
  readonly lateP99: number;
}

/** The core of load generators; the servers have core 0. */
export const LOAD_CORE = availableParallelism() - 1;

/** A running load generator for one server. */
export interface Generator {
  run(task: LoadRun): Promise<LoadResult>;
  end(): Promise<void>;
}

/** `load` never sleeps and has a core of its own, for the highest rates; `steady` sleeps, and runs where there is room. */
export async function startGenerator(
  kind: 'load' | 'steady',
  stage: Stage,
  port: number,
  questions: readonly Question[],
): Promise<Generator> {
  const file = stage.file(`questions-${String(port)}.json`);
  await writeFile(file, JSON.stringify(questions));
  const task: LoadTask = { port, questions: file };
  const player = stage.child(kind, task, kind === 'load' ? { core: LOAD_CORE } : {});
  return {
    run: async (each) => {
      player.tell(JSON.stringify(each));
      return JSON.parse(await player.line()) as LoadResult;
    },
    end: () => player.end(),
  };
}
