import { systemClock, type Clock } from '../../clock/clock.ts';
import { randomFraction } from '../../clock/random.ts';
import { systemSleep, type Sleep } from '../../clock/sleep.ts';
import { findTransient } from '../transient-error.ts';

export interface RetrySettings {
  /** The pause before the second attempt is half of this to all of this; each further one up to twice as long. */
  readonly firstDelayMs: number;
  readonly longestDelayMs: number;
  /** No further attempt begins so long after the first failure since something last went well. */
  readonly patienceMs: number;
  readonly clock: Clock;
  readonly sleep: Sleep;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Is told of every pause before it begins. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/** What failed, and how long it is until the next attempt. */
export interface RetryNotice {
  readonly error: Error;
  readonly delayMs: number;
}

/** Half a second at first, half a minute at most, five minutes in all. */
export const patientRetries: RetrySettings = {
  firstDelayMs: 500,
  longestDelayMs: 30_000,
  patienceMs: 5 * 60_000,
  clock: systemClock,
  sleep: systemSleep,
  random: randomFraction,
};

/** The pauses of one request: exponential, with jitter, so that many clients of one server come back one after the other. */
export class Backoff {
  readonly #settings: RetrySettings;
  #attempts = 0;
  #failingSinceMs: number | undefined;

  constructor(settings: RetrySettings) {
    this.#settings = settings;
  }

  /**
   * Waits until it is time to try again. @throws the error itself if it is not transient or patience has come to its end;
   * the signal's reason
   */
  async wait(error: unknown, signal?: AbortSignal): Promise<void> {
    const { firstDelayMs, longestDelayMs, patienceMs, clock, sleep, random, onRetry } = this.#settings;
    signal?.throwIfAborted();
    const transient = findTransient(error);
    if (!transient) throw error;
    const nowMs = clock.monotonicMs();
    this.#failingSinceMs ??= nowMs;
    const fullMs = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(this.#attempts++, 30));
    const delayMs = Math.max(transient.retryAfterMs ?? 0, fullMs * (0.5 + random() / 2));
    if (nowMs + delayMs > this.#failingSinceMs + patienceMs) throw error;
    onRetry?.({ error: error as Error, delayMs });
    await sleep(delayMs, signal);
  }

  /** Something went well: the next failure is a first one. */
  reset(): void {
    this.#attempts = 0;
    this.#failingSinceMs = undefined;
  }
}

/** Repeats `work`, which must be safe to repeat, for as long as its errors are transient and patience lasts. */
export async function retry<T>(
  settings: RetrySettings,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const backoff = new Backoff(settings);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await backoff.wait(error, signal);
    }
  }
}
