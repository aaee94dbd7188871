import type { Plugin, PluginClient } from '../age/plugin/serve-plugin.ts';
import type { Identity, Recipient } from '../age/recipient.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import type { Cryptoki, TokenInfo } from './cryptoki.ts';
import { modulePath } from './module-path.ts';
import { Token, type PinHolder } from './token.ts';
import { TokenIdentity, type TokenKeyUse } from './token-identity.ts';
import { decodeTokenKeyReference, type TokenKeyReference } from './token-key-reference.ts';

export interface Pkcs11PluginOptions {
  readonly load: (path: string) => Cryptoki;
  /** The module to load whatever identities say: AGE_PKCS11_MODULE. */
  readonly module: string | undefined;
  /** The PIN where nobody is asked for it: from a file, a descriptor, a command. */
  readonly pin: (() => Promise<string>) | undefined;
}

/** `age-plugin-pkcs11`: lets any age decrypt with a key that never leaves its token. Tokens stay open until `close`. */
export class Pkcs11Plugin implements Plugin {
  readonly #options: Pkcs11PluginOptions;
  readonly #modules = new Map<string, Cryptoki>();
  readonly #tokens = new Map<string, Token>();

  constructor(options: Pkcs11PluginOptions) {
    this.#options = options;
  }

  recipient(): Recipient {
    throw new SalvageError(
      'bad-key',
      'Cannot encrypt to an age1pkcs11… recipient: a key in a token has an age1tag1… recipient, which age knows by itself',
    );
  }

  /** @throws bad-key */
  identity(text: string, client: PluginClient): Identity {
    return new TokenIdentity(decodeTokenKeyReference(text), (reference) => this.#openKey(reference, client));
  }

  close(): void {
    for (const token of this.#tokens.values()) token.close();
    for (const module of this.#modules.values()) {
      try {
        module.close();
      } catch {
        // The process ends, and with it all that the module holds.
      }
    }
  }

  async #openKey(reference: TokenKeyReference, client: PluginClient): Promise<TokenKeyUse> {
    const path = modulePath(reference.module, this.#options.module);
    let module = this.#modules.get(path);
    if (!module) this.#modules.set(path, (module = this.#options.load(path)));
    const info = await findToken(module, reference, client);
    const name = `${path}\n${info.serial}`;
    let token = this.#tokens.get(name);
    if (!token) this.#tokens.set(name, (token = new Token(module, info)));
    const open = token;
    await open.logIn(new ClientPinHolder(client, this.#options.pin));
    return { deriveEcdh: (point) => open.deriveEcdh(reference.id, point) };
  }
}

/** The token by its serial number. Where it is missing somebody may go and fetch it. @throws bad-key */
async function findToken(
  module: Cryptoki,
  { serial, label }: TokenKeyReference,
  client: PluginClient,
): Promise<TokenInfo> {
  const find = (): TokenInfo | undefined => module.tokens().find((token) => token.serial === serial);
  const name = `"${label}" (serial number ${serial})`;
  const found = find();
  if (found) return found;
  const isThere = await client.confirm(`Plug in the token ${name}`, 'it is there', 'go on without it');
  const now = isThere ? find() : undefined;
  if (now) return now;
  throw new SalvageError('bad-key', `Cannot find the token ${name}: it is not plugged in`, {
    hint: 'Plug it in and run this again.',
  });
}

/** The client's user, or a PIN that was given, which is tried once. */
class ClientPinHolder implements PinHolder {
  readonly #client: PluginClient;
  readonly #given: (() => Promise<string>) | undefined;
  #isUsed = false;

  constructor(client: PluginClient, given: (() => Promise<string>) | undefined) {
    this.#client = client;
    this.#given = given;
  }

  async requestPin(prompt: string): Promise<string | undefined> {
    if (!this.#given) return await this.#client.requestSecret(prompt);
    if (this.#isUsed) return undefined;
    this.#isUsed = true;
    return await this.#given();
  }

  async confirmLastTry(warning: string): Promise<boolean> {
    return await this.#client.confirm(warning, 'use the last try', 'stop');
  }

  async tell(message: string): Promise<void> {
    await this.#client.message(message);
  }
}
