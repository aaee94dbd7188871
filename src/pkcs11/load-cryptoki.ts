import type koffiModule from 'koffi';
import { loadKoffi } from '../bundle/load-koffi.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import {
  attribute,
  CryptokiError,
  keyType,
  objectClass,
  returnValue,
  tokenFlag,
  type Attribute,
  type Cryptoki,
  type Handle,
  type TokenInfo,
} from './cryptoki.ts';

/** Position in CK_FUNCTION_LIST, and the parameters. Everything that C calls CK_ULONG or a pointer is 64 bits wide. */
const functions = {
  C_Initialize: [0, 1],
  C_Finalize: [1, 1],
  C_GetSlotList: [4, 3],
  C_GetTokenInfo: [6, 2],
  C_OpenSession: [12, 5],
  C_CloseSession: [13, 1],
  C_Login: [18, 4],
  C_DestroyObject: [22, 2],
  C_GetAttributeValue: [24, 4],
  C_FindObjectsInit: [26, 3],
  C_FindObjects: [27, 4],
  C_FindObjectsFinal: [28, 1],
  C_GenerateKeyPair: [59, 8],
  C_DeriveKey: [62, 6],
} as const;
type FunctionName = keyof typeof functions;

const functionCount = 68;
const wordBytes = 8;
const tokenInfoBytes = 208;
const sessionFlags = { read: 0x4, write: 0x6 } as const;
const userTypeUser = 1;
const mechanisms = { ecKeyPairGen: 0x1040, ecdh1Derive: 0x1050 } as const;
const kdfNull = 1;
const coordinateBytes = 32;
/** Bounds on what a module is believed. */
const most = { slots: 1024, objects: 1024, attributeBytes: 64 * 1024 } as const;
/** The object identifier of P-256, in DER. */
export const p256Parameters: Uint8Array = Buffer.from('06082a8648ce3d030107', 'hex');

/**
 * Loads a PKCS #11 module: foreign code in this process. Only for 64-bit platforms, on the main thread.
 * @throws bad-key if it cannot be loaded
 */
export function loadCryptoki(path: string): Cryptoki {
  return new Module(path);
}

class Module implements Cryptoki {
  readonly #koffi: typeof koffiModule;
  readonly #path: string;
  readonly #table: Buffer;
  readonly #inUse: Buffer[] = [];
  readonly #called = new Map<FunctionName, (...args: (bigint | number)[]) => bigint | number>();

  constructor(path: string) {
    this.#path = path;
    this.#koffi = loadKoffi();
    try {
      const getFunctionList = this.#koffi.load(path).func('C_GetFunctionList', 'uint64', ['void *']);
      const out = memory(wordBytes);
      check('C_GetFunctionList', getFunctionList(out));
      // A version of two bytes, padded, and then the pointers.
      const bytes = wordBytes * (1 + functionCount);
      this.#table = Buffer.from(this.#koffi.view(out.readBigUInt64LE(), bytes));
      const initialized = Number(this.#call('C_Initialize', 0));
      if (initialized !== returnValue.cryptokiAlreadyInitialized) check('C_Initialize', initialized);
    } catch (cause) {
      throw new SalvageError(
        'bad-key',
        `Cannot load the PKCS #11 module "${path}": ${(cause as Error).message}`,
        {
          hint: 'Name the shared library of the token by its absolute path.',
          cause,
        },
      );
    }
  }

  tokens(): TokenInfo[] {
    const count = memory(wordBytes);
    this.#do('C_GetSlotList', 1, 0, this.#address(count));
    const slots = memory(wordBytes * Math.min(most.slots, Number(count.readBigUInt64LE())));
    if (slots.length === 0) return [];
    count.writeBigUInt64LE(BigInt(slots.length / wordBytes));
    this.#do('C_GetSlotList', 1, this.#address(slots), this.#address(count));
    const found: TokenInfo[] = [];
    for (let at = 0; at < Math.min(slots.length / wordBytes, Number(count.readBigUInt64LE())); at++) {
      try {
        const info = this.tokenInfo(slots.readBigUInt64LE(at * wordBytes));
        if ((info.flags & tokenFlag.initialized) !== 0) found.push(info);
      } catch (error) {
        // A slot that cannot be read must not hide the others.
        if (!(error instanceof CryptokiError)) throw error;
      }
    }
    return found;
  }

  tokenInfo(slot: Handle): TokenInfo {
    const info = memory(tokenInfoBytes);
    this.#do('C_GetTokenInfo', slot, this.#address(info));
    const text = (start: number, length: number): string =>
      info
        .toString('utf8', start, start + length)
        .replace(/\0.*$/s, '')
        .trimEnd();
    return {
      slot,
      label: text(0, 32),
      manufacturer: text(32, 32),
      model: text(64, 16),
      serial: text(80, 16),
      flags: info.readUInt32LE(96),
    };
  }

  openSession(slot: Handle, access: 'read' | 'write'): Handle {
    const session = memory(wordBytes);
    this.#do('C_OpenSession', slot, sessionFlags[access], 0, 0, this.#address(session));
    return session.readBigUInt64LE();
  }

  login(session: Handle, pin: Uint8Array | undefined): void {
    const bytes = memory(Math.max(1, pin?.length ?? 0));
    if (pin) bytes.set(pin);
    try {
      this.#do('C_Login', session, userTypeUser, pin ? this.#address(bytes) : 0, pin?.length ?? 0);
    } finally {
      bytes.fill(0);
    }
  }

  findObjects(session: Handle, template: readonly Attribute[]): Handle[] {
    this.#do('C_FindObjectsInit', session, this.#template(template), template.length);
    try {
      const found = memory(wordBytes * most.objects);
      const count = memory(wordBytes);
      this.#do('C_FindObjects', session, this.#address(found), most.objects, this.#address(count));
      const length = Math.min(most.objects, Number(count.readBigUInt64LE()));
      return Array.from({ length }, (_, at) => found.readBigUInt64LE(at * wordBytes));
    } finally {
      this.#do('C_FindObjectsFinal', session);
    }
  }

  readAttribute(session: Handle, object: Handle, type: number): Uint8Array | undefined {
    const query = memory(3 * wordBytes);
    query.writeBigUInt64LE(BigInt(type));
    const ask = (): boolean => {
      const code = Number(this.#call('C_GetAttributeValue', session, object, this.#address(query), 1));
      if (code === returnValue.attributeSensitive || code === returnValue.attributeTypeInvalid) return false;
      check('C_GetAttributeValue', code);
      return true;
    };
    if (!ask()) return undefined;
    const length = query.readBigUInt64LE(2 * wordBytes);
    // CK_UNAVAILABLE_INFORMATION is the greatest number there is.
    if (length > BigInt(most.attributeBytes)) return undefined;
    const value = memory(Math.max(1, Number(length)));
    query.writeBigUInt64LE(this.#address(value), wordBytes);
    if (!ask()) return undefined;
    return value.subarray(0, Math.min(Number(length), Number(query.readBigUInt64LE(2 * wordBytes))));
  }

  generateKeyPair(
    session: Handle,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): { readonly publicKey: Handle; readonly privateKey: Handle } {
    const mechanism = this.#mechanism(mechanisms.ecKeyPairGen);
    const keys = memory(2 * wordBytes);
    this.#do(
      'C_GenerateKeyPair',
      session,
      this.#address(mechanism),
      this.#template(publicTemplate),
      publicTemplate.length,
      this.#template(privateTemplate),
      privateTemplate.length,
      this.#address(keys),
      this.#address(keys) + BigInt(wordBytes),
    );
    return { publicKey: keys.readBigUInt64LE(), privateKey: keys.readBigUInt64LE(wordBytes) };
  }

  deriveEcdh(session: Handle, privateKey: Handle, point: Uint8Array): Uint8Array {
    const secret = this.#derive(session, privateKey, point);
    try {
      const value = this.readAttribute(session, secret, attribute.value);
      if (value?.length !== coordinateBytes) throw new CryptokiError('C_DeriveKey', returnValue.generalError);
      return value;
    } finally {
      this.destroyObject(session, secret);
    }
  }

  destroyObject(session: Handle, object: Handle): void {
    this.#do('C_DestroyObject', session, object);
  }

  closeSession(session: Handle): void {
    this.#do('C_CloseSession', session);
  }

  close(): void {
    this.#do('C_Finalize', 0);
  }

  #derive(session: Handle, privateKey: Handle, point: Uint8Array): Handle {
    const template: readonly Attribute[] = [
      [attribute.class, objectClass.secretKey],
      [attribute.keyType, keyType.genericSecret],
      [attribute.token, false],
      [attribute.sensitive, false],
      [attribute.extractable, true],
      [attribute.valueLength, coordinateBytes],
    ];
    const secret = memory(wordBytes);
    const attempt = (publicData: Uint8Array): number => {
      const data = encodeValue(publicData);
      const parameters = memory(5 * wordBytes);
      for (const [index, word] of [kdfNull, 0, 0, data.length, this.#address(data)].entries())
        parameters.writeBigUInt64LE(BigInt(word), index * wordBytes);
      const code = this.#call(
        'C_DeriveKey',
        session,
        this.#address(this.#mechanism(mechanisms.ecdh1Derive, parameters)),
        privateKey,
        this.#template(template),
        template.length,
        this.#address(secret),
      );
      return Number(code);
    };
    let code = attempt(point);
    // The specification allows the point as a DER OCTET STRING, and some modules know nothing else.
    if (([returnValue.mechanismParamInvalid, returnValue.argumentsBad] as number[]).includes(code))
      code = attempt(Buffer.concat([Uint8Array.of(0x04, point.length), point]));
    check('C_DeriveKey', code);
    return secret.readBigUInt64LE();
  }

  /** CK_MECHANISM. */
  #mechanism(type: number, parameters?: Buffer): Buffer {
    const mechanism = memory(3 * wordBytes);
    mechanism.writeBigUInt64LE(BigInt(type));
    if (parameters) {
      mechanism.writeBigUInt64LE(this.#address(parameters), wordBytes);
      mechanism.writeBigUInt64LE(BigInt(parameters.length), 2 * wordBytes);
    }
    return mechanism;
  }

  /** The address of an array of CK_ATTRIBUTE, good for the next call. */
  #template(attributes: readonly Attribute[]): bigint {
    const array = memory(3 * wordBytes * attributes.length);
    for (const [index, [type, value]] of attributes.entries()) {
      const at = 3 * wordBytes * index;
      const bytes = encodeValue(value);
      array.writeBigUInt64LE(BigInt(type), at);
      array.writeBigUInt64LE(this.#address(bytes), at + wordBytes);
      array.writeBigUInt64LE(BigInt(bytes.length), at + 2 * wordBytes);
    }
    return this.#address(array);
  }

  /** Where the bytes are. They are not collected before the next call has returned. */
  #address(bytes: Buffer): bigint {
    this.#inUse.push(bytes);
    return this.#koffi.address(bytes);
  }

  /** Calls, and throws what is not CKR_OK. */
  #do(name: FunctionName, ...args: (bigint | number)[]): void {
    check(name, this.#call(name, ...args));
  }

  #call(name: FunctionName, ...args: (bigint | number)[]): bigint | number {
    let call = this.#called.get(name);
    if (!call) {
      const [index, parameters] = functions[name];
      const pointer = this.#table.readBigUInt64LE(wordBytes * (1 + index));
      if (pointer === 0n)
        throw new SalvageError(
          'bad-key',
          `Cannot use the PKCS #11 module "${this.#path}": it has no ${name}`,
        );
      const prototype = this.#koffi.proto(
        'uint64',
        Array.from({ length: parameters }, () => 'uint64'),
      );
      call = this.#koffi.decode(pointer, prototype) as typeof call & {};
      this.#called.set(name, call);
    }
    try {
      return call(...args);
    } finally {
      this.#inUse.length = 0;
    }
  }
}

/** Zeroed memory outside the V8 heap, whose address stays as it is. */
function memory(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size));
}

function encodeValue(value: boolean | number | Uint8Array): Buffer {
  if (typeof value === 'boolean') {
    const byte = memory(1);
    byte[0] = Number(value);
    return byte;
  }
  if (typeof value === 'number') {
    const word = memory(wordBytes);
    word.writeBigUInt64LE(BigInt(value));
    return word;
  }
  const bytes = memory(value.length);
  bytes.set(value);
  return bytes;
}

function check(name: string, code: unknown): void {
  if (Number(code) !== returnValue.ok) throw new CryptokiError(name, Number(code));
}
