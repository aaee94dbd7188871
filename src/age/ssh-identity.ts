import type { KeyObject } from 'node:crypto';
import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { PrivateKeyFile } from '../ssh/private-key-file.ts';
import { parsePrivateKey } from '../ssh/private-key.ts';
import { parsePublicKeyFile, type PublicKey } from '../ssh/public-key.ts';
import { unlockPrivateKey } from './passphrase-attempts.ts';
import type { Identity, Recipient, RequestPassphrase } from './recipient.ts';
import { SshEd25519Recipient, unwrapSshEd25519 } from './ssh-ed25519.ts';
import { sshKeyTag } from './ssh-key-tag.ts';
import { SshRsaRecipient, unwrapSshRsa } from './ssh-rsa.ts';
import type { Stanza } from './stanza.ts';

export interface SshIdentityOptions {
  /** Stands for the key in messages and in the prompt, usually its path. */
  readonly name: string;
  readonly requestPassphrase: RequestPassphrase;
  /** Reads KEY.pub. Needed only for an encrypted PKCS#1 or PKCS#8 file, which hides its public key. */
  readonly publicKeyFile?: () => Uint8Array | undefined;
  /** Ends the work of unlocking the key. */
  readonly signal?: AbortSignal;
}

/**
 * The identity of an SSH private key file. The passphrase is asked for when a stanza's tag matches, and only once.
 * @throws bad-key if the file is malformed or holds a key that cannot decrypt age files
 */
export function parseSshIdentity(pem: Uint8Array, options: SshIdentityOptions): Identity {
  const file = parsePrivateKey(pem, options.name);
  const publicKey = file.publicKey ?? readPublicKeyFile(options);
  if (publicKey.kind !== 'ed25519' && publicKey.kind !== 'rsa')
    throw new SalvageError(
      'bad-key',
      `Cannot decrypt with the key "${options.name}": keys of type ${publicKey.type} cannot`,
      { hint: 'Files are encrypted to ssh-ed25519 and ssh-rsa keys only; give that key.' },
    );
  return new SshIdentity(file, publicKey, options);
}

function readPublicKeyFile({ name, publicKeyFile }: SshIdentityOptions): PublicKey {
  const bytes = publicKeyFile?.();
  const line = bytes && parsePublicKeyFile(asBuffer(bytes).toString('utf8'))[0];
  if (!line)
    throw new SalvageError(
      'bad-key',
      `Cannot use the private key "${name}": its format hides the public key, and there is no "${name}.pub"`,
      { hint: `Run "ssh-keygen -y -f ${name} > ${name}.pub".` },
    );
  return line.key;
}

class SshIdentity implements Identity {
  readonly interactive: boolean;
  readonly #file: PrivateKeyFile;
  readonly #publicKey: PublicKey & { kind: 'ed25519' | 'rsa' };
  readonly #options: SshIdentityOptions;
  #privateKey: Promise<KeyObject> | undefined;

  constructor(
    file: PrivateKeyFile,
    publicKey: PublicKey & { kind: 'ed25519' | 'rsa' },
    options: SshIdentityOptions,
  ) {
    this.interactive = file.encrypted;
    this.#file = file;
    this.#publicKey = publicKey;
    this.#options = options;
  }

  async unwrapFileKey(stanzas: readonly Stanza[]): Promise<Uint8Array | undefined> {
    const tag = sshKeyTag(this.#publicKey);
    for (const stanza of stanzas) {
      if (stanza.type !== this.#publicKey.type || stanza.args[0] !== tag) continue;
      const privateKey = await this.#unlock();
      const fileKey =
        this.#publicKey.kind === 'ed25519'
          ? unwrapSshEd25519(this.#publicKey, privateKey, stanza)
          : unwrapSshRsa(this.#publicKey, privateKey, stanza);
      if (fileKey) return fileKey;
    }
    return undefined;
  }

  recipients(): readonly Recipient[] {
    const key = this.#publicKey;
    return [key.kind === 'ed25519' ? new SshEd25519Recipient(key) : new SshRsaRecipient(key)];
  }

  /** Remembers the key, not a failure: the caller may try again after a wrong passphrase. */
  #unlock(): Promise<KeyObject> {
    this.#privateKey ??= this.#askAndUnlock().catch((error: unknown) => {
      this.#privateKey = undefined;
      throw error;
    });
    return this.#privateKey;
  }

  async #askAndUnlock(): Promise<KeyObject> {
    const { name, requestPassphrase, signal } = this.#options;
    const prompt = `Enter the passphrase for "${name}"`;
    const { key, publicKey } = await unlockPrivateKey(this.#file, requestPassphrase, prompt, signal);
    if (!asBuffer(publicKey.blob).equals(this.#publicKey.blob))
      throw new SalvageError(
        'bad-key',
        `Cannot use the private key "${name}": "${name}.pub" is of another key`,
        {
          hint: `Run "ssh-keygen -y -f ${name} > ${name}.pub".`,
        },
      );
    return key;
  }
}
