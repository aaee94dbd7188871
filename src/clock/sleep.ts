import { setTimeout } from 'node:timers/promises';

/** Resolves after so many milliseconds; rejects with the signal's reason as soon as that is aborted. */
export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

export const systemSleep: Sleep = async (ms, signal) => {
  await setTimeout(ms, undefined, signal ? { signal } : {}).catch(() => {});
  signal?.throwIfAborted();
};
