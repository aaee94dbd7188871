import { scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { concatBytes, toHex, utf8Bytes } from '../bytes/bytes.ts';
import { randomBytes } from '../clock/random.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import { checkBodyLength, openFileKey, sealFileKey } from './file-key.ts';
import type { Identity, Recipient, WrappedFileKey } from './recipient.ts';
import type { Stanza } from './stanza.ts';

const stanzaType = 'scrypt';
const saltBytes = 16;
const saltLabel = utf8Bytes('age-encryption.org/v1/scrypt');
const blockSize = 8;

/** What age uses: about a second and 256 MiB. */
const defaultLogN = 18;
/** What age takes from a file unless told otherwise: 4 GiB. */
const defaultMaxLogN = 22;
/** What a user may allow at most: 1 TiB. */
const greatestLogN = 30;

const deriveKey: (
  passphrase: Uint8Array,
  salt: Uint8Array,
  length: number,
  options: { N: number; r: number; p: number; maxmem: number },
) => Promise<Buffer> = promisify(scrypt);

/** Encrypts to a passphrase (C2SP age.md "The scrypt recipient type"). Must be the only recipient of its file. */
export class ScryptRecipient implements Recipient {
  readonly #passphrase: Uint8Array;
  readonly #logN: number;

  /** @throws bad-key if the passphrase is empty */
  constructor(passphrase: string, logN: number = defaultLogN) {
    if (passphrase === '') throw new SalvageError('bad-key', 'Cannot encrypt to a passphrase: it is empty');
    if (!Number.isInteger(logN) || logN < 1 || logN > greatestLogN)
      throw new RangeError(`logN is an integer from 1 to ${greatestLogN}`);
    this.#passphrase = utf8Bytes(passphrase);
    this.#logN = logN;
  }

  async wrapFileKey(fileKey: Uint8Array): Promise<WrappedFileKey> {
    const salt = randomBytes(saltBytes);
    const body = sealFileKey(await wrapKey(this.#passphrase, salt, this.#logN), fileKey);
    const args = [encodeBase64(salt), String(this.#logN)];
    // A label of its own makes sure that no other recipient can stand beside it.
    return { stanzas: [{ type: stanzaType, args, body }], labels: [`scrypt ${toHex(randomBytes(16))}`] };
  }
}

export interface ScryptIdentityOptions {
  /** The greatest work factor that is taken from a file; 22 by default, 30 at most. */
  readonly maxLogN?: number;
  /** Ends the work of deriving a key. */
  readonly signal?: AbortSignal | undefined;
}

/** Decrypts with a passphrase, which is asked for only if the file is encrypted to one. */
export class ScryptIdentity implements Identity {
  readonly interactive: boolean;
  readonly #passphrases: () => Iterable<string> | AsyncIterable<string>;
  readonly #maxLogN: number;
  readonly #signal: AbortSignal | undefined;

  /** A function is called when a passphrase is needed, and asked for another as long as none fits. */
  constructor(passphrase: string | (() => AsyncIterable<string>), options: ScryptIdentityOptions = {}) {
    const maxLogN = options.maxLogN ?? defaultMaxLogN;
    if (!Number.isInteger(maxLogN) || maxLogN < 1 || maxLogN > greatestLogN)
      throw new RangeError(`maxLogN is an integer from 1 to ${greatestLogN}`);
    this.#passphrases = typeof passphrase === 'string' ? () => [passphrase] : passphrase;
    this.interactive = typeof passphrase !== 'string';
    this.#maxLogN = maxLogN;
    this.#signal = options.signal;
  }

  async unwrapFileKey(stanzas: readonly Stanza[]): Promise<Uint8Array | undefined> {
    const stanza = stanzas.find(({ type }) => type === stanzaType);
    if (!stanza) return undefined;
    checkScryptStandsAlone(stanzas);
    const { salt, logN } = parseArguments(stanza.args);
    // Checked before a byte of memory is taken: the work factor is the attacker's to choose.
    if (logN > this.#maxLogN)
      throw malformed(
        `its work factor 2^${logN} is above 2^${this.#maxLogN}; it would take ${memoryText(logN)} of memory`,
        { hint: 'If the file is your own and the machine has the memory, allow a greater work factor.' },
      );
    checkBodyLength(stanza.body);
    for await (const passphrase of this.#passphrases()) {
      const key = await orAborted(wrapKey(utf8Bytes(passphrase), salt, logN), this.#signal);
      const fileKey = openFileKey(key, stanza.body);
      if (fileKey) return fileKey;
    }
    return undefined;
  }
}

/** A passphrase must be the only way into its file, since it says who wrote it. @throws age-header if it is not */
export function checkScryptStandsAlone(stanzas: readonly Stanza[]): void {
  if (stanzas.length > 1 && stanzas.some(({ type }) => type === stanzaType))
    throw malformed('it is not the only stanza');
}

function parseArguments(args: readonly string[]): { salt: Uint8Array; logN: number } {
  if (args.length !== 2) throw malformed('it has not two arguments');
  const salt = decodeBase64(args[0]!);
  if (salt?.length !== saltBytes) throw malformed('its salt has not 16 bytes');
  if (!/^[1-9][0-9]*$/.test(args[1]!)) throw malformed('its work factor is not a decimal number');
  return { salt, logN: Number(args[1]) };
}

async function wrapKey(passphrase: Uint8Array, salt: Uint8Array, logN: number): Promise<Uint8Array> {
  const N = 2 ** logN;
  // OpenSSL counts p and two more blocks besides the N that matter.
  const maxmem = 128 * blockSize * (N + 16);
  try {
    return await deriveKey(passphrase, concatBytes([saltLabel, salt]), 32, { N, r: blockSize, p: 1, maxmem });
  } catch (cause) {
    throw new SalvageError(
      'bad-key',
      `Cannot derive a key from the passphrase: work factor 2^${logN} takes ${memoryText(logN)} of memory`,
      { cause },
    );
  }
}

/** A derivation that has begun cannot be stopped, but nobody has to wait for it. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function memoryText(logN: number): string {
  const mebibytes = 2 ** (logN - 10);
  if (logN > 60) return 'more than any machine has';
  return mebibytes < 1024 ? `${mebibytes} MiB` : `${mebibytes / 1024} GiB`;
}

function malformed(state: string, options: { hint?: string } = {}): SalvageError {
  return new SalvageError('age-header', `Cannot read the scrypt stanza of the age header: ${state}`, options);
}
