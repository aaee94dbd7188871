import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { decodeBech32, encodeBech32 } from './bech32.ts';
import { pointBytes, x25519, x25519PublicKey } from './curve25519.ts';
import { checkBodyLength, openFileKey, sealFileKey } from './file-key.ts';
import { hkdf } from './hkdf.ts';
import type { Identity, Recipient, WrappedFileKey } from './recipient.ts';
import { unwrapFirst, type Stanza } from './stanza.ts';

const stanzaType = 'X25519';
const recipientPrefix = 'age';
const identityPrefix = 'age-secret-key-';

/** The public half of a native key, `age1…` (C2SP age.md "The X25519 recipient type"). */
export class X25519Recipient implements Recipient {
  readonly #publicKey: Uint8Array;

  /** @throws bad-key */
  static parse(text: string): X25519Recipient {
    const decoded = decodeBech32(text);
    if (decoded?.prefix !== recipientPrefix || text !== text.toLowerCase())
      throw new SalvageError('bad-key', 'Cannot read the recipient: it is not a valid age1… key', {
        hint: 'Copy it again, whole: a mistyped or shortened key does not pass its checksum.',
      });
    return new X25519Recipient(decoded.bytes);
  }

  /** @throws bad-key if it has not 32 bytes */
  constructor(publicKey: Uint8Array) {
    if (publicKey.length !== pointBytes)
      throw new SalvageError('bad-key', 'Cannot read the recipient: an age1… key holds 32 bytes');
    this.#publicKey = publicKey;
  }

  wrapFileKey(fileKey: Uint8Array): WrappedFileKey {
    const ephemeral = randomBytes(pointBytes);
    const share = x25519PublicKey(ephemeral);
    const sharedSecret = x25519(ephemeral, this.#publicKey);
    if (!sharedSecret)
      throw new SalvageError(
        'bad-key',
        'Cannot encrypt to the age1… recipient: its key is a low-order point',
      );
    const body = sealFileKey(wrapKey(sharedSecret, share, this.#publicKey), fileKey);
    return { stanzas: [{ type: stanzaType, args: [encodeBase64(share)], body }], labels: [] };
  }

  toString(): string {
    return encodeBech32(recipientPrefix, this.#publicKey);
  }
}

/** The private half of a native key, `AGE-SECRET-KEY-1…`. */
export class X25519Identity implements Identity {
  readonly #secretKey: Uint8Array;
  readonly #publicKey: Uint8Array;

  static generate(): X25519Identity {
    return new X25519Identity(randomBytes(pointBytes));
  }

  /** @throws bad-key, without the text */
  static parse(text: string): X25519Identity {
    const decoded = decodeBech32(text);
    if (decoded?.prefix !== identityPrefix || text !== text.toUpperCase())
      throw new SalvageError('bad-key', 'Cannot read the identity: it is not a valid AGE-SECRET-KEY-1… key', {
        hint: 'Copy it again, whole and in upper case: a mistyped or shortened key does not pass its checksum.',
      });
    return new X25519Identity(decoded.bytes);
  }

  /** @throws bad-key if it has not 32 bytes */
  constructor(secretKey: Uint8Array) {
    if (secretKey.length !== pointBytes)
      throw new SalvageError('bad-key', 'Cannot read the identity: an AGE-SECRET-KEY-1… key holds 32 bytes');
    this.#secretKey = secretKey;
    this.#publicKey = x25519PublicKey(secretKey);
  }

  get recipient(): X25519Recipient {
    return new X25519Recipient(this.#publicKey);
  }

  unwrapFileKey(stanzas: readonly Stanza[]): Uint8Array | undefined {
    return unwrapFirst(stanzas, stanzaType, (stanza) => this.#unwrap(stanza));
  }

  recipients(): readonly Recipient[] {
    return [this.recipient];
  }

  /** The secret itself. Its one use is to be written into an identity file. */
  toSecretString(): string {
    return encodeBech32(identityPrefix, this.#secretKey).toUpperCase();
  }

  #unwrap({ args, body }: Stanza): Uint8Array | undefined {
    const share = args.length === 1 ? decodeBase64(args[0]!) : undefined;
    if (share?.length !== pointBytes) throw malformed('its argument is not a share of 32 bytes');
    checkBodyLength(body);
    const sharedSecret = x25519(this.#secretKey, share);
    if (!sharedSecret) throw malformed('its share is a low-order point');
    return openFileKey(wrapKey(sharedSecret, share, this.#publicKey), body);
  }
}

function wrapKey(sharedSecret: Uint8Array, share: Uint8Array, publicKey: Uint8Array): Uint8Array {
  return hkdf(sharedSecret, concatBytes([share, publicKey]), 'age-encryption.org/v1/X25519');
}

function malformed(state: string): SalvageError {
  return new SalvageError('age-header', `Cannot read the X25519 stanza of the age header: ${state}`);
}
