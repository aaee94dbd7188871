/** One recipient stanza of a header (C2SP age.md "Recipient stanza"). */
export interface Stanza {
  /** The first argument of the stanza line. */
  readonly type: string;
  /** The arguments after the type. */
  readonly args: readonly string[];
  readonly body: Uint8Array;
}

/** The file key of the first stanza of this type that `unwrap` gives one for. */
export function unwrapFirst(
  stanzas: readonly Stanza[],
  type: string,
  unwrap: (stanza: Stanza) => Uint8Array | undefined,
): Uint8Array | undefined {
  for (const stanza of stanzas) {
    const fileKey = stanza.type === type ? unwrap(stanza) : undefined;
    if (fileKey) return fileKey;
  }
  return undefined;
}
