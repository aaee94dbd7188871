import type { Sleep } from '../../clock/sleep.ts';
import { randomFraction } from '../../clock/random.ts';

/** One attempt that did not work, with the reason as the end of a sentence. Holds no secret. */
export class AttemptFailed extends Error {
  override readonly name = 'AttemptFailed';
  /** Whether another attempt can turn out better. */
  readonly isPassing: boolean;
  /** How long the other side wants to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, isPassing: boolean, retryAfterMs?: number) {
    super(message);
    this.isPassing = isPassing;
    this.retryAfterMs = retryAfterMs;
  }
}

const firstPauseMs = 1000;
const longestPauseMs = 30_000;

/**
 * Does it up to `attempts` times, with pauses that double from one second to thirty, and up to a quarter more by chance.
 * @throws what the last attempt threw; at once what is no AttemptFailed, or not passing
 */
export async function tryAgain(
  attempts: number,
  attempt: () => Promise<void>,
  sleep: Sleep,
  signal?: AbortSignal,
): Promise<void> {
  for (let number = 1; ; number++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof AttemptFailed) || !error.isPassing || number >= attempts) throw error;
      const pauseMs = Math.max(firstPauseMs * 2 ** (number - 1), error.retryAfterMs ?? 0);
      await sleep(Math.min(longestPauseMs, pauseMs) * (1 + randomFraction() / 4), signal);
    }
  }
}
