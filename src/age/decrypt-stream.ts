import { BinaryInput } from './binary-input.ts';
import type { ArmorInput } from './binary-input.ts';
import { openEnvelopeOrThrow } from './envelope.ts';
import { HeaderParser } from './header.ts';
import { PayloadDecryptor } from './payload-decryptor.ts';
import type { Identity } from './recipient.ts';

export interface DecryptStreamOptions {
  /** By default the first bytes tell. */
  readonly armor?: ArmorInput;
}

/**
 * The plaintext of an age file, each piece authentic when it is handed out, and the whole known to be whole when the
 * iteration ends without an error. Bounded memory.
 * @throws age-header, age-armor, age-hmac, no-identity-match, age-payload, and what an identity throws
 */
export async function* decryptStream(
  source: AsyncIterable<Uint8Array>,
  identities: readonly Identity[],
  options: DecryptStreamOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const input = new BinaryInput(options.armor);
  const header = new HeaderParser();
  let payload: PayloadDecryptor | undefined;

  async function* read(parts: Uint8Array[]): AsyncGenerator<Uint8Array, void, void> {
    for (let part of parts) {
      if (!payload) {
        if (!header.push(part)) continue;
        payload = new PayloadDecryptor(await openEnvelopeOrThrow(header.header!, identities));
        part = header.rest;
      }
      yield* payload.push(part);
    }
  }

  for await (const piece of source) yield* read(input.push(piece));
  yield* read(input.finish());
  if (!payload) header.finish();
  else yield* payload.finish();
}
