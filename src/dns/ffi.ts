// The one door to the C library: the Linux socket calls that Node does not offer, through koffi.
// Numbers are those of the kernel's ABI on x86-64 and arm64 (include/uapi/linux: socket.h, in.h, in6.h, eventpoll.h).
// Without koffi, off Linux, or on another processor the reason is a value, and the server uses node:dgram.

import { createRequire } from 'node:module';
import process from 'node:process';

/** A pointer into the C heap. */
export type Pointer = bigint;

/** The calls used; a negative result is an error, whose number `errno` gives. */
export interface Libc {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, octets: number): number;
  getsockname(fd: number, address: Uint8Array, octets: Int32Array): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, octets: number): number;
  getsockopt(fd: number, level: number, option: number, value: Int32Array, octets: Int32Array): number;
  recvmmsg(fd: number, messages: Pointer | null, count: number, flags: number, timeout: null): number;
  sendmmsg(fd: number, messages: Pointer, count: number, flags: number): number;
  epollCreate(flags: number): number;
  epollControl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
  epollWait(epoll: number, events: Uint8Array, count: number, timeoutMillis: number): number;
  usleep(micros: number): number;
  close(fd: number): number;
  errno(): number;
  /** A zeroed block of the C heap that is never freed, and its address. */
  allocate(octets: number): { memory: ArrayBuffer; address: Pointer };
}

interface Koffi {
  load(path: null): { func(prototype: string): (...values: unknown[]) => number };
  address(value: unknown): bigint;
  view(pointer: unknown, octets: number): ArrayBuffer;
  errno(): number;
}

/** Error numbers that are told apart, include/uapi/asm-generic/errno.h. */
export const errno = {
  EPERM: 1,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  EACCES: 13,
  EFAULT: 14,
  EINVAL: 22,
  ENOSYS: 38,
  ENOTSOCK: 88,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
} as const;

export const socketCall = {
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_DGRAM: 2,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_RCVBUF: 8,
  SO_RCVTIMEO: 20,
  IPPROTO_IP: 0,
  IP_PKTINFO: 8,
  IP_MTU_DISCOVER: 10,
  IPPROTO_IPV6: 41,
  IPV6_MTU_DISCOVER: 23,
  IPV6_V6ONLY: 26,
  IPV6_RECVPKTINFO: 49,
  PMTUDISC_PROBE: 3,
  MSG_DONTWAIT: 0x40,
  MSG_WAITFORONE: 0x10000,
  EPOLL_CLOEXEC: 0o2000000,
  EPOLL_CTL_ADD: 1,
  EPOLLIN: 1,
  EPOLLEXCLUSIVE: 1 << 28,
} as const;

/** The C library, or why it cannot be called. */
export function loadLibc(): Libc | string {
  if (process.platform !== 'linux') return `recvmmsg is called on Linux only, not on ${process.platform}`;
  if (process.arch !== 'x64' && process.arch !== 'arm64') return `recvmmsg is not called on ${process.arch}`;
  try {
    return declare(createRequire(import.meta.url)('koffi') as Koffi);
  } catch (error) {
    return `koffi cannot be loaded: ${String(error instanceof Error ? error.message : error).split('\n', 1)[0]!}`;
  }
}

function declare(koffi: Koffi): Libc {
  const library = koffi.load(null);
  const malloc = library.func('void *calloc(size_t count, size_t octets)') as unknown as (
    c: number,
    n: number,
  ) => unknown;
  return {
    socket: library.func('int socket(int domain, int type, int protocol)'),
    bind: library.func('int bind(int fd, void *address, uint32_t octets)'),
    getsockname: library.func('int getsockname(int fd, void *address, void *octets)'),
    setsockopt: library.func('int setsockopt(int fd, int level, int option, void *value, uint32_t octets)'),
    getsockopt: library.func('int getsockopt(int fd, int level, int option, void *value, void *octets)'),
    recvmmsg: library.func('int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)'),
    sendmmsg: library.func('int sendmmsg(int fd, void *messages, uint32_t count, int flags)'),
    epollCreate: library.func('int epoll_create1(int flags)'),
    epollControl: library.func('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
    epollWait: library.func('int epoll_wait(int epoll, void *events, int count, int timeout)'),
    usleep: library.func('int usleep(uint32_t micros)'),
    close: library.func('int close(int fd)'),
    errno: () => koffi.errno(),
    allocate(octets) {
      const pointer = malloc(1, octets);
      return { memory: koffi.view(pointer, octets), address: koffi.address(pointer) };
    },
  };
}
