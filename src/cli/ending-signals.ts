const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export type EndingSignal = (typeof names)[number];

const listeners = new Map<EndingSignal, () => void>();

/**
 * Calls back for the first signal of each kind that asks the program to end. A second one of the same kind has the
 * system's own reaction: it kills.
 */
export function onEndingSignal(callback: (name: EndingSignal) => void): void {
  for (const name of names) {
    const listener = (): void => {
      listeners.delete(name);
      callback(name);
    };
    listeners.set(name, listener);
    process.once(name, listener);
  }
}

/**
 * Runs what may wait for somebody else without returning to the event loop: opening a fifo, reading a key from a pipe.
 * Meanwhile no listener could be called, so signals have the system's own reaction. There must be nothing to clean up.
 */
export function letSignalsKill<T>(action: () => T): T {
  for (const [name, listener] of listeners) process.removeListener(name, listener);
  try {
    return action();
  } finally {
    for (const [name, listener] of listeners) process.once(name, listener);
  }
}
