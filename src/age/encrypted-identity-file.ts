import { concatBytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { BinaryInput } from './binary-input.ts';
import { openEnvelope } from './envelope.ts';
import { parseHeader } from './header.ts';
import type { Header } from './header.ts';
import { parseIdentityLines } from './identity-lines.ts';
import { passphraseAttempts } from './passphrase-attempts.ts';
import { decryptPayload } from './payload.ts';
import type { Identity, IdentityPlugins, Recipient, RequestPassphrase } from './recipient.ts';
import { ScryptIdentity } from './scrypt.ts';
import type { Stanza } from './stanza.ts';
import { maxKeyFileBytes } from './text-lines.ts';

export interface EncryptedIdentityFileOptions {
  readonly name: string;
  readonly requestPassphrase: RequestPassphrase;
  readonly maxLogN?: number;
  /** Ends the work of unlocking it. */
  readonly signal?: AbortSignal | undefined;
  readonly plugins?: IdentityPlugins;
}

/** True if the file is to be read as an age file, binary or armored. */
export function looksLikeAgeFile(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.subarray(0, 1200)).toString('latin1').trimStart();
  return start.startsWith('age-encryption.org/') || start.startsWith('-----BEGIN AGE ENCRYPTED FILE-----');
}

/** Identities encrypted to a passphrase, which is asked for at the first use and not again. */
export class EncryptedIdentityFile implements Identity {
  readonly interactive = true;
  readonly #header: Header;
  readonly #payload: Uint8Array;
  readonly #options: EncryptedIdentityFileOptions;
  #identities: Promise<Identity[]> | undefined;

  /** @throws bad-key if it is no age file, or one that does not open with a passphrase */
  constructor(bytes: Uint8Array, options: EncryptedIdentityFileOptions) {
    this.#options = options;
    if (bytes.length > maxKeyFileBytes) throw this.#unusable('it is larger than 16 MiB');
    let file: Uint8Array;
    try {
      const input = new BinaryInput();
      file = concatBytes([...input.push(bytes), ...input.finish()]);
      this.#header = parseHeader(file);
    } catch (cause) {
      throw this.#unusable('it looks like an age file but is malformed', cause);
    }
    this.#payload = file.subarray(this.#header.bytes.length);
    const { stanzas } = this.#header;
    if (stanzas.length !== 1 || stanzas[0]!.type !== 'scrypt')
      throw this.#unusable('it is encrypted, but not with a passphrase');
  }

  async unwrapFileKey(stanzas: readonly Stanza[]): Promise<Uint8Array | undefined> {
    for (const identity of await this.#unlock()) {
      const fileKey = await identity.unwrapFileKey(stanzas);
      if (fileKey) return fileKey;
    }
    return undefined;
  }

  async recipients(): Promise<readonly Recipient[]> {
    const recipients: Recipient[] = [];
    for (const identity of await this.#unlock()) recipients.push(...((await identity.recipients?.()) ?? []));
    return recipients;
  }

  /** Remembers the identities, not a failure: the caller may try again after a wrong passphrase. */
  #unlock(): Promise<Identity[]> {
    this.#identities ??= this.#decrypt().catch((error: unknown) => {
      this.#identities = undefined;
      throw error;
    });
    return this.#identities;
  }

  async #decrypt(): Promise<Identity[]> {
    const { name, requestPassphrase, maxLogN, signal, plugins } = this.#options;
    const prompt = `Enter the passphrase for the identity file "${name}"`;
    const passphrase = new ScryptIdentity(() => passphraseAttempts(requestPassphrase, prompt), {
      signal,
      ...(maxLogN !== undefined && { maxLogN }),
    });
    const fileKey = await openEnvelope(this.#header, [passphrase]);
    if (!fileKey) throw this.#unusable('the passphrase is wrong');
    return parseIdentityLines(decryptPayload(fileKey, this.#payload), name, plugins);
  }

  #unusable(state: string, cause?: unknown): SalvageError {
    return new SalvageError(
      'bad-key',
      `Cannot open the identity file "${this.#options.name}": ${state}`,
      cause === undefined ? {} : { cause },
    );
  }
}
