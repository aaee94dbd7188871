import type { Stanza } from './stanza.ts';

/** What one recipient adds to a header (C2SP age.md "Recipient stanza"; labels: C2SP age-plugin.md "extension-labels"). */
export interface WrappedFileKey {
  readonly stanzas: readonly Stanza[];
  /** All recipients of a file must have the same set of labels: [] for classic ones, ['postquantum'] for hybrid ones. */
  readonly labels: readonly string[];
}

/** A public half: wraps the file key of a new file. Native types answer at once, plugins later. */
export interface Recipient {
  wrapFileKey(fileKey: Uint8Array): WrappedFileKey | Promise<WrappedFileKey>;
}

/** A private half. */
export interface Identity {
  /** True if it may ask a human something. Those that do not are tried first. */
  readonly interactive?: boolean;
  /**
   * The file key, or undefined if none of the stanzas is meant for this identity ("no match" is a value).
   * Throws if a stanza is meant for it but malformed, or if the identity itself cannot be used.
   */
  unwrapFileKey(stanzas: readonly Stanza[]): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Its public halves; absent where they cannot be told. May ask for a passphrase. */
  recipients?(): readonly Recipient[] | Promise<readonly Recipient[]>;
}

/** Asks for a passphrase; `prompt` says what for, without a colon. Called only when the answer is really needed. */
export type RequestPassphrase = (prompt: string) => Promise<string>;
