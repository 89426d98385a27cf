// SIGTERM and SIGINT: the first asks the server to stop, a second ends its lame duck, one after that the process.
// A terminal's Ctrl-C reaches a server under `npm start` twice within a millisecond, once from the terminal and once
// from npm, so a SIGINT that comes close behind a signal is not a second one.

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
  let first: { readonly name: NodeJS.Signals; readonly at: number } | undefined;
  let isClosing = false;
  let onStop: () => void = () => undefined;
  let onSecond: () => void = () => undefined;
  const stop = new Promise<void>((resolve) => (onStop = resolve));
  const second = new Promise<void>((resolve) => (onSecond = resolve));
  const listener = (name: NodeJS.Signals): void => {
    if (isClosing) process.exit(0);
    if (first === undefined) {
      first = { name, at: performance.now() };
      onStop();
      return;
    }
    const isOnePress = name === 'SIGINT' && performance.now() - first.at < ONE_PRESS_MILLIS;
    if (!isOnePress) onSecond();
  };
  process.on('SIGTERM', listener);
  process.on('SIGINT', listener);
  return {
    stop,
    async lameduck(millis) {
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([second, new Promise<void>((resolve) => (timer = setTimeout(resolve, millis)))]);
      clearTimeout(timer);
      isClosing = true;
    },
    end() {
      process.off('SIGTERM', listener);
      process.off('SIGINT', listener);
    },
  };
}
