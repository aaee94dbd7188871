import { createECDH, createHash, ECDH } from 'node:crypto';
import { concatBytes, equalBytes, utf8Bytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { decodeBech32, encodeBech32 } from './bech32.ts';
import { checkBodyLength } from './file-key.ts';
import { dhkemP256SharedSecret, hkdfExtract, kemIds, openBase, sealBase } from './hpke.ts';
import { postQuantumLabel } from './hybrid.ts';
import {
  combineHybridSecrets,
  encapsulationKeyBytes,
  mlKemCiphertextBytes,
  mlKemEncapsulate,
} from './ml-kem.ts';
import type { Recipient, WrappedFileKey } from './recipient.ts';
import type { Stanza } from './stanza.ts';

const curve = 'prime256v1';
/** A P-256 point: compressed in `age1tag1…`, uncompressed everywhere else. */
const compressedBytes = 33;
const uncompressedBytes = 65;
const tagBytes = 4;
const combinerLabel = 'MLKEM768-P256';

const classic = { type: 'p256tag', prefix: 'age1tag', info: 'age-encryption.org/p256tag' } as const;
const hybrid = {
  type: 'mlkem768p256tag',
  prefix: 'age1tagpq',
  info: 'age-encryption.org/mlkem768p256tag',
} as const;

/**
 * A P-256 key in a hardware token, `age1tag1…` (C2SP age.md "The p256tag recipient type"). A file shows a tag by which the
 * holder of the public key can tell which files are meant for it.
 */
export class TagRecipient implements Recipient {
  readonly #compressed: Uint8Array;
  readonly #point: Uint8Array;

  /** @throws bad-key */
  static parse(text: string): TagRecipient {
    return new TagRecipient(decodeRecipient(text, classic.prefix, compressedBytes));
  }

  /** @throws bad-key if it is not a compressed point of the curve */
  constructor(compressed: Uint8Array) {
    this.#compressed = compressed;
    this.#point = convertPoint(compressed, 'uncompressed');
  }

  wrapFileKey(fileKey: Uint8Array): WrappedFileKey {
    const { encapsulated, diffieHellman } = exchange(this.#point);
    const sharedSecret = dhkemP256SharedSecret(diffieHellman, encapsulated, this.#point);
    const body = sealBase(kemIds.dhkemP256, sharedSecret, classic.info, fileKey);
    const tag = computeTag(classic.info, encapsulated, this.#compressed);
    return {
      stanzas: [{ type: classic.type, args: [encodeBase64(tag), encodeBase64(encapsulated)], body }],
      labels: [],
    };
  }

  toString(): string {
    return encodeBech32(classic.prefix, this.#compressed);
  }
}

/** A P-256 key in a hardware token with an ML-KEM-768 key beside it, `age1tagpq1…` ("The mlkem768p256tag recipient type"). */
export class HybridTagRecipient implements Recipient {
  readonly #encapsulationKey: Uint8Array;
  readonly #point: Uint8Array;

  /** @throws bad-key */
  static parse(text: string): HybridTagRecipient {
    return new HybridTagRecipient(
      decodeRecipient(text, hybrid.prefix, encapsulationKeyBytes + uncompressedBytes),
    );
  }

  /** @throws bad-key if it is not an encapsulation key followed by an uncompressed point of the curve */
  constructor(publicKey: Uint8Array) {
    this.#encapsulationKey = publicKey.subarray(0, encapsulationKeyBytes);
    this.#point = publicKey.subarray(encapsulationKeyBytes);
    convertPoint(this.#point, 'compressed');
  }

  wrapFileKey(fileKey: Uint8Array): WrappedFileKey {
    const encapsulation = mlKemEncapsulate(this.#encapsulationKey);
    if (!encapsulation)
      throw new SalvageError(
        'bad-key',
        'Cannot encrypt to the age1tagpq1… recipient: its key is not a valid one',
      );
    const { encapsulated: ephemeral, diffieHellman } = exchange(this.#point);
    const sharedSecret = combineHybridSecrets(
      { mlKem: encapsulation.sharedSecret, diffieHellman, ephemeral, publicKey: this.#point },
      combinerLabel,
    );
    const encapsulated = concatBytes([encapsulation.ciphertext, ephemeral]);
    const body = sealBase(kemIds.mlkem768p256, sharedSecret, hybrid.info, fileKey);
    const tag = computeTag(hybrid.info, encapsulated, this.#point);
    return {
      stanzas: [{ type: hybrid.type, args: [encodeBase64(tag), encodeBase64(encapsulated)], body }],
      labels: [postQuantumLabel],
    };
  }

  toString(): string {
    return encodeBech32(hybrid.prefix, concatBytes([this.#encapsulationKey, this.#point]));
  }
}

/** A stanza that may be meant for a token, taken apart for whoever holds the token. */
export interface TagStanza {
  readonly tag: Uint8Array;
  /** What the token's share of the exchange is computed with: the uncompressed ephemeral point. */
  readonly ephemeral: Uint8Array;
  /** The ML-KEM ciphertext of a hybrid stanza. */
  readonly mlKemCiphertext: Uint8Array | undefined;
  readonly body: Uint8Array;
}

/** Undefined if the stanza is of another type. @throws age-header if it is malformed */
export function parseTagStanza({ type, args, body }: Stanza): TagStanza | undefined {
  if (type !== classic.type && type !== hybrid.type) return undefined;
  const [tag, encapsulated] = args.map(decodeBase64);
  const ciphertextBytes = type === hybrid.type ? mlKemCiphertextBytes : 0;
  if (
    args.length !== 2 ||
    tag?.length !== tagBytes ||
    encapsulated?.length !== ciphertextBytes + uncompressedBytes
  )
    throw new SalvageError(
      'age-header',
      `Cannot read the ${type} stanza of the age header: its arguments are malformed`,
    );
  checkBodyLength(body);
  return {
    tag,
    ephemeral: encapsulated.subarray(ciphertextBytes),
    mlKemCiphertext: type === hybrid.type ? encapsulated.subarray(0, ciphertextBytes) : undefined,
    body,
  };
}

/** True if the stanza is probably meant for the holder of this uncompressed point: a hint, not a proof. */
export function matchesTag(stanza: TagStanza, point: Uint8Array): boolean {
  const { info, encapsulated, publicKey } = stanza.mlKemCiphertext
    ? {
        info: hybrid.info,
        encapsulated: concatBytes([stanza.mlKemCiphertext, stanza.ephemeral]),
        publicKey: point,
      }
    : { info: classic.info, encapsulated: stanza.ephemeral, publicKey: convertPoint(point, 'compressed') };
  return equalBytes(computeTag(info, encapsulated, publicKey), stanza.tag);
}

/**
 * The file key, or undefined if the stanza is not meant for this key after all.
 * @param diffieHellman x-coordinate of the private scalar times `stanza.ephemeral`, the only thing the token computes
 * @param point the token's public key, uncompressed
 * @param mlKemSharedSecret what `stanza.mlKemCiphertext` decapsulates to, for a hybrid stanza
 */
export function openTagStanza(
  stanza: TagStanza,
  diffieHellman: Uint8Array,
  point: Uint8Array,
  mlKemSharedSecret?: Uint8Array,
): Uint8Array | undefined {
  if (!stanza.mlKemCiphertext) {
    const sharedSecret = dhkemP256SharedSecret(diffieHellman, stanza.ephemeral, point);
    return openBase(kemIds.dhkemP256, sharedSecret, classic.info, stanza.body);
  }
  if (!mlKemSharedSecret) return undefined;
  const secrets = { mlKem: mlKemSharedSecret, diffieHellman, ephemeral: stanza.ephemeral, publicKey: point };
  const sharedSecret = combineHybridSecrets(secrets, combinerLabel);
  return openBase(kemIds.mlkem768p256, sharedSecret, hybrid.info, stanza.body);
}

function exchange(point: Uint8Array): { encapsulated: Uint8Array; diffieHellman: Uint8Array } {
  const ephemeral = createECDH(curve);
  const encapsulated = ephemeral.generateKeys();
  return { encapsulated, diffieHellman: ephemeral.computeSecret(point) };
}

function computeTag(info: string, encapsulated: Uint8Array, publicKey: Uint8Array): Uint8Array {
  const hash = createHash('sha256').update(publicKey).digest().subarray(0, tagBytes);
  return hkdfExtract(utf8Bytes(info), concatBytes([encapsulated, hash])).subarray(0, tagBytes);
}

function convertPoint(point: Uint8Array, form: 'compressed' | 'uncompressed'): Uint8Array {
  try {
    return Buffer.from(ECDH.convertKey(point, curve, undefined, undefined, form) as Buffer);
  } catch {
    throw new SalvageError(
      'bad-key',
      'Cannot read the recipient: it does not hold a point of the curve P-256',
    );
  }
}

function decodeRecipient(text: string, prefix: string, length: number): Uint8Array {
  const decoded = decodeBech32(text);
  if (decoded?.prefix !== prefix || decoded.bytes.length !== length || text !== text.toLowerCase())
    throw new SalvageError('bad-key', `Cannot read the recipient: it is not a valid ${prefix}1… key`, {
      hint: 'Copy it again, whole: a mistyped or shortened key does not pass its checksum.',
    });
  return decoded.bytes;
}
