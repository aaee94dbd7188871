/**
 * The cause, at any depth, of a SalvageError after which the same request may succeed: a lost connection, a server that
 * is starting, overloaded or asks for patience. A storage says so where it makes the error,
 *
 *     throw new SalvageError('failed', `Cannot read "${name}" …`, { cause: new TransientError('connection reset') });
 *
 * and RetryingStorage decides whether it is safe to ask again: the request may have taken effect all the same. What a
 * second try cannot mend (refused credentials, a full disk, a wrong host key, an unknown host) must not be called transient.
 */
export class TransientError extends Error {
  override readonly name = 'TransientError';
  /** How long the server asks to be left alone, in milliseconds; undefined where it does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: { readonly retryAfterMs?: number; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs;
  }
}

// A chain of causes may be a ring.
const deepestCause = 16;

/** The TransientError in the chain of causes, the error itself included; undefined if there is none. */
export function findTransient(error: unknown): TransientError | undefined {
  let cause = error;
  for (let depth = 0; depth < deepestCause && cause instanceof Error; depth++) {
    if (cause instanceof TransientError) return cause;
    ({ cause } = cause);
  }
  return undefined;
}
