import type { KeyObject } from 'node:crypto';
import { createHash } from 'node:crypto';
import { concatBytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { ed25519Seed } from '../ssh/encode-private-key.ts';
import type { PublicKey } from '../ssh/public-key.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { pointBytes, x25519, x25519PublicKey } from './curve25519.ts';
import { checkBodyLength, openFileKey, sealFileKey } from './file-key.ts';
import { hkdf } from './hkdf.ts';
import type { Recipient, WrappedFileKey } from './recipient.ts';
import { sshKeyTag } from './ssh-key-tag.ts';
import type { Stanza } from './stanza.ts';

export type SshEd25519Key = PublicKey & { kind: 'ed25519' };

const label = 'age-encryption.org/v1/ssh-ed25519';

/**
 * An Ed25519 SSH key as a recipient: X25519 on the Montgomery form of its point, tweaked by the key's SSH encoding. Not
 * in the C2SP specification; reference: FiloSottile/age, agessh/agessh.go.
 */
export class SshEd25519Recipient implements Recipient {
  readonly #key: SshEd25519Key;
  readonly #montgomery: Uint8Array;

  /** @throws bad-key if the point is not on the curve or of low order */
  constructor(key: SshEd25519Key) {
    this.#key = key;
    this.#montgomery = montgomeryPoint(key.point);
    if (!x25519(new Uint8Array(pointBytes), this.#montgomery)) throw invalidPoint();
  }

  wrapFileKey(fileKey: Uint8Array): WrappedFileKey {
    const ephemeral = randomBytes(pointBytes);
    const share = x25519PublicKey(ephemeral);
    const plainSecret = x25519(ephemeral, this.#montgomery);
    const sharedSecret = plainSecret && x25519(tweak(this.#key), plainSecret);
    if (!sharedSecret) throw invalidPoint();
    const body = sealFileKey(wrapKey(sharedSecret, share, this.#montgomery), fileKey);
    return {
      stanzas: [{ type: this.#key.type, args: [sshKeyTag(this.#key), encodeBase64(share)], body }],
      labels: [],
    };
  }
}

/**
 * The file key in one ssh-ed25519 stanza whose tag fits, or undefined if the stanza is for another key with the same tag.
 * @throws age-header if the stanza is malformed
 */
export function unwrapSshEd25519(
  key: SshEd25519Key,
  privateKey: KeyObject,
  { args, body }: Stanza,
): Uint8Array | undefined {
  const share = args.length === 2 ? decodeBase64(args[1]!) : undefined;
  if (share?.length !== pointBytes) throw malformed('its second argument is not a share of 32 bytes');
  checkBodyLength(body);
  const scalar = createHash('sha512').update(ed25519Seed(privateKey)).digest().subarray(0, pointBytes);
  const plainSecret = x25519(scalar, share);
  const sharedSecret = plainSecret && x25519(tweak(key), plainSecret);
  if (!sharedSecret) throw malformed('its share is a low-order point');
  return openFileKey(wrapKey(sharedSecret, share, montgomeryPoint(key.point)), body);
}

function tweak(key: SshEd25519Key): Uint8Array {
  return hkdf(new Uint8Array(0), key.blob, label);
}

function wrapKey(sharedSecret: Uint8Array, share: Uint8Array, montgomery: Uint8Array): Uint8Array {
  return hkdf(sharedSecret, concatBytes([share, montgomery]), label);
}

const prime = 2n ** 255n - 19n;
/** The curve's d = -121665/121666. */
const d = modulo(-121665n * inverse(121666n));

/**
 * The X25519 point of an Ed25519 point: u = (1 + y) / (1 - y) (RFC 7748 section 4.1).
 * @throws bad-key if no point has this y, that is, if (y² - 1) / (d y² + 1) has no square root
 */
function montgomeryPoint(edwards: Uint8Array): Uint8Array {
  const littleEndian = Uint8Array.from(edwards).reverse();
  littleEndian[0]! &= 0x7f;
  const y = modulo(BigInt(`0x${Buffer.from(littleEndian).toString('hex')}`));
  const xSquared = modulo((y * y - 1n) * inverse(modulo(d * y * y + 1n)));
  if (power(xSquared, (prime - 1n) / 2n) > 1n) throw invalidPoint();
  const u = modulo((1n + y) * inverse(modulo(1n - y)));
  return Buffer.from(u.toString(16).padStart(64, '0'), 'hex').reverse();
}

function modulo(value: bigint): bigint {
  const rest = value % prime;
  return rest < 0n ? rest + prime : rest;
}

/** By Fermat; 0 for 0. */
function inverse(value: bigint): bigint {
  return power(value, prime - 2n);
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (let factor = modulo(base), rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * factor) % prime;
    factor = (factor * factor) % prime;
  }
  return result;
}

function invalidPoint(): SalvageError {
  return new SalvageError('bad-key', 'Cannot use the ssh-ed25519 key: its point is not a valid one', {
    hint: 'Copy the public key again, or print it with "ssh-keygen -y -f KEY".',
  });
}

function malformed(state: string): SalvageError {
  return new SalvageError('age-header', `Cannot read the ssh-ed25519 stanza of the age header: ${state}`);
}
