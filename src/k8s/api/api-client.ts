// The one door to undici: requests to one API server, each answered by a body that streams or by a TroubleError.
// HTTP/1.1, one agent a cluster: a watch that stalls holds back no other. No redirect is followed and no compressed body
// taken (we ask for none). Not here: what is asked (reflector.ts, discovery.ts), when it is tried again.

import { createSecureContext } from 'node:tls';
import { Agent, ProxyAgent, Socks5ProxyAgent } from 'undici';
import type { Dispatcher } from 'undici';
import { limits } from '../../limits.ts';
import type { Access } from './access.ts';
import type { ReflectorLimits } from './backoff.ts';
import { connectionTrouble, statusTrouble, TroubleError } from './trouble.ts';

/** The body of a 200: chunks until the server ends it. Whoever leaves the loop early ends the connection. */
export interface ApiBody extends AsyncIterable<Buffer> {
  /** Ends the connection; a loop over the chunks throws `error`. */
  destroy(error: Error): unknown;
}

export class ApiClient {
  readonly access: Access;
  readonly #agent: Dispatcher;
  readonly #origin: string;
  /** Of the server's URL, '' mostly. */
  readonly #prefix: string;
  readonly #limits: ReflectorLimits;
  /** The value of the Authorization header: may be replaced while requests run. */
  authorization: string | undefined;

  constructor(access: Access, times: ReflectorLimits = limits.reflector) {
    this.access = access;
    this.authorization = access.authorization;
    this.#limits = times;
    const { origin, pathname } = new URL(access.server);
    this.#origin = origin;
    this.#prefix = pathname === '/' ? '' : pathname;
    this.#agent = agentOf(access, times);
  }

  /** GETs `path`, with its query. Throws TroubleError for all but a 200 with JSON. */
  async open(path: string, signal: AbortSignal): Promise<ApiBody> {
    const { access } = this;
    let response: Dispatcher.ResponseData;
    try {
      response = await this.#agent.request({
        origin: this.#origin,
        path: this.#prefix + path,
        method: 'GET',
        signal,
        headers: {
          ...linesOf(access.headers),
          accept: 'application/json',
          'user-agent': 'clusterset-dns',
          ...(this.authorization === undefined ? {} : { authorization: this.authorization }),
        },
      });
    } catch (error) {
      throw connectionTrouble(error);
    }
    const { statusCode, headers, body } = response;
    // Whoever aborts a body that nobody reads yet must not end the process.
    body.on('error', () => undefined);
    const type = String(headers['content-type'] ?? '');
    if (statusCode === 200) {
      const encoding = headers['content-encoding'];
      if (encoding !== undefined && encoding !== 'identity') {
        body.destroy();
        throw new TroubleError('body', `200 with content-encoding ${String(encoding)}, which was not asked for`);
      }
      if (!/^application\/json\b/i.test(type)) {
        body.destroy();
        throw new TroubleError('body', `200 with ${type === '' ? 'no content type' : type} instead of JSON`);
      }
      return body;
    }
    const retryAfter = headers['retry-after'];
    const { statusOctets, headersMillis } = this.#limits;
    const text = await readText(body, statusOctets, headersMillis).catch(() => '');
    throw statusTrouble(statusCode, statusOf(text, type), typeof retryAfter === 'string' ? retryAfter : undefined);
  }

  /** A small document, such as those of discovery. Throws TroubleError. */
  async json(path: string, signal: AbortSignal): Promise<unknown> {
    const body = await this.open(path, signal);
    try {
      const { discoveryOctets, listMillis } = this.#limits;
      return JSON.parse(await readText(body, discoveryOctets, listMillis)) as unknown;
    } catch (error) {
      if (error instanceof SyntaxError) throw new TroubleError('body', '200 with a body that is no JSON');
      throw connectionTrouble(error);
    }
  }

  /** Ends every connection. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

function linesOf(headers: Access['headers']): Record<string, string[]> {
  return Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, [...values]]));
}

function agentOf(access: Access, { connectMillis, headersMillis, keepAliveMillis }: ReflectorLimits): Dispatcher {
  const { ca, cert, key, serverName, skipVerify } = access;
  const tls = {
    rejectUnauthorized: !skipVerify,
    // Made once: each connection would parse the certificates again.
    secureContext: createSecureContext({
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
  const common = {
    allowH2: false,
    connections: 16,
    pipelining: 1,
    headersTimeout: headersMillis,
    // A watch is idle for minutes; the reflector has its own clock.
    bodyTimeout: 0,
    maxHeaderSize: 64 * 1_024,
  };
  const connect = { timeout: connectMillis, keepAlive: true, keepAliveInitialDelay: keepAliveMillis };
  if (access.proxy === undefined) return new Agent({ ...common, connect: { ...connect, ...tls } });
  if (access.proxy.startsWith('socks5')) {
    return new Socks5ProxyAgent(access.proxy, { ...common, requestTls: { ...connect, ...tls } });
  }
  return new ProxyAgent({ ...common, uri: access.proxy, requestTls: { ...connect, ...tls }, proxyTls: connect });
}

/** Reads all of a body that must be small and come in time. */
async function readText(body: ApiBody, mostOctets: number, mostMillis: number): Promise<string> {
  const chunks: Buffer[] = [];
  let octets = 0;
  const late = setTimeout(() => {
    body.destroy(new TroubleError('body', 'the body did not come in time'));
  }, mostMillis);
  try {
    for await (const chunk of body) {
      octets += chunk.length;
      if (octets > mostOctets) throw new TroubleError('body', `a body of more than ${mostOctets} octets`);
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(late);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The Status of a failure; text that is none (a proxy's, or that of a version which is not served) as its message. */
function statusOf(text: string, type: string): unknown {
  if (!/\bjson\b/i.test(type)) return { message: /html/i.test(type) ? '(an HTML page)' : text };
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
