import { createHash } from 'node:crypto';
import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { decodeBech32, encodeBech32 } from './bech32.ts';
import { pointBytes, x25519, x25519PublicKey } from './curve25519.ts';
import { checkBodyLength } from './file-key.ts';
import { kemIds, openBase, sealBase } from './hpke.ts';
import {
  combineHybridSecrets,
  encapsulationKeyBytes,
  mlKemCiphertextBytes,
  mlKemDecapsulate,
  mlKemEncapsulate,
  mlKemEncapsulationKey,
  mlKemSeedBytes,
} from './ml-kem.ts';
import type { Identity, Recipient, WrappedFileKey } from './recipient.ts';
import { unwrapFirst, type Stanza } from './stanza.ts';

const stanzaType = 'mlkem768x25519';
const recipientPrefix = 'age1pq';
const identityPrefix = 'age-secret-key-pq-';
const info = 'age-encryption.org/mlkem768x25519';
const combinerLabel = '\\.//^\\';
const seedBytes = 32;
const encapsulatedBytes = mlKemCiphertextBytes + pointBytes;
/** All recipients of a file that a quantum computer must not open have this label, so that none without it joins them. */
export const postQuantumLabel = 'postquantum';

/** The public half of a post-quantum key, `age1pq1…` (C2SP age.md "The mlkem768x25519 recipient type"). */
export class HybridRecipient implements Recipient {
  /** The ML-KEM-768 encapsulation key, then the X25519 point. */
  readonly #publicKey: Uint8Array;

  /** @throws bad-key */
  static parse(text: string): HybridRecipient {
    const decoded = decodeBech32(text);
    if (decoded?.prefix !== recipientPrefix || text !== text.toLowerCase())
      throw new SalvageError('bad-key', 'Cannot read the recipient: it is not a valid age1pq1… key', {
        hint: 'Copy it again, whole: it has 1959 characters, and a shortened one does not pass its checksum.',
      });
    return new HybridRecipient(decoded.bytes);
  }

  /** @throws bad-key if it has not 1216 bytes */
  constructor(publicKey: Uint8Array) {
    if (publicKey.length !== encapsulationKeyBytes + pointBytes)
      throw new SalvageError('bad-key', 'Cannot read the recipient: an age1pq1… key holds 1216 bytes');
    this.#publicKey = publicKey;
  }

  wrapFileKey(fileKey: Uint8Array): WrappedFileKey {
    const point = this.#publicKey.subarray(encapsulationKeyBytes);
    const encapsulation = mlKemEncapsulate(this.#publicKey.subarray(0, encapsulationKeyBytes));
    const ephemeralSecret = randomBytes(pointBytes);
    const ephemeral = x25519PublicKey(ephemeralSecret);
    const diffieHellman = x25519(ephemeralSecret, point);
    if (!encapsulation || !diffieHellman)
      throw new SalvageError(
        'bad-key',
        'Cannot encrypt to the age1pq1… recipient: its key is not a valid one',
      );
    const sharedSecret = combineHybridSecrets(
      { mlKem: encapsulation.sharedSecret, diffieHellman, ephemeral, publicKey: point },
      combinerLabel,
    );
    const body = sealBase(kemIds.mlkem768x25519, sharedSecret, info, fileKey);
    const encapsulated = encodeBase64(concatBytes([encapsulation.ciphertext, ephemeral]));
    return { stanzas: [{ type: stanzaType, args: [encapsulated], body }], labels: [postQuantumLabel] };
  }

  toString(): string {
    return encodeBech32(recipientPrefix, this.#publicKey);
  }
}

/** The private half of a post-quantum key, `AGE-SECRET-KEY-PQ-1…`. */
export class HybridIdentity implements Identity {
  readonly #seed: Uint8Array;
  readonly #mlKemSeed: Uint8Array;
  readonly #scalar: Uint8Array;
  readonly #point: Uint8Array;

  static generate(): HybridIdentity {
    return new HybridIdentity(randomBytes(seedBytes));
  }

  /** @throws bad-key, without the text */
  static parse(text: string): HybridIdentity {
    const decoded = decodeBech32(text);
    if (decoded?.prefix !== identityPrefix || text !== text.toUpperCase())
      throw new SalvageError(
        'bad-key',
        'Cannot read the identity: it is not a valid AGE-SECRET-KEY-PQ-1… key',
        {
          hint: 'Copy it again, whole and in upper case: a mistyped or shortened key does not pass its checksum.',
        },
      );
    return new HybridIdentity(decoded.bytes);
  }

  /** @throws bad-key if it has not 32 bytes */
  constructor(seed: Uint8Array) {
    if (seed.length !== seedBytes)
      throw new SalvageError(
        'bad-key',
        'Cannot read the identity: an AGE-SECRET-KEY-PQ-1… key holds 32 bytes',
      );
    this.#seed = seed;
    const expanded = createHash('shake256', { outputLength: mlKemSeedBytes + pointBytes })
      .update(seed)
      .digest();
    this.#mlKemSeed = expanded.subarray(0, mlKemSeedBytes);
    this.#scalar = expanded.subarray(mlKemSeedBytes);
    this.#point = x25519PublicKey(this.#scalar);
  }

  get recipient(): HybridRecipient {
    return new HybridRecipient(concatBytes([mlKemEncapsulationKey(this.#mlKemSeed), this.#point]));
  }

  unwrapFileKey(stanzas: readonly Stanza[]): Uint8Array | undefined {
    return unwrapFirst(stanzas, stanzaType, (stanza) => this.#unwrap(stanza));
  }

  recipients(): readonly Recipient[] {
    return [this.recipient];
  }

  /** The secret itself. Its one use is to be written into an identity file. */
  toSecretString(): string {
    return encodeBech32(identityPrefix, this.#seed).toUpperCase();
  }

  #unwrap({ args, body }: Stanza): Uint8Array | undefined {
    const encapsulated = args.length === 1 ? decodeBase64(args[0]!) : undefined;
    if (encapsulated?.length !== encapsulatedBytes)
      throw malformed(`its argument is not an encapsulated key of ${encapsulatedBytes} bytes`);
    checkBodyLength(body);
    const ephemeral = encapsulated.subarray(mlKemCiphertextBytes);
    const diffieHellman = x25519(this.#scalar, ephemeral);
    if (!diffieHellman) throw malformed('its share is a low-order point');
    const mlKem = mlKemDecapsulate(this.#mlKemSeed, encapsulated.subarray(0, mlKemCiphertextBytes));
    const secrets = { mlKem, diffieHellman, ephemeral, publicKey: this.#point };
    return openBase(kemIds.mlkem768x25519, combineHybridSecrets(secrets, combinerLabel), info, body);
  }
}

function malformed(state: string): SalvageError {
  return new SalvageError('age-header', `Cannot read the mlkem768x25519 stanza of the age header: ${state}`);
}
