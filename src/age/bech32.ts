import { bech32 } from '@scure/base';

export interface Bech32Text {
  /** The human-readable part, in lower case. */
  readonly prefix: string;
  readonly bytes: Uint8Array;
}

/** BIP 173 Bech32 without its length limit, in lower case (C2SP age.md "Bech32"). */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  return bech32.encode(prefix, bech32.toWords(bytes), false);
}

/**
 * The parts of a Bech32 string, or undefined if it is none: mixed case, foreign characters, a wrong checksum, bits left
 * over. Its case says what it holds in age: recipients are lower case, identities upper case; the caller checks that.
 */
export function decodeBech32(text: string): Bech32Text | undefined {
  try {
    const { prefix, words } = bech32.decode(text as `${string}1${string}`, false);
    return { prefix: prefix.toLowerCase(), bytes: bech32.fromWords(words) };
  } catch {
    return undefined;
  }
}
