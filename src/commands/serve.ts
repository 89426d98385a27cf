// `clusterset-dns serve`: flags become a Config, the log is opened, the server runs until it is told to stop.

import process from 'node:process';
import { parseServeFlags } from '../config.ts';

/** Serves, and ends the process once everything has stopped. Throws UsageError. */
export async function serve(flags: unknown): Promise<never> {
  const config = parseServeFlags(flags);
  // Only now: a wrong flag is answered without loading a server.
  const [{ createLog }, server] = await Promise.all([import('../log.ts'), import('../server.ts')]);
  const code = await server.serve(config, createLog(config.log));
  // A lab that is still being read would keep the process.
  process.exit(code);
}
