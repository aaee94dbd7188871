import { ECDH } from 'node:crypto';
import type { Identity, Recipient } from '../age/recipient.ts';
import type { Stanza } from '../age/stanza.ts';
import { matchesTag, openTagStanza, parseTagStanza, TagRecipient } from '../age/tag.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { TokenKeyReference } from './token-key-reference.ts';

/** Opens the token that the reference means, logged in to. */
export type OpenTokenKey = (reference: TokenKeyReference) => Promise<TokenKeyUse>;

/** The one thing a token does for us. */
export interface TokenKeyUse {
  /** The x-coordinate of the private key times this uncompressed point. */
  deriveEcdh(point: Uint8Array): Uint8Array;
}

/**
 * A P-256 key in a token, for files that are encrypted to `age1tag1…` (C2SP age.md "The p256tag recipient type"). The
 * token is opened only for a file whose tag fits, and once.
 */
export class TokenIdentity implements Identity {
  readonly interactive = true;
  readonly #reference: TokenKeyReference;
  readonly #recipient: TagRecipient;
  readonly #point: Uint8Array;
  readonly #open: OpenTokenKey;
  #key: Promise<TokenKeyUse> | undefined;

  /** @throws bad-key if the reference holds no point of the curve */
  constructor(reference: TokenKeyReference, open: OpenTokenKey) {
    this.#reference = reference;
    this.#recipient = new TagRecipient(reference.publicKey);
    this.#point = Uint8Array.from(
      ECDH.convertKey(reference.publicKey, 'prime256v1', undefined, undefined, 'uncompressed') as Buffer,
    );
    this.#open = open;
  }

  async unwrapFileKey(stanzas: readonly Stanza[]): Promise<Uint8Array | undefined> {
    for (const stanza of stanzas) {
      const tagged = stanza.type === 'p256tag' ? parseTagStanza(stanza) : undefined;
      if (!tagged || !matchesTag(tagged, this.#point)) continue;
      checkPoint(tagged.ephemeral);
      const key = await (this.#key ??= this.#open(this.#reference));
      const fileKey = openTagStanza(tagged, key.deriveEcdh(tagged.ephemeral), this.#point);
      // The tag is a hint of four bytes: another key may have the same.
      if (fileKey) return fileKey;
    }
    return undefined;
  }

  recipients(): readonly Recipient[] {
    return [this.#recipient];
  }
}

/** A token that takes points from other curves can be made to give its key away. @throws age-header */
function checkPoint(point: Uint8Array): void {
  try {
    ECDH.convertKey(point, 'prime256v1');
  } catch {
    throw new SalvageError(
      'age-header',
      'Cannot read the p256tag stanza of the age header: its share is not a point of the curve P-256',
    );
  }
}
