// What the data plane and its threads say to each other; apart from worker.ts, whose import would run it.

import type { BoundAddress } from './listen-error.ts';
import type { TcpLimits } from './tcp-connection.ts';
import type { UdpSocket } from './udp-socket.ts';

export interface WorkerTask {
  readonly image: SharedArrayBuffer;
  /** Its reader slot of the image. */
  readonly reader: number;
  readonly serve:
    | { readonly engine: 'mmsg'; readonly sockets: readonly UdpSocket[] }
    | { readonly engine: 'dgram'; readonly addresses: readonly BoundAddress[]; readonly shared: boolean }
    | { readonly engine: 'tcp'; readonly addresses: readonly BoundAddress[]; readonly limits: TcpLimits };
}

/** The worker's one message. */
export type WorkerReport =
  { readonly bound: true } | { readonly bound: false; readonly code: string; readonly where: BoundAddress };

/** Sent to the TCP worker: finish the replies under way and end. */
export const CLOSE = 'close';
