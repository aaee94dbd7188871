// PKCS #11 (Cryptoki) 2.40, as far as it is needed here: names and numbers as in the OASIS specification.

/** Object and session handles, slots. */
export type Handle = bigint;

/** CKA_… */
export const attribute = {
  class: 0x000,
  token: 0x001,
  private: 0x002,
  label: 0x003,
  value: 0x011,
  keyType: 0x100,
  id: 0x102,
  sensitive: 0x103,
  encrypt: 0x104,
  decrypt: 0x105,
  wrap: 0x106,
  unwrap: 0x107,
  sign: 0x108,
  verify: 0x10a,
  derive: 0x10c,
  valueLength: 0x161,
  extractable: 0x162,
  ecParams: 0x180,
  ecPoint: 0x181,
} as const;

/** CKO_… */
export const objectClass = { publicKey: 2, privateKey: 3, secretKey: 4 } as const;

/** CKK_… */
export const keyType = { ec: 3, genericSecret: 0x10 } as const;

/** CKF_… of a token. */
export const tokenFlag = {
  loginRequired: 0x4,
  pinInitialized: 0x8,
  protectedAuthenticationPath: 0x100,
  initialized: 0x400,
  pinCountLow: 0x10000,
  pinFinalTry: 0x20000,
  pinLocked: 0x40000,
  pinToBeChanged: 0x80000,
} as const;

/** CKR_… */
export const returnValue = {
  ok: 0x00,
  hostMemory: 0x02,
  slotIdInvalid: 0x03,
  generalError: 0x05,
  functionFailed: 0x06,
  argumentsBad: 0x07,
  attributeSensitive: 0x11,
  attributeTypeInvalid: 0x12,
  attributeValueInvalid: 0x13,
  dataLengthRange: 0x21,
  deviceError: 0x30,
  deviceMemory: 0x31,
  deviceRemoved: 0x32,
  keyFunctionNotPermitted: 0x68,
  mechanismInvalid: 0x70,
  mechanismParamInvalid: 0x71,
  objectHandleInvalid: 0x82,
  pinIncorrect: 0xa0,
  pinInvalid: 0xa1,
  pinLengthRange: 0xa2,
  pinExpired: 0xa3,
  pinLocked: 0xa4,
  sessionHandleInvalid: 0xb3,
  templateInconsistent: 0xd1,
  tokenNotPresent: 0xe0,
  tokenWriteProtected: 0xe2,
  userAlreadyLoggedIn: 0x100,
  userNotLoggedIn: 0x101,
  userPinNotInitialized: 0x102,
  cryptokiAlreadyInitialized: 0x191,
} as const;

/** A boolean, a number (CK_ULONG) or bytes. */
export type Attribute = readonly [type: number, value: boolean | number | Uint8Array];

export interface TokenInfo {
  readonly slot: Handle;
  readonly label: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly serial: string;
  readonly flags: number;
}

/** A module's tokens. Every method throws CryptokiError for what the module refuses. */
export interface Cryptoki {
  /** Of all slots that hold an initialized token. */
  tokens(): TokenInfo[];
  /** As it is now: flags change with every wrong PIN. */
  tokenInfo(slot: Handle): TokenInfo;
  openSession(slot: Handle, access: 'read' | 'write'): Handle;
  /** As the user. Without a PIN the token has a keypad of its own. */
  login(session: Handle, pin: Uint8Array | undefined): void;
  findObjects(session: Handle, template: readonly Attribute[]): Handle[];
  /** Undefined if the object has no such attribute, or does not show it. */
  readAttribute(session: Handle, object: Handle, type: number): Uint8Array | undefined;
  /** A P-256 key pair. */
  generateKeyPair(
    session: Handle,
    publicTemplate: readonly Attribute[],
    privateTemplate: readonly Attribute[],
  ): { readonly publicKey: Handle; readonly privateKey: Handle };
  /**
   * C_DeriveKey with CKM_ECDH1_DERIVE and CKD_NULL: the x-coordinate of the private key times this uncompressed point.
   * It is the only secret that leaves the token, and good for one file.
   */
  deriveEcdh(session: Handle, privateKey: Handle, point: Uint8Array): Uint8Array;
  destroyObject(session: Handle, object: Handle): void;
  closeSession(session: Handle): void;
  /** Ends the use of the module. */
  close(): void;
}

/** What a module refused. */
export class CryptokiError extends Error {
  override readonly name = 'CryptokiError';
  readonly code: number;

  constructor(functionName: string, code: number) {
    super(`${functionName}: ${nameOf(code)}`);
    this.code = code;
  }
}

const words: Readonly<Record<number, string>> = {
  [returnValue.deviceError]: 'the token reports an error of its own',
  [returnValue.deviceMemory]: 'the token has no room left',
  [returnValue.deviceRemoved]: 'the token was removed',
  [returnValue.tokenNotPresent]: 'the token was removed',
  [returnValue.sessionHandleInvalid]: 'the token was removed or has ended the session',
  [returnValue.slotIdInvalid]: 'the token was removed',
  [returnValue.tokenWriteProtected]: 'the token is write-protected',
  [returnValue.keyFunctionNotPermitted]: 'the key may not be used to derive secrets (CKA_DERIVE is false)',
  [returnValue.mechanismInvalid]: 'the token does not know the mechanism',
  [returnValue.pinExpired]: 'its PIN has expired',
  [returnValue.pinLocked]: 'its PIN is locked',
  [returnValue.userNotLoggedIn]: 'it wants to be logged in to',
  [returnValue.userPinNotInitialized]: 'it has no user PIN yet',
};

/** The present state, for a message. */
export function cryptokiState(error: unknown): string {
  if (!(error instanceof CryptokiError)) return error instanceof Error ? error.message : String(error);
  const explained = words[error.code];
  return explained === undefined ? error.message : `${explained} (${error.message})`;
}

function nameOf(code: number): string {
  const found = Object.entries(returnValue).find(([, value]) => value === code)?.[0];
  const hex = `0x${code.toString(16)}`;
  return found === undefined ? hex : `CKR_${found.replace(/[A-Z]/g, '_$&').toUpperCase()} (${hex})`;
}
