// SIGTERM and SIGINT: the first asks the server to stop, a second ends its lame duck at once.
// A terminal's Ctrl-C reaches a server under `npm start` twice within a millisecond, once from the terminal and once
// from npm, so signals that close together are one.

import process from 'node:process';

const ONE_PRESS_MILLIS = 100;

export interface StopSignal {
  /** Resolves at the first signal. */
  readonly stop: Promise<void>;
  /** Resolves after this time, or at a second signal. */
  lameduck(millis: number): Promise<void>;
  /** Gives the signals back to their defaults. */
  end(): void;
}

export function stopSignal(): StopSignal {
  let first = 0;
  let onStop: () => void = () => undefined;
  let onSecond: () => void = () => undefined;
  const stop = new Promise<void>((resolve) => (onStop = resolve));
  const second = new Promise<void>((resolve) => (onSecond = resolve));
  const listener = (): void => {
    const now = performance.now();
    if (first === 0) {
      first = now;
      onStop();
    } else if (now - first > ONE_PRESS_MILLIS) onSecond();
  };
  process.on('SIGTERM', listener);
  process.on('SIGINT', listener);
  return {
    stop,
    async lameduck(millis) {
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([second, new Promise<void>((resolve) => (timer = setTimeout(resolve, millis)))]);
      clearTimeout(timer);
    },
    end() {
      process.off('SIGTERM', listener);
      process.off('SIGINT', listener);
    },
  };
}
