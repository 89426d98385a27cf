// The fault server's port and its connections: it can stop listening and come back on the same port, reset connections,
// or accept them and never read. Not here: TLS and HTTP, which get each connection handed over.

import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const BACKLOG = 1_024;

export class Listener {
  readonly port: number;
  readonly #take: (socket: Socket) => void;
  /** By the client's port. */
  readonly #sockets = new Map<number, Socket>();
  #server: Server;
  #frozen: Socket[] = [];
  #isFrozen = false;

  private constructor(server: Server, take: (socket: Socket) => void) {
    this.port = (server.address() as AddressInfo).port;
    this.#take = take;
    this.#server = server;
    this.#accept(server);
  }

  static async start(port: number, take: (socket: Socket) => void): Promise<Listener> {
    return new Listener(await listening(port), take);
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** New connections are accepted and not read until `thaw`. */
  freeze(): void {
    this.#isFrozen = true;
  }

  thaw(): void {
    this.#isFrozen = false;
    for (const socket of this.#frozen.splice(0)) if (!socket.destroyed) this.#take(socket);
  }

  /** ECONNREFUSED from now on, and all connections are reset. */
  async refuse(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
    // The server's `close` comes before that of its last sockets.
    this.#sockets.clear();
  }

  async listen(): Promise<void> {
    if (this.#server.listening) return;
    this.#server = await listening(this.port);
    this.#accept(this.#server);
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets.values()) socket.resetAndDestroy();
  }

  /** Resets one. */
  reset(clientPort: number): void {
    this.#sockets.get(clientPort)?.resetAndDestroy();
  }

  #accept(server: Server): void {
    server.on('connection', (socket) => {
      const { remotePort = 0 } = socket;
      this.#sockets.set(remotePort, socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        if (this.#sockets.get(remotePort) === socket) this.#sockets.delete(remotePort);
      });
      if (this.#isFrozen) this.#frozen.push(socket);
      else this.#take(socket);
    });
  }
}

function listening(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true });
    server.once('error', reject);
    server.listen(port, '127.0.0.1', BACKLOG, () => resolve(server));
  });
}
