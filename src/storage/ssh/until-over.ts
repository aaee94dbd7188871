import type { Ask } from './serve-ask.ts';

/** The parts, as long as somebody wants them: the next one may never come. Throws the signal's reason. */
export async function* untilOver(
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  asked: Ask,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const parts = Symbol.asyncIterator in body ? body[Symbol.asyncIterator]() : body[Symbol.iterator]();
  let isAtEnd = false;
  try {
    while (!asked.last) {
      const { promise, resolve, reject } = Promise.withResolvers<IteratorResult<Uint8Array> | undefined>();
      const stop = (): void => reject(signal!.reason as Error);
      asked.onLast = () => resolve(undefined);
      signal?.addEventListener('abort', stop, { once: true });
      Promise.resolve(parts.next()).then(resolve, reject);
      const next = await promise.finally(() => signal?.removeEventListener('abort', stop));
      isAtEnd = next?.done === true;
      if (!next || next.done) return;
      yield next.value;
    }
  } finally {
    // Not waited for: it may hang for the same reason.
    if (!isAtEnd) void Promise.resolve(parts.return?.()).catch(() => {});
  }
}
