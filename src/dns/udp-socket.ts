// UDP sockets opened through the C library: bound in the main thread, read by the workers by descriptor.
// Sources: socket(7), ip(7) IP_PKTINFO, ipv6(7) IPV6_RECVPKTINFO, RFC 3493 (sockaddr_in6).

import { isIPv6 } from 'node:net';
import { endianness } from 'node:os';
import { errno, socketCall as call } from './ffi.ts';
import type { Libc } from './ffi.ts';
import { isWildcard } from './local-address.ts';

/** A blocked receive wakes this often to look at the stop flag. */
const RECEIVE_TIMEOUT_MICROS = 200_000;
/** Octets of receive buffer asked for: loss happens there. */
export const RECEIVE_BUFFER_OCTETS = 4 << 20;

export interface UdpSocket {
  readonly fd: number;
  readonly host: string;
  readonly port: number;
  /** Bound to a wildcard address, so the address that was asked comes as a control message. */
  readonly wildcard: boolean;
  /** Octets of receive buffer granted, as the kernel counts them for the application. */
  readonly receiveBuffer: number;
}

/** Why a socket could not be opened; `code` as Node names it. */
export class SocketError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

const codes: ReadonlyMap<number, string> = new Map(Object.entries(errno).map(([name, number]) => [number, name]));

/** Opens and binds a socket; throws SocketError. `port` 0 lets the kernel choose. */
export function openUdpSocket(libc: Libc, host: string, port: number): UdpSocket {
  const v6 = isIPv6(host);
  const fd = libc.socket(v6 ? call.AF_INET6 : call.AF_INET, call.SOCK_DGRAM | call.SOCK_CLOEXEC, 0);
  if (fd < 0) throw failure(libc, 'socket');
  try {
    const wildcard = isWildcard(host);
    if (v6) set(libc, fd, call.IPPROTO_IPV6, call.IPV6_V6ONLY, int32(1));
    if (wildcard && v6) set(libc, fd, call.IPPROTO_IPV6, call.IPV6_RECVPKTINFO, int32(1));
    if (wildcard && !v6) set(libc, fd, call.IPPROTO_IP, call.IP_PKTINFO, int32(1));
    dontFragment(libc, fd, v6);
    set(libc, fd, call.SOL_SOCKET, call.SO_RCVBUF, int32(RECEIVE_BUFFER_OCTETS));
    const timeout = new BigInt64Array([0n, BigInt(RECEIVE_TIMEOUT_MICROS)]);
    set(libc, fd, call.SOL_SOCKET, call.SO_RCVTIMEO, new Uint8Array(timeout.buffer));
    const address = socketAddress(host, port);
    if (libc.bind(fd, address, address.length) < 0) throw failure(libc, 'bind');
    const octets = new Int32Array([address.length]);
    if (libc.getsockname(fd, address, octets) < 0) throw failure(libc, 'getsockname');
    const granted = new Int32Array(1);
    libc.getsockopt(fd, call.SOL_SOCKET, call.SO_RCVBUF, granted, new Int32Array([4]));
    // The kernel doubles what is set for its own bookkeeping, socket(7).
    return { fd, host, port: (address[2]! << 8) | address[3]!, wildcard, receiveBuffer: granted[0]! >> 1 };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/**
 * Replies have the DF flag and are never fragmented; a path MTU that somebody claims is not believed (RFC 9715 3.1).
 * It also saves the choice of an IP id. A kernel without it answers all the same.
 */
function dontFragment(libc: Libc, fd: number, v6: boolean): void {
  const level = v6 ? call.IPPROTO_IPV6 : call.IPPROTO_IP;
  const option = v6 ? call.IPV6_MTU_DISCOVER : call.IP_MTU_DISCOVER;
  libc.setsockopt(fd, level, option, int32(call.PMTUDISC_PROBE), 4);
}

/** Whether the kernel lets us receive many datagrams a call: gVisor and seccomp profiles answer ENOSYS or EPERM. */
export function canReceiveMany(libc: Libc, fd: number): boolean {
  if (libc.recvmmsg(fd, null, 0, call.MSG_DONTWAIT, null) >= 0) return true;
  const number = libc.errno();
  return number !== errno.ENOSYS && number !== errno.EPERM;
}

function set(libc: Libc, fd: number, level: number, option: number, value: Uint8Array): void {
  if (libc.setsockopt(fd, level, option, value, value.length) < 0) throw failure(libc, 'setsockopt');
}

function failure(libc: Libc, what: string): SocketError {
  const number = libc.errno();
  const code = codes.get(number) ?? `errno ${String(number)}`;
  return new SocketError(code, `${what}: ${code}`);
}

function int32(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer);
}

/** struct sockaddr_in or sockaddr_in6 without scope. */
function socketAddress(host: string, port: number): Uint8Array {
  const v6 = isIPv6(host);
  const address = new Uint8Array(v6 ? 28 : 16);
  const family = v6 ? call.AF_INET6 : call.AF_INET;
  address[endianness() === 'LE' ? 0 : 1] = family;
  address[2] = port >>> 8;
  address[3] = port;
  if (!v6) {
    address.set(host.split('.').map(Number), 4);
    return address;
  }
  // The URL parser writes any IPv6 text canonically; what is left is the gap of zeros.
  const [head = '', tail] = new URL(`http://[${host}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string | undefined): number[] =>
    text === undefined || text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = groups(tail);
  [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after].forEach((group, i) => {
    address[8 + i * 2] = group >>> 8;
    address[9 + i * 2] = group;
  });
  return address;
}
