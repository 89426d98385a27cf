// The admin port: an HTTP server for probes. /health says that the process lives, /ready whether it may be asked.
// Not here: what readiness means (the server says so), metrics, pages.
// Bounded (CVE-2026-33257 is a peer's memory): GET and HEAD only, no body kept, one request a connection, few connections.
// A Host that is a name is refused, so that a web page cannot reach the port by rebinding its own name to our address.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv4, isIPv6 } from 'node:net';
import { type Address } from '../config.ts';
import { ListenError } from '../dns/listen-error.ts';
import { limits } from '../limits.ts';
import { type Log } from '../log.ts';

/** What /ready answers with. Other fields of a cluster are shown as they are. */
export interface Readiness {
  readonly ready: boolean;
  readonly clusters: readonly (Readonly<Record<string, unknown>> & { readonly id: string; readonly state: string })[];
}

export interface AdminOptions {
  readonly address: Address;
  readonly ready: () => Readiness;
  readonly log: Log;
  /** Shorter in tests. */
  readonly requestMillis?: number;
}

export interface Admin {
  /** Listens, and gives the port. Rejects with an error whose message names `--admin`. */
  start(): Promise<number>;
  /** Ends every connection. Nothing happens before `start` or after another `close`. */
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type?: string;
  readonly allow?: string;
}

/** The admin port, not yet bound. */
export function createAdmin({ address, ready, log, requestMillis = limits.admin.requestMillis }: AdminOptions): Admin {
  const server = createServer(
    {
      maxHeaderSize: limits.admin.headerOctets,
      headersTimeout: requestMillis,
      requestTimeout: requestMillis,
      // Node looks at the two above only this often.
      connectionsCheckingInterval: requestMillis / 5,
      // HTTP/1.0 has none; `answer` looks at it.
      requireHostHeader: false,
    },
    (request, response) => send(response, answer(request, ready)),
  );
  server.maxConnections = limits.admin.connections;
  server.maxRequestsPerSocket = 1;
  // A client that takes no reply; a request that stalls is found by the time-outs above.
  server.setTimeout(2 * requestMillis, (socket) => socket.destroy());

  return {
    start: () =>
      new Promise((resolve, reject) => {
        server.once('error', (error: NodeJS.ErrnoException) =>
          reject(ListenError.of('--admin', address, error.code ?? error.message)),
        );
        server.listen({ host: address.host, port: address.port, backlog: limits.admin.connections }, () => {
          server.removeAllListeners('error');
          server.on('error', (error) => log.error({ error }, 'admin port failed'));
          resolve((server.address() as AddressInfo).port);
        });
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(request: IncomingMessage, ready: () => Readiness): Answer {
  const hosts = request.headersDistinct['host'] ?? [];
  if (hosts.length > 1 || (hosts.length === 0 && request.httpVersion !== '1.0')) {
    return { status: 400, body: 'one Host header is needed\n' };
  }
  if (hosts.length === 1 && !isOwnHost(hosts[0]!)) {
    return { status: 421, body: 'Host must be an IP address or localhost\n' };
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, body: 'GET and HEAD only\n', allow: 'GET, HEAD' };
  }
  switch (request.url?.split('?', 1)[0]) {
    case '/health':
      return { status: 200, body: 'ok\n' };
    case '/ready': {
      const readiness = ready();
      const body = JSON.stringify(readiness, null, 2) + '\n';
      return { status: readiness.ready ? 200 : 503, body, type: 'application/json' };
    }
    default:
      return { status: 404, body: 'not found\n' };
  }
}

function send(response: ServerResponse, { status, body, type = 'text/plain; charset=utf-8', allow }: Answer): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // What follows the request, a body or another request, is never read.
    Connection: 'close',
    ...(allow === undefined ? {} : { Allow: allow }),
  });
  response.end(body);
}

/** An IP address or localhost, with or without a port. The kubelet sends the pod's address. */
function isOwnHost(host: string): boolean {
  const [, v6, other = ''] = /^(?:\[([^[\]]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(host) ?? [];
  return v6 === undefined ? isIPv4(other) || other.toLowerCase() === 'localhost' : isIPv6(v6);
}
