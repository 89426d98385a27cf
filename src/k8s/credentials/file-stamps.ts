// Whether files are what they were: a text of their identities, sizes and times, symlinks followed (mounted Secrets swap one).
// Hundreds of clusters may share a kubeconfig, so a file is looked at once for all that ask in the same moment.

import { stat } from 'node:fs/promises';

const SHARED_MILLIS = 500;

export class FileStamps {
  readonly #looks = new Map<string, { readonly at: number; readonly stamp: Promise<string> }>();

  /** A text that changes when one of the files does, comes or goes. */
  async of(files: readonly string[]): Promise<string> {
    return (await Promise.all(files.map((file) => this.#look(file)))).join('\n');
  }

  #look(file: string): Promise<string> {
    const now = performance.now();
    const known = this.#looks.get(file);
    if (known !== undefined && now - known.at < SHARED_MILLIS) return known.stamp;
    const stamp = stat(file, { bigint: true }).then(
      ({ dev, ino, size, mtimeNs }) => `${file} ${dev} ${ino} ${size} ${mtimeNs}`,
      (error: unknown) => `${file} ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`,
    );
    this.#looks.set(file, { at: now, stamp });
    return stamp;
  }
}
