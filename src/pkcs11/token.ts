import { createECDH, ECDH, timingSafeEqual } from 'node:crypto';
import { asBuffer, equalBytes, utf8Bytes } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import {
  attribute,
  CryptokiError,
  cryptokiState,
  keyType,
  objectClass,
  returnValue,
  tokenFlag,
  type Cryptoki,
  type Handle,
  type TokenInfo,
} from './cryptoki.ts';
import { p256Parameters } from './load-cryptoki.ts';

const curve = 'prime256v1';
const mostAttempts = 3;

/** Who knows the PIN. */
export interface PinHolder {
  /** Undefined if there is no answer, or no other than the one before. */
  requestPin(prompt: string): Promise<string | undefined>;
  /** Before the last try, after which the token locks itself. */
  confirmLastTry(warning: string): Promise<boolean>;
  tell(message: string): Promise<void>;
}

/** A P-256 key pair in a token. */
export interface TokenKey {
  readonly id: Uint8Array;
  readonly label: string;
  /** Uncompressed. */
  readonly point: Uint8Array;
  readonly compressedPoint: Uint8Array;
}

/**
 * The token that is meant, by label or serial number; the only one if there is just one.
 * @throws bad-key if there is none, or more than one
 */
export function chooseToken(cryptoki: Cryptoki, wanted: string | undefined): TokenInfo {
  const tokens = cryptoki.tokens();
  const found = tokens.filter(
    ({ label, serial }) => wanted === undefined || label === wanted || serial === wanted,
  );
  const [token] = found;
  if (token && found.length === 1) return token;
  const name = wanted === undefined ? 'a token' : `the token "${wanted}"`;
  const list = tokens.map(({ label, serial }) => `"${label}" (serial number ${serial})`).join(', ');
  if (!token)
    throw new SalvageError(
      'bad-key',
      `Cannot find ${name}: ${tokens.length === 0 ? 'no token is there' : `there is only ${list}`}`,
      { hint: 'Plug it in, and name it by its label or serial number.' },
    );
  throw new SalvageError('bad-key', `Cannot tell which token is meant: there are ${list}`, {
    hint: 'Name one by its serial number, after the module: MODULE:SERIAL',
  });
}

/** An open token. Close it. */
export class Token {
  readonly info: TokenInfo;
  readonly #cryptoki: Cryptoki;
  readonly #session: Handle;
  #isLoggedIn = false;

  constructor(cryptoki: Cryptoki, info: TokenInfo, access: 'read' | 'write' = 'read') {
    this.#cryptoki = cryptoki;
    this.info = info;
    this.#session = this.#attempt('open', () => cryptoki.openSession(info.slot, access));
  }

  /**
   * Logs in once. A PIN is asked for again only as long as that cannot lock the token; before its last try somebody has to
   * agree.
   * @throws bad-key if there is no PIN, if it is wrong, locked or not set
   */
  async logIn(holder: PinHolder): Promise<void> {
    if (this.#isLoggedIn) return;
    const { slot, label } = this.info;
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      const { flags } = this.#attempt('read', () => this.#cryptoki.tokenInfo(slot));
      const has = (flag: number): boolean => (flags & flag) !== 0;
      if (has(tokenFlag.pinLocked)) throw this.#locked();
      if (has(tokenFlag.loginRequired)) {
        if (!has(tokenFlag.pinInitialized))
          throw this.#problem('log in to', 'it has no user PIN yet', 'Set one with the tool of the token.');
        if (has(tokenFlag.pinFinalTry)) await this.#confirmLastTry(holder);
        else if (has(tokenFlag.pinCountLow) && attempt === 0)
          await holder.tell(
            `A wrong PIN was given to the token "${label}" before; after some more it locks itself`,
          );
        const hasKeypad = has(tokenFlag.protectedAuthenticationPath);
        if (!this.#tryPin(await this.#pin(holder, hasKeypad, attempt))) continue;
      }
      this.#isLoggedIn = true;
      return;
    }
    throw this.#problem('log in to', 'the PIN is wrong');
  }

  async #confirmLastTry(holder: PinHolder): Promise<void> {
    if (await holder.confirmLastTry(`The next wrong PIN locks the token "${this.info.label}"`)) return;
    throw this.#problem(
      'log in to',
      'it has one try left before it locks its PIN, and nobody agreed to use it',
      'Run this at a terminal, with the right PIN at hand.',
    );
  }

  /** Undefined where the token has a keypad. */
  async #pin(holder: PinHolder, hasKeypad: boolean, attempt: number): Promise<string | undefined> {
    const { label, serial } = this.info;
    if (hasKeypad) {
      await holder.tell(`Type the PIN of the token "${label}" on its own keypad`);
      return undefined;
    }
    const prompt = `Enter the PIN of the token "${label}" (serial number ${serial})`;
    const pin = await holder.requestPin(attempt === 0 ? prompt : `Wrong PIN. ${prompt}`);
    if (pin !== undefined) return pin;
    throw this.#problem(
      'log in to',
      attempt === 0 ? 'its PIN is needed, and nobody gave it' : 'the PIN is wrong',
    );
  }

  /** False if it is the wrong one. */
  #tryPin(pin: string | undefined): boolean {
    const bytes = pin === undefined ? undefined : utf8Bytes(pin);
    try {
      this.#cryptoki.login(this.#session, bytes);
      return true;
    } catch (error) {
      const code = error instanceof CryptokiError ? error.code : undefined;
      if (code === returnValue.userAlreadyLoggedIn) return true;
      if (code === returnValue.pinLocked) throw this.#locked();
      if (code === returnValue.pinIncorrect || code === returnValue.pinInvalid) return false;
      if (code === returnValue.pinLengthRange) return false;
      throw this.#problem('log in to', cryptokiState(error), undefined, error);
    } finally {
      bytes?.fill(0);
    }
  }

  /** The P-256 keys that can derive secrets and have both halves in the token. The token must be open to its user. */
  keys(): TokenKey[] {
    return this.#attempt('read the keys of', () => {
      const found: TokenKey[] = [];
      for (const object of this.#cryptoki.findObjects(this.#session, [
        [attribute.class, objectClass.publicKey],
        [attribute.keyType, keyType.ec],
      ])) {
        const id = this.#read(object, attribute.id) ?? new Uint8Array(0);
        const parameters = this.#read(object, attribute.ecParams);
        if (!parameters || !equalBytes(parameters, p256Parameters)) continue;
        const point = decodePoint(this.#read(object, attribute.ecPoint));
        const privateKey = this.#privateKey(id);
        if (!point || privateKey === undefined) continue;
        if (this.#read(privateKey, attribute.derive)?.[0] !== 1) continue;
        const label = asBuffer(this.#read(object, attribute.label) ?? new Uint8Array(0)).toString('utf8');
        found.push({ id, label, ...point });
      }
      return found;
    });
  }

  /**
   * Makes a key pair that stays in the token: not extractable, sensitive, good for deriving secrets and for nothing else.
   * The token is asked whether it is so.
   */
  generateKey(id: Uint8Array, label: string): TokenKey {
    return this.#attempt('make a key in', () => {
      const shared = [
        [attribute.token, true],
        [attribute.id, id],
        [attribute.label, utf8Bytes(label)],
        [attribute.derive, true],
      ] as const;
      const { publicKey, privateKey } = this.#cryptoki.generateKeyPair(
        this.#session,
        [
          ...shared,
          [attribute.ecParams, p256Parameters],
          [attribute.verify, false],
          [attribute.encrypt, false],
          [attribute.wrap, false],
        ],
        [
          ...shared,
          [attribute.private, true],
          [attribute.sensitive, true],
          [attribute.extractable, false],
          [attribute.sign, false],
          [attribute.decrypt, false],
          [attribute.unwrap, false],
        ],
      );
      const point = decodePoint(this.#read(publicKey, attribute.ecPoint));
      const staysInside =
        this.#read(privateKey, attribute.extractable)?.[0] === 0 &&
        this.#read(privateKey, attribute.sensitive)?.[0] === 1 &&
        this.#read(privateKey, attribute.value) === undefined;
      if (point && staysInside && this.#answersRightly(privateKey, point.point))
        return { id, label, ...point };
      for (const object of [publicKey, privateKey]) this.#cryptoki.destroyObject(this.#session, object);
      throw this.#problem(
        'make a key in',
        !point
          ? 'it does not show the public half'
          : !staysInside
            ? 'the key could leave it'
            : 'its ECDH gives wrong results',
      );
    });
  }

  /** ECDH with the key of this CKA_ID; see Cryptoki.deriveEcdh. @throws bad-key if there is none */
  deriveEcdh(id: Uint8Array, point: Uint8Array): Uint8Array {
    return this.#attempt('use the key in', () => {
      const privateKey = this.#privateKey(id);
      if (privateKey === undefined)
        throw this.#problem(
          'use the key in',
          'there is no such key in it',
          'salvage keygen --token MODULE -y lists the keys that are there.',
        );
      return this.#cryptoki.deriveEcdh(this.#session, privateKey, point);
    });
  }

  close(): void {
    try {
      this.#cryptoki.closeSession(this.#session);
    } catch {
      // A token that is gone has closed it.
    }
  }

  #privateKey(id: Uint8Array): Handle | undefined {
    return this.#cryptoki.findObjects(this.#session, [
      [attribute.class, objectClass.privateKey],
      [attribute.keyType, keyType.ec],
      [attribute.id, id],
    ])[0];
  }

  /** Both sides of an exchange must come to the same secret. */
  #answersRightly(privateKey: Handle, point: Uint8Array): boolean {
    const other = createECDH(curve);
    const token = this.#cryptoki.deriveEcdh(this.#session, privateKey, other.generateKeys());
    return timingSafeEqual(token, other.computeSecret(point));
  }

  #read(object: Handle, type: number): Uint8Array | undefined {
    return this.#cryptoki.readAttribute(this.#session, object, type);
  }

  #attempt<T>(what: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof SalvageError) throw error;
      throw this.#problem(what, cryptokiState(error), undefined, error);
    }
  }

  #locked(): SalvageError {
    return this.#problem(
      'log in to',
      'its PIN is locked',
      'Whoever holds its security officer PIN (PUK) can set a new one.',
    );
  }

  #problem(what: string, state: string, hint?: string, cause?: unknown): SalvageError {
    return new SalvageError('bad-key', `Cannot ${what} the token "${this.info.label}": ${state}`, {
      ...(hint !== undefined && { hint }),
      ...(cause !== undefined && { cause }),
    });
  }
}

/** CKA_EC_POINT: a DER OCTET STRING of the uncompressed point; some modules leave out the wrapping. */
function decodePoint(value: Uint8Array | undefined): Pick<TokenKey, 'point' | 'compressedPoint'> | undefined {
  const isWrapped = value?.[0] === 0x04 && value[1] === value.length - 2;
  const raw = isWrapped ? value.subarray(2) : value;
  if (!raw) return undefined;
  try {
    const convert = (form: 'uncompressed' | 'compressed'): Uint8Array =>
      Uint8Array.from(ECDH.convertKey(raw, curve, undefined, undefined, form) as Buffer);
    return { point: convert('uncompressed'), compressedPoint: convert('compressed') };
  } catch {
    return undefined;
  }
}
