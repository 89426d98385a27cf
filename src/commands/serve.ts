// `clusterset-dns serve`: flags become a Config, the log is opened, the server runs until it is told to stop.

import process from 'node:process';
import { readConfig } from '../config-file.ts';

/** Serves, and ends the process once everything has stopped. Throws UsageError. */
export async function serve(flags: unknown): Promise<never> {
  const config = await readConfig(flags);
  // Only now: a wrong flag is answered without loading a server.
  const [{ createLog }, server] = await Promise.all([import('../log.ts'), import('../server.ts')]);
  const code = await server.serve(config, createLog(config.log), () => readConfig(flags));
  // A lab that is still being read would keep the process.
  process.exit(code);
}
