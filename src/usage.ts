// The refusal of what was typed: a wrong flag, word or key. Its message is one line that names it; the command ends with
// exit code 2. Apart from config.ts, so that `query` need not load a schema to say so.

export class UsageError extends Error {
  override readonly name = 'UsageError';
}
