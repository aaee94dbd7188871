import type { AlarmRequest } from './alarm-request.ts';
import { AttemptFailed } from './try-again.ts';

/**
 * Sends the request and wants an answer of 2xx. Redirections are not followed: they would turn a POST into a GET, or carry
 * the message to somebody else. @throws AttemptFailed without anything that is secret in the URL; the signal's reason
 */
export async function postRequest(
  { url, headers, body }: AlarmRequest,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const limit = AbortSignal.timeout(timeoutMs);
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'user-agent': 'salvage', ...headers },
      body,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (limit.aborted) throw new AttemptFailed(`no answer within ${timeoutMs / 1000} seconds`, true);
    throw reasonOf(error);
  }
  // Nothing that it says is of use, and it could be long.
  await response.body?.cancel().catch(() => {});
  const { status } = response;
  if (response.ok) return;
  if (status >= 300 && status < 400)
    throw new AttemptFailed(`it redirects to another place (${status}): give the address of that one`, false);
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  throw new AttemptFailed(
    `it answered ${status}`,
    status >= 500 || status === 408 || status === 429,
    seconds >= 0 ? seconds * 1000 : undefined,
  );
}

/**
 * "fetch failed" says nothing; its cause does, and names host and port at most. Without a cause the request itself is not
 * possible, and the message quotes what is wrong: a token, for example.
 */
function reasonOf(error: unknown): AttemptFailed {
  const { cause } = error as { readonly cause?: unknown };
  if (!(cause instanceof Error))
    return new AttemptFailed('a header holds a character that cannot stand there', false);
  const { code, message } = cause as NodeJS.ErrnoException;
  return new AttemptFailed(typeof code === 'string' ? code : message, true);
}
