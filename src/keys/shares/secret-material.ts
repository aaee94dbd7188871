import { asBuffer, concatBytes, utf8Bytes } from '../../bytes/bytes.ts';
import { decodeBech32, encodeBech32 } from '../../age/bech32.ts';
import { parseIdentityFile } from '../../age/identity-file.ts';
import { parseIdentity } from '../../age/identity-lines.ts';
import { readTextLines } from '../../age/text-lines.ts';
import { SalvageError } from '../../errors/salvage-error.ts';

/** A private key in as few bytes as possible, for paper. */
export interface SecretMaterial {
  readonly kind: SecretKind;
  readonly bytes: Uint8Array;
}

/** 1: X25519, 32 bytes. 2: post-quantum hybrid, a seed of 32 bytes. 3: a whole identity file, such as an SSH key. */
export type SecretKind = 1 | 2 | 3;

const nativePrefixes = { 1: 'age-secret-key-', 2: 'age-secret-key-pq-' } as const;
const nativeBytes = 32;
/** What fits a page and a QR code. */
const mostFileBytes = 1200;

/**
 * The secret of an identity file: of one with a single native key the bare key, of another the file as it is.
 * @throws bad-key if it is no identity file, or too long for paper
 */
export function readSecretMaterial(file: Uint8Array, name: string): SecretMaterial {
  const options = { name, requestPassphrase: () => Promise.reject(new Error('never asked')) };
  const isText = !asBuffer(file.subarray(0, 1024)).toString('latin1').trimStart().startsWith('-----BEGIN ');
  if (isText && !asBuffer(file).toString('latin1').startsWith('age-encryption.org/')) {
    const lines = readTextLines(file, `identity file "${name}"`);
    const native = lines.length === 1 ? decodeNative(lines[0]!.text) : undefined;
    if (native) return native;
    for (const { text } of lines) if (!text.startsWith('AGE-PLUGIN-')) parseIdentity(text);
  } else parseIdentityFile(file, options);
  if (file.length > mostFileBytes)
    throw new SalvageError(
      'bad-key',
      `Cannot put "${name}" on paper: it has ${file.length} bytes, and more than ${mostFileBytes} cannot be typed or scanned back`,
      { hint: 'An age key of its own is short: salvage keygen makes one.' },
    );
  return { kind: 3, bytes: file };
}

/** The identity file again. @throws bad-key if the bytes are not of that kind */
export function writeSecretMaterial({ kind, bytes }: SecretMaterial): Uint8Array {
  if (kind === 3) return bytes;
  const text = encodeBech32(nativePrefixes[kind], bytes).toUpperCase();
  parseIdentity(text);
  return utf8Bytes(`${text}\n`);
}

/** @throws bad-key if there is no such kind, or if it has another length */
function checkSecretMaterial(kind: number, bytes: Uint8Array): SecretMaterial {
  if ((kind === 1 || kind === 2) && bytes.length === nativeBytes) return { kind, bytes };
  if (kind === 3 && bytes.length > 0 && bytes.length <= mostFileBytes) return { kind, bytes };
  throw new SalvageError(
    'bad-key',
    'Cannot read the secret: it is of a kind that this version does not know',
  );
}

/** With kind and length before it, so that it can be told from what follows it. */
export function packSecretMaterial({ kind, bytes }: SecretMaterial): Uint8Array {
  return concatBytes([Uint8Array.of(kind, bytes.length >> 8, bytes.length & 0xff), bytes]);
}

/** @throws bad-key */
export function unpackSecretMaterial(packed: Uint8Array): SecretMaterial {
  const length = ((packed[1] ?? 0) << 8) | (packed[2] ?? 0);
  if (packed.length < 3 + length)
    throw new SalvageError('bad-key', 'Cannot read the secret: a part of it is missing');
  return checkSecretMaterial(packed[0]!, packed.subarray(3, 3 + length));
}

function decodeNative(text: string): SecretMaterial | undefined {
  const decoded = decodeBech32(text);
  if (!decoded || text !== text.toUpperCase() || decoded.bytes.length !== nativeBytes) return undefined;
  for (const kind of [1, 2] as const)
    if (decoded.prefix === nativePrefixes[kind]) return { kind, bytes: decoded.bytes };
  return undefined;
}
