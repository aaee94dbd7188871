import { concatBytes } from '../bytes/bytes.ts';
import { ArmorEncoder } from './armor.ts';
import { createEnvelope } from './envelope.ts';
import { PayloadEncryptor } from './payload-encryptor.ts';
import type { Recipient } from './recipient.ts';

export interface EncryptStreamOptions {
  /** Text for e-mail and terminals in place of bytes. */
  readonly armor?: boolean;
}

/**
 * An age file to these recipients, in bounded memory: what comes in goes out. Pieces of `source` may be reused once the
 * next is asked for.
 * @throws bad-key as createEnvelope, before anything is read
 */
export async function* encryptStream(
  source: AsyncIterable<Uint8Array>,
  recipients: readonly Recipient[],
  options: EncryptStreamOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const { fileKey, header } = await createEnvelope(recipients);
  const encryptor = new PayloadEncryptor(fileKey);
  const armor = options.armor ? new ArmorEncoder() : undefined;
  const write = (parts: Uint8Array[]): Uint8Array =>
    concatBytes(armor ? parts.flatMap((part) => armor.push(part)) : parts);

  yield write([header]);
  for await (const piece of source) {
    const out = write(encryptor.push(piece));
    if (out.length > 0) yield out;
  }
  yield write(encryptor.finish());
  if (armor) yield concatBytes(armor.finish());
}
