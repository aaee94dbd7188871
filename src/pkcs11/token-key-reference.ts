import { asBuffer, concatBytes, utf8Bytes } from '../bytes/bytes.ts';
import { encodePluginIdentity, parsePluginIdentity } from '../age/plugin/plugin-text.ts';
import { SalvageError } from '../errors/salvage-error.ts';

/** The name of the plugin: AGE-PLUGIN-PKCS11-1…. */
export const pluginName = 'pkcs11';

/** Which key in which token is meant. No secret: what is secret never leaves the token. */
export interface TokenKeyReference {
  /** The public key, a compressed point of P-256. */
  readonly publicKey: Uint8Array;
  /** CKA_ID. */
  readonly id: Uint8Array;
  readonly serial: string;
  readonly label: string;
  /** Absolute path of the PKCS #11 module on the machine where the identity was made. */
  readonly module: string;
}

const version = 1;
const pointBytes = 33;
const fields = ['id', 'serial', 'label', 'module'] as const;

/**
 * `AGE-PLUGIN-PKCS11-1…`: a version byte, the compressed point, and then, each after one byte for its length, CKA_ID, serial
 * number and label of the token and the path of the module.
 */
export function encodeTokenKeyReference(reference: TokenKeyReference): string {
  const parts = [Uint8Array.of(version), reference.publicKey];
  for (const name of fields) {
    const field = reference[name];
    const bytes = typeof field === 'string' ? utf8Bytes(field) : field;
    if (bytes.length > 255)
      throw new SalvageError(
        'bad-key',
        `Cannot write an identity for the token: its ${name} is longer than 255 bytes`,
      );
    parts.push(Uint8Array.of(bytes.length), bytes);
  }
  return encodePluginIdentity(pluginName, concatBytes(parts));
}

/** @throws bad-key */
export function decodeTokenKeyReference(text: string): TokenKeyReference {
  const { plugin, data } = parsePluginIdentity(text);
  if (plugin !== pluginName) throw malformed('it belongs to another plugin');
  if (data.length === 0)
    throw malformed('it names no key', 'salvage keygen --token MODULE makes one, or -y beside it finds one.');
  if (data[0] !== version) throw malformed('it is of a later version');
  const publicKey = data.subarray(1, 1 + pointBytes);
  const found: Uint8Array[] = [];
  let at = 1 + pointBytes;
  for (const _ of fields) {
    const end = at + 1 + (data[at] ?? 0);
    if (end > data.length || at >= data.length) throw malformed('it is shortened');
    found.push(data.subarray(at + 1, end));
    at = end;
  }
  if (at !== data.length) throw malformed('something follows it');
  const [id, serial, label, module] = found as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  return { publicKey, id, serial: decodeText(serial), label: decodeText(label), module: decodeText(module) };
}

function decodeText(bytes: Uint8Array): string {
  if (bytes.includes(0)) throw malformed('it holds a NUL byte');
  return asBuffer(bytes).toString('utf8');
}

function malformed(state: string, hint?: string): SalvageError {
  return new SalvageError(
    'bad-key',
    `Cannot use the PKCS #11 identity: ${state}`,
    hint === undefined ? {} : { hint },
  );
}
