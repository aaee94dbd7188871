/**
 * Every failure that salvage can explain has a code of this closed list. `src/cli/main.ts` holds the one table that
 * turns a code into an exit code.
 */
export type ErrorCode =
  /** The command line or the configuration is wrong. */
  | 'usage'
  /** An operation failed for a reason outside salvage: a missing file, a full disk, a dead link. */
  | 'failed'
  /** A recipient, identity, key or passphrase cannot be used: unreadable, unsupported, wrong passphrase. */
  | 'bad-key'
  /** No repository at the given place. */
  | 'no-repository'
  /** Another run holds the repository or the cache. */
  | 'busy'
  /** None of the identities opens the file. */
  | 'no-identity-match'
  /** A signature is missing, wrong, expired or by a signer that is not allowed. */
  | 'bad-signature'
  /** An age header is malformed (C2SP age.md, "Header"). */
  | 'age-header'
  /** An age header's MAC does not fit the file key. */
  | 'age-hmac'
  /** An age payload is truncated, altered, reordered or followed by other data. */
  | 'age-payload'
  /** An ASCII armor is malformed. */
  | 'age-armor'
  /** Stored or received data is damaged, missing or forged. */
  | 'damaged'
  /** The user stopped the run. */
  | 'interrupted';

export interface SalvageErrorOptions {
  /** One sentence that says what to do, with the command to run where there is one. */
  readonly hint?: string;
  /** Facts for logs and JSON. Never a secret. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
  readonly cause?: unknown;
}

/**
 * The user's problem, not our bug: the message reads `Cannot <do what> "<thing>": <present state>`, and the hint says
 * what to do. Anything thrown that is not a SalvageError is a bug of ours and is reported as one.
 */
export class SalvageError extends Error {
  override readonly name = 'SalvageError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, string | number | boolean>>;

  constructor(code: ErrorCode, message: string, options: SalvageErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}
