import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { parseOpensshPrivateKey } from './openssh-private-key.ts';
import { parsePemPrivateKey } from './pem-private-key.ts';
import type { PrivateKeyFile } from './private-key-file.ts';

/** Room for a 16384-bit RSA key in every format. */
export const maxPrivateKeyFileBytes: number = 32 * 1024;

const opensshLabel = 'OPENSSH PRIVATE KEY';

/** Whether this looks like a private key file that `parsePrivateKey` reads. */
export function looksLikePrivateKey(bytes: Uint8Array): boolean {
  return /^\s*-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----/.test(asBuffer(bytes).toString('latin1', 0, 256));
}

/**
 * Reads a private key in OpenSSH's format, PKCS#1, SEC 1 or PKCS#8 PEM. `name` stands for the key in messages. Throws
 * bad-key if the file is malformed; nothing secret is in any message.
 */
export function parsePrivateKey(bytes: Uint8Array, name: string): PrivateKeyFile {
  const fail = (state: string, hint?: string): SalvageError =>
    new SalvageError('bad-key', `Cannot use the private key "${name}": ${state}`, hint ? { hint } : {});
  if (bytes.length > maxPrivateKeyFileBytes) throw fail(`it is longer than ${maxPrivateKeyFileBytes} bytes`);
  const text = asBuffer(bytes).toString('latin1');
  const match = /^\s*-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n([^]*?)-----END \1-----\s*$/.exec(text);
  if (!match) throw fail('it is not a private key in PEM form');
  const [pem, label, body] = match as unknown as [string, string, string];
  if (label !== opensshLabel) return parsePemPrivateKey(pem, label, body, fail);
  const base64 = body.replace(/\s+/g, '');
  const blob = Buffer.from(base64, 'base64');
  if (blob.toString('base64') !== base64) throw fail('its base64 is damaged');
  return parseOpensshPrivateKey(blob, fail);
}
