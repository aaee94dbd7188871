// A PKCS #11 module of our own for tests: one token in memory that counts wrong PINs and locks itself, and can be pulled out.
import { createECDH, type ECDH } from 'node:crypto';
import {
  attribute,
  CryptokiError,
  objectClass,
  returnValue,
  tokenFlag,
  type Attribute,
  type Cryptoki,
  type Handle,
  type TokenInfo,
} from '../../src/pkcs11/cryptoki.ts';

interface Key {
  readonly ecdh: ECDH;
  readonly attributes: ReadonlyMap<number, Uint8Array>;
}

export class SoftwareToken implements Cryptoki {
  readonly pin: string;
  /** What is changed on every key that is made: a token that does not do as it is told. */
  override: readonly Attribute[] = [];
  triesLeft = 3;
  isPresent = true;
  isBroken = false;
  hasPin = true;
  isLoggedIn = false;
  logins = 0;
  readonly #keys: Key[] = [];

  constructor(pin = '1234') {
    this.pin = pin;
  }

  tokens(): TokenInfo[] {
    return this.isPresent ? [this.tokenInfo()] : [];
  }

  tokenInfo(): TokenInfo {
    this.#check('C_GetTokenInfo');
    const flags =
      tokenFlag.initialized |
      tokenFlag.loginRequired |
      (this.hasPin ? tokenFlag.pinInitialized : 0) |
      (this.triesLeft < 3 ? tokenFlag.pinCountLow : 0) |
      (this.triesLeft === 1 ? tokenFlag.pinFinalTry : 0) |
      (this.triesLeft === 0 ? tokenFlag.pinLocked : 0);
    return { slot: 1n, label: 'toy', manufacturer: 'us', model: 'm', serial: '0001', flags };
  }

  openSession(): Handle {
    this.#check('C_OpenSession');
    return 7n;
  }

  login(_session: Handle, pin: Uint8Array | undefined): void {
    this.#check('C_Login');
    this.logins++;
    if (this.triesLeft === 0) throw new CryptokiError('C_Login', returnValue.pinLocked);
    if (Buffer.from(pin ?? []).toString() !== this.pin) {
      this.triesLeft--;
      throw new CryptokiError('C_Login', returnValue.pinIncorrect);
    }
    this.triesLeft = 3;
    this.isLoggedIn = true;
  }

  findObjects(_session: Handle, template: readonly Attribute[]): Handle[] {
    this.#check('C_FindObjects');
    const wanted = new Map(template);
    const handles = this.#keys.flatMap((_, index) => [BigInt(2 * index), BigInt(2 * index + 1)]);
    return handles.filter((handle) => {
      const isPrivate = handle % 2n === 1n;
      const id = wanted.get(attribute.id);
      return (
        isPrivate === (wanted.get(attribute.class) === objectClass.privateKey) &&
        (!isPrivate || this.isLoggedIn) &&
        (id === undefined ||
          Buffer.compare(id as Uint8Array, this.#keyOf(handle).attributes.get(attribute.id)!) === 0)
      );
    });
  }

  readAttribute(_session: Handle, object: Handle, type: number): Uint8Array | undefined {
    this.#check('C_GetAttributeValue');
    const { ecdh, attributes } = this.#keyOf(object);
    if (type === attribute.ecPoint) return Buffer.concat([Buffer.of(4, 65), ecdh.getPublicKey()]);
    return attributes.get(type);
  }

  generateKeyPair(
    _session: Handle,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): { readonly publicKey: Handle; readonly privateKey: Handle } {
    this.#check('C_GenerateKeyPair');
    const ecdh = createECDH('prime256v1');
    ecdh.generateKeys();
    const attributes = new Map(
      [...publicTemplate, ...privateTemplate, ...this.override].map(([type, value]) => [
        type,
        value instanceof Uint8Array ? value : Uint8Array.of(Number(value)),
      ]),
    );
    this.#keys.push({ ecdh, attributes });
    const index = BigInt(this.#keys.length - 1);
    return { publicKey: 2n * index, privateKey: 2n * index + 1n };
  }

  deriveEcdh(_session: Handle, privateKey: Handle, point: Uint8Array): Uint8Array {
    this.#check('C_DeriveKey');
    const secret = this.#keyOf(privateKey).ecdh.computeSecret(point);
    return this.isBroken ? secret.map((byte) => byte ^ 1) : secret;
  }

  destroyObject(_session: Handle, object: Handle): void {
    this.#keyOf(object).ecdh.generateKeys();
    if (object % 2n === 1n) this.#keys.pop();
  }

  closeSession(): void {
    this.#check('C_CloseSession');
  }

  close(): void {
    this.isLoggedIn = false;
  }

  get keyCount(): number {
    return this.#keys.length;
  }

  #keyOf(handle: Handle): Key {
    return this.#keys[Number(handle / 2n)]!;
  }

  #check(name: string): void {
    if (!this.isPresent) throw new CryptokiError(name, returnValue.deviceRemoved);
  }
}
