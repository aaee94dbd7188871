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
  /**
   * Tells of other files that are likely to be opened next, each by the stanzas of its header: what may ask a human then
   * unwraps them together, for one PIN or one touch. Nothing happens before the next `unwrapFileKey`.
   */
  expectFiles?(files: readonly (readonly Stanza[])[]): void;
  /** Its public halves; absent where they cannot be told. May ask for a passphrase. */
  recipients?(): readonly Recipient[] | Promise<readonly Recipient[]>;
}

/** Asks for a passphrase; `prompt` says what for, without a colon. Called only when the answer is really needed. */
export interface RequestPassphrase {
  (prompt: string): Promise<string>;
  /** How often the same may be asked until the answer fits: more than once only where somebody types. Default: once. */
  readonly attempts?: number;
}

/** Makes the recipients of plugins; plugin/age-plugins.ts does. */
export interface RecipientPlugins {
  /** @throws bad-key if the text is not a valid plugin recipient; the plugin is not run yet */
  recipient(text: string): Recipient;
}

/** Makes the identities of plugins; plugin/age-plugins.ts does. */
export interface IdentityPlugins {
  /** @throws bad-key if the text is not a valid plugin identity; the plugin is not run yet */
  identity(text: string): Identity;
}
