import { isWrongPassphrase, type PrivateKey, type PrivateKeyFile } from '../ssh/private-key-file.ts';
import type { RequestPassphrase } from './recipient.ts';

/** The answers to one question, each asked for when the one before did not fit, as often as it may be asked. */
export async function* passphraseAttempts(
  request: RequestPassphrase,
  prompt: string,
): AsyncGenerator<string, void, void> {
  const attempts = request.attempts ?? 1;
  for (let attempt = 0; attempt < attempts; attempt++)
    yield await request(attempt === 0 ? prompt : `Wrong, try again. ${prompt}`);
}

/** Unlocks a private key, asking for its passphrase if it has one. @throws what PrivateKeyFile.unlock throws */
export async function unlockPrivateKey(
  file: PrivateKeyFile,
  request: RequestPassphrase,
  prompt: string,
  signal?: AbortSignal,
): Promise<PrivateKey> {
  if (!file.encrypted) return await file.unlock(undefined, signal);
  let failure: unknown;
  for await (const passphrase of passphraseAttempts(request, prompt)) {
    try {
      return await file.unlock(passphrase, signal);
    } catch (error) {
      if (!isWrongPassphrase(error)) throw error;
      failure = error;
    }
  }
  throw failure;
}
