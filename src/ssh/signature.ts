import { constants, createHash, sign, verify } from 'node:crypto';
import { concatBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { PrivateKey } from './private-key-file.ts';
import { fingerprint, modulusBits, publicKeyObject, type EcdsaCurve, type PublicKey } from './public-key.ts';
import { WireReader } from './wire-reader.ts';
import { encodePositiveInteger, encodeString, encodeUint32 } from './wire-writer.ts';

const ecdsaHash = { nistp256: 'sha256', nistp384: 'sha384', nistp521: 'sha512' } as const;
const ecdsaNumberBytes: Readonly<Record<EcdsaCurve, number>> = { nistp256: 32, nistp384: 48, nistp521: 66 };
const rsaHashes: Readonly<Record<string, string>> = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' };
/** RSA keys below this are not used, neither here nor by age. */
export const minRsaBits = 2048;

/**
 * The signature in SSH's encoding (RFC 4253 section 6.6): the name of the algorithm, then the signature proper. RSA keys
 * sign with rsa-sha2-512. Throws bad-key if the key cannot sign.
 */
export function signWithPrivateKey(privateKey: PrivateKey, data: Uint8Array): Uint8Array {
  try {
    return makeSignature(privateKey, data);
  } catch (error) {
    if (error instanceof SalvageError) throw error;
    // OpenSSL finds out only now that an RSA key's numbers do not belong together.
    throw new SalvageError(
      'bad-key',
      `Cannot sign with the key ${fingerprint(privateKey.publicKey)}: it is damaged`,
      {
        cause: error,
      },
    );
  }
}

function makeSignature({ key, publicKey }: PrivateKey, data: Uint8Array): Uint8Array {
  switch (publicKey.kind) {
    case 'ed25519':
      return encodeSignature(publicKey.type, sign(null, data, key));
    case 'rsa':
      checkRsaLength(publicKey);
      return encodeSignature('rsa-sha2-512', sign('sha512', data, key));
    case 'ecdsa': {
      const numbers = sign(ecdsaHash[publicKey.curve], data, { key, dsaEncoding: 'ieee-p1363' });
      const size = numbers.length / 2;
      const [r, s] = [numbers.subarray(0, size), numbers.subarray(size)];
      return encodeSignature(
        publicKey.type,
        concatBytes([encodePositiveInteger(r), encodePositiveInteger(s)]),
      );
    }
    default:
      throw new SalvageError('bad-key', `Cannot sign: keys of type ${publicKey.type} are not supported`);
  }
}

function encodeSignature(algorithm: string, signature: Uint8Array): Uint8Array {
  return concatBytes([encodeString(algorithm), encodeString(signature)]);
}

/**
 * Whether the signature over the data is by the key. Throws bad-signature if its encoding is malformed or its algorithm
 * does not belong to the key, and bad-key if the key cannot verify: unsupported, or RSA below 2048 bits.
 */
export function verifySignature(publicKey: PublicKey, encoded: Uint8Array, data: Uint8Array): boolean {
  const reader = new WireReader(encoded, malformed);
  const algorithm = reader.text(128);
  const signature = reader.string();
  const rsaHash =
    publicKey.kind === 'rsa' && Object.hasOwn(rsaHashes, algorithm) ? rsaHashes[algorithm] : undefined;
  if (algorithm !== publicKey.type && rsaHash === undefined)
    throw malformed('its algorithm does not belong to the key');
  const key = publicKeyObject(publicKey);
  switch (publicKey.kind) {
    case 'ed25519':
      reader.end();
      return verify(null, data, key, signature);
    case 'rsa': {
      reader.end();
      if (rsaHash === undefined) throw malformed('it uses SHA-1');
      checkRsaLength(publicKey);
      const missing = publicKey.modulus.length - signature.length;
      if (missing < 0) return false;
      const padded = concatBytes([new Uint8Array(missing), signature]);
      return verify(rsaHash, data, { key, padding: constants.RSA_PKCS1_PADDING }, padded);
    }
    case 'ecdsa':
      reader.end();
      return verifyEcdsa(publicKey.curve, signature, data);
    case 'sk-ed25519':
      return verify(null, signedByHardware(publicKey.application), key, signature);
    case 'sk-ecdsa':
      return verifyEcdsa(publicKey.curve, signature, signedByHardware(publicKey.application));
    case 'unsupported':
      return false;
  }

  function verifyEcdsa(curve: EcdsaCurve, numbers: Uint8Array, signed: Uint8Array): boolean {
    const numberReader = new WireReader(numbers, malformed);
    const size = ecdsaNumberBytes[curve];
    const fixed = [numberReader.positiveInteger(size), numberReader.positiveInteger(size)].map((number) =>
      concatBytes([new Uint8Array(size - number.length), number]),
    );
    numberReader.end();
    return verify(ecdsaHash[curve], signed, { key, dsaEncoding: 'ieee-p1363' }, concatBytes(fixed));
  }

  /** openssh-portable PROTOCOL.u2f, "SSH U2F signatures": flags and counter follow the signature and are signed too. */
  function signedByHardware(application: Uint8Array): Uint8Array {
    const flags = reader.byte();
    const counter = reader.uint32();
    reader.end();
    return concatBytes([sha256(application), Uint8Array.of(flags), encodeUint32(counter), sha256(data)]);
  }
}

function checkRsaLength(publicKey: PublicKey & { kind: 'rsa' }): void {
  const bits = modulusBits(publicKey.modulus);
  if (bits < minRsaBits)
    throw new SalvageError(
      'bad-key',
      `Cannot use the RSA key ${fingerprint(publicKey)}: it has ${bits} bits, ${minRsaBits} are needed`,
      { hint: 'Make a new key with "ssh-keygen -t ed25519".' },
    );
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}

function malformed(state: string): SalvageError {
  return new SalvageError('bad-signature', `Cannot read the SSH signature: ${state}`);
}
