// How one API server is reached: plain data, so that it crosses a thread's boundary and two of them can be compared.
// Not here: where it comes from (credentials.ts), who uses it (api-client.ts).

/** Where the access to an API server is read from. */
export type AccessSource =
  | { readonly kind: 'in-cluster' }
  | {
      readonly kind: 'kubeconfig';
      /** A path; undefined: `$KUBECONFIG` (a list of paths, merged as kubectl does), else `~/.kube/config`. */
      readonly file: string | undefined;
      /** Undefined: the current context. */
      readonly context: string | undefined;
    };

export interface Access {
  /** `https://host:port`, perhaps with a path, without a slash at its end. */
  readonly server: string;
  /** PEM; undefined: the system's. */
  readonly ca: string | undefined;
  /** PEM of the client's certificate and key; both or none. */
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** The name that the server's certificate must have (`tls-server-name`), where it is not the host's. */
  readonly serverName: string | undefined;
  /** `insecure-skip-tls-verify`. */
  readonly skipVerify: boolean;
  /** `proxy-url`: http, https or socks5. */
  readonly proxy: string | undefined;
  /** The whole value of the Authorization header. */
  readonly authorization: string | undefined;
  /** Impersonation, by names in lower case; each value is a header line of its own. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** When the credentials end, in milliseconds since 1970 (an exec plugin said so). */
  readonly expiresAtMillis: number | undefined;
  /** The file that `authorization` was read from: read again each minute, without the rest. */
  readonly tokenFile: string | undefined;
  /** Every file that was read for this, the token file apart: when one changes, all is read again. */
  readonly files: readonly string[];
}

/** Whether a client made for `a` does for `b`: all but the Authorization header and its dates are alike. */
export function sameServer(a: Access, b: Access): boolean {
  return (
    a.server === b.server &&
    a.ca === b.ca &&
    a.cert === b.cert &&
    a.key === b.key &&
    a.serverName === b.serverName &&
    a.skipVerify === b.skipVerify &&
    a.proxy === b.proxy &&
    JSON.stringify(a.headers) === JSON.stringify(b.headers)
  );
}
