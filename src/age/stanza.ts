/** One recipient stanza of a header (C2SP age.md "Recipient stanza"). */
export interface Stanza {
  /** The first argument of the stanza line. */
  readonly type: string;
  /** The arguments after the type. */
  readonly args: readonly string[];
  readonly body: Uint8Array;
}
