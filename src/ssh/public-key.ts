import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { SalvageError } from '../errors/salvage-error.ts';
import { WireReader } from './wire-reader.ts';
import { encodePositiveInteger, encodeString } from './wire-writer.ts';
import { asBuffer, concatBytes } from '../bytes/bytes.ts';

/** Curves of RFC 5656 under their SSH names. */
export type EcdsaCurve = 'nistp256' | 'nistp384' | 'nistp521';

/**
 * A public key in the wire encoding of RFC 4253 section 6.6 (`blob`), its fields checked. `unsupported` is any
 * other type: DSA, certificates, what is still to come. Its fields are not checked.
 */
export type PublicKey = { readonly type: string; readonly blob: Uint8Array } & (
  | { readonly kind: 'ed25519'; readonly point: Uint8Array }
  | { readonly kind: 'rsa'; readonly exponent: Uint8Array; readonly modulus: Uint8Array }
  | { readonly kind: 'ecdsa'; readonly curve: EcdsaCurve; readonly point: Uint8Array }
  | { readonly kind: 'sk-ed25519'; readonly point: Uint8Array; readonly application: Uint8Array }
  | {
      readonly kind: 'sk-ecdsa';
      readonly curve: EcdsaCurve;
      readonly point: Uint8Array;
      readonly application: Uint8Array;
    }
  | { readonly kind: 'unsupported' }
);

/** A public key with what stands around it in a file. */
export interface PublicKeyLine {
  readonly key: PublicKey;
  readonly comment: string;
  /** The options of an authorized_keys line, unparsed; '' if there are none. */
  readonly options: string;
}

const curveBytes: Readonly<Record<EcdsaCurve, number>> = { nistp256: 32, nistp384: 48, nistp521: 66 };
const jwkCurve = { nistp256: 'P-256', nistp384: 'P-384', nistp521: 'P-521' } as const;

/** How the names of key types begin, and no option of an authorized_keys line does. */
const typePrefix = /^(ssh|ecdsa|sk|rsa|webauthn)-/;
/** RFC 4251 section 6, in lower case as all key types are. */
const typeName = /^[a-z0-9][a-z0-9.-]*(@[a-z0-9.-]+)?$/;
/** Longer than any line with a 16384-bit RSA certificate. */
const maxLineLength = 32 * 1024;
const maxApplicationLength = 1024;

/**
 * The key in a wire encoding. Throws bad-key if a field is malformed or bytes follow; whether a point lies on its curve
 * is checked when the key is used.
 */
export function parsePublicKeyBlob(blob: Uint8Array): PublicKey {
  const reader = new WireReader(blob, malformed);
  const type = reader.text(128);
  const key = readFields(type, blob, reader);
  if (key.kind !== 'unsupported') reader.end();
  return key;
}

function readFields(type: string, blob: Uint8Array, reader: WireReader): PublicKey {
  switch (type) {
    case 'ssh-ed25519':
      return { kind: 'ed25519', type, blob, point: readEd25519Point(reader) };
    case 'ssh-rsa':
      return {
        kind: 'rsa',
        type,
        blob,
        exponent: reader.positiveInteger(),
        modulus: reader.positiveInteger(),
      };
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
      return { kind: 'ecdsa', type, blob, ...readCurvePoint(reader, type.slice(11) as EcdsaCurve) };
    case 'sk-ssh-ed25519@openssh.com':
      return {
        kind: 'sk-ed25519',
        type,
        blob,
        point: readEd25519Point(reader),
        application: reader.string(maxApplicationLength),
      };
    case 'sk-ecdsa-sha2-nistp256@openssh.com':
      return {
        kind: 'sk-ecdsa',
        type,
        blob,
        ...readCurvePoint(reader, 'nistp256'),
        application: reader.string(maxApplicationLength),
      };
    default:
      if (typeName.test(type)) return { kind: 'unsupported', type, blob };
      throw malformed('it does not begin with a key type');
  }
}

function readEd25519Point(reader: WireReader): Uint8Array {
  const point = reader.string();
  if (point.length !== 32) throw malformed(`an Ed25519 key has 32 bytes, this one ${point.length}`);
  return point;
}

function readCurvePoint(reader: WireReader, curve: EcdsaCurve): { curve: EcdsaCurve; point: Uint8Array } {
  if (reader.text(16) !== curve) throw malformed('its curve does not fit its type');
  const point = reader.string();
  if (point.length !== 1 + 2 * curveBytes[curve] || point[0] !== 4)
    throw malformed('its point is not in uncompressed form');
  return { curve, point };
}

function malformed(state: string): SalvageError {
  return new SalvageError('bad-key', `Cannot read the SSH public key: ${state}`);
}

/**
 * A line of a .pub, authorized_keys or GitHub .keys file; undefined for an empty line or a comment. Throws bad-key
 * without repeating the line.
 */
export function parsePublicKeyLine(line: string): PublicKeyLine | undefined {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return undefined;
  if (text.length > maxLineLength) throw malformed(`its line is longer than ${maxLineLength} characters`);
  if (typePrefix.test(text)) return { ...parseTypeAndBase64(text), options: '' };
  const end = endOfOptions(text);
  const rest = text.slice(end).trimStart();
  if (rest === '') throw malformed('it is not "TYPE BASE64 COMMENT"');
  return { ...parseTypeAndBase64(rest), options: text.slice(0, end) };
}

function parseTypeAndBase64(text: string): { key: PublicKey; comment: string } {
  const [, type, base64, comment] = /^(\S+)[ \t]+(\S+)(?:[ \t]+(.*))?$/s.exec(text) ?? [];
  if (type === undefined || base64 === undefined) throw malformed('it is not "TYPE BASE64 COMMENT"');
  const blob = Buffer.from(base64, 'base64');
  if (blob.toString('base64') !== base64) throw malformed('its base64 is damaged');
  const key = parsePublicKeyBlob(blob);
  if (key.type !== type) throw malformed('the type before the key and the type inside it differ');
  return { key, comment: comment ?? '' };
}

/** The index of the first blank outside double quotes (sshd(8), AUTHORIZED_KEYS FILE FORMAT). */
function endOfOptions(text: string): number {
  let quoted = false;
  for (let index = 0; index < text.length; index++) {
    const char = text[index];
    if (char === '\\' && text[index + 1] === '"') index++;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && (char === ' ' || char === '\t')) return index;
  }
  return text.length;
}

/** The keys of a file of lines, in order. Throws bad-key with the number of the line that is malformed. */
export function parsePublicKeyFile(text: string): PublicKeyLine[] {
  const keys: PublicKeyLine[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    try {
      const parsed = parsePublicKeyLine(line);
      if (parsed) keys.push(parsed);
    } catch (error) {
      if (!(error instanceof SalvageError)) throw error;
      throw new SalvageError(error.code, `${error.message} (line ${index + 1})`, { cause: error });
    }
  }
  return keys;
}

/** `TYPE BASE64 COMMENT`, without a line feed. */
export function formatPublicKey(key: PublicKey, comment = ''): string {
  const base64 = asBuffer(key.blob).toString('base64');
  return comment === '' ? `${key.type} ${base64}` : `${key.type} ${base64} ${comment}`;
}

/** The fingerprint as `ssh-keygen -l` prints it: `SHA256:` and unpadded base64. */
export function fingerprint(key: PublicKey): string {
  return `SHA256:${createHash('sha256').update(key.blob).digest('base64').replace(/=+$/, '')}`;
}

/** The number of bits of an RSA modulus without leading zeros. */
export function modulusBits(modulus: Uint8Array): number {
  return modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
}

/** The key for node:crypto. Throws bad-key if its numbers are no key, for instance a point that is not on its curve. */
export function publicKeyObject(key: PublicKey): KeyObject {
  try {
    switch (key.kind) {
      case 'ed25519':
      case 'sk-ed25519':
        return createPublicKey({
          format: 'jwk',
          key: { kty: 'OKP', crv: 'Ed25519', x: base64url(key.point) },
        });
      case 'rsa':
        return createPublicKey({
          format: 'jwk',
          key: { kty: 'RSA', n: base64url(key.modulus), e: base64url(key.exponent) },
        });
      case 'ecdsa':
      case 'sk-ecdsa': {
        const size = curveBytes[key.curve];
        return createPublicKey({
          format: 'jwk',
          key: {
            kty: 'EC',
            crv: jwkCurve[key.curve],
            x: base64url(key.point.subarray(1, 1 + size)),
            y: base64url(key.point.subarray(1 + size)),
          },
        });
      }
      case 'unsupported':
        throw new SalvageError(
          'bad-key',
          `Cannot use the SSH key: keys of type ${key.type} are not supported`,
        );
    }
  } catch (error) {
    if (error instanceof SalvageError) throw error;
    throw new SalvageError('bad-key', `Cannot use the SSH key: its ${key.type} numbers are not valid`, {
      cause: error,
    });
  }
}

/** The SSH form of a key of node:crypto. Throws bad-key if SSH has no such key. */
export function publicKeyFromObject(object: KeyObject): PublicKey {
  const jwk = object.export({ format: 'jwk' });
  const part = (name: 'n' | 'e' | 'x' | 'y'): Buffer => Buffer.from(jwk[name] as string, 'base64url');
  if (jwk.kty === 'RSA') return rsaPublicKey(part('e'), part('n'));
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') return ed25519PublicKey(part('x'));
  if (jwk.kty === 'EC') {
    const curve = (Object.keys(jwkCurve) as EcdsaCurve[]).find((name) => jwkCurve[name] === jwk.crv);
    if (curve) {
      const point = concatBytes([Uint8Array.of(4), part('x'), part('y')]);
      const fields = [encodeString(`ecdsa-sha2-${curve}`), encodeString(curve), encodeString(point)];
      return parsePublicKeyBlob(concatBytes(fields));
    }
  }
  throw new SalvageError('bad-key', 'Cannot use the key: SSH has no keys of its type');
}

function ed25519PublicKey(point: Uint8Array): PublicKey {
  return parsePublicKeyBlob(concatBytes([encodeString('ssh-ed25519'), encodeString(point)]));
}

function rsaPublicKey(exponent: Uint8Array, modulus: Uint8Array): PublicKey {
  const numbers = [encodePositiveInteger(exponent), encodePositiveInteger(modulus)];
  return parsePublicKeyBlob(concatBytes([encodeString('ssh-rsa'), ...numbers]));
}

function base64url(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}
