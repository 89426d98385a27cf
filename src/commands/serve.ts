// `clusterset-dns serve`: flags become a Config, the log is opened, the server runs until it is told to stop.

import { parseServeFlags } from '../config.ts';

/** Serves; resolves with the exit code once everything has stopped. Throws UsageError before anything has started. */
export async function serve(flags: unknown): Promise<number> {
  const config = parseServeFlags(flags);
  // Only now: a wrong flag is answered without loading a server.
  const [{ createLog }, server] = await Promise.all([import('../log.ts'), import('../server.ts')]);
  return server.serve(config, createLog(config.log));
}
