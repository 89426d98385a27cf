// Why credentials cannot be had, as one line: each place on the way out puts its name before the reason.
// No value of a credential is ever part of it. Not here: what is done about it.

/** One line that names the file, context or user. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
}

/** What `read` gives; a CredentialError of it gets `place` before its reason. */
export async function at<T>(place: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof CredentialError) throw new CredentialError(`${place}: ${error.message}`);
    throw error;
  }
}
