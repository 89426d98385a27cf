// An address that cannot be listened on: one line that names the flag, the address and the reason.

export interface BoundAddress {
  readonly host: string;
  readonly port: number;
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'no permission for this port (below 1024 it needs CAP_NET_BIND_SERVICE; 1053 does not)',
  EPERM: 'no permission for this port',
};

export class ListenError extends Error {
  override readonly name = 'ListenError';

  /** `flag` as it is typed; `code` as Node names it, or words; `over`: UDP or TCP where it matters. */
  static of(flag: string, { host, port }: BoundAddress, code: string, over = ''): ListenError {
    const where = `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
    return new ListenError(`${flag} ${where}: ${reasons[code] ?? code}${over === '' ? '' : ` (${over})`}`);
  }
}
