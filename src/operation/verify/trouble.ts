import { SalvageError } from '../../errors/salvage-error.ts';

/** What a verification can find. */
export type TroubleKind =
  /** Nothing says why a number is missing in the chain. */
  | 'missing-snapshot'
  /** Less, or other, than what was there before. */
  | 'rollback'
  | 'forked-chain'
  /** A keeper's record that no trusted keeper signed, or that is not what it should be. */
  | 'forged-record'
  | 'missing-record'
  /** A signature that is missing its mark: wrong, malformed, or by a key that may not sign. */
  | 'bad-signature'
  /** A snapshot's own files are missing, changed or not what they should be. */
  | 'damaged-snapshot'
  /** Another repository than before, or snapshots of another one. */
  | 'foreign'
  | 'missing-object'
  /** Fewer bytes than there should be. */
  | 'truncated-object'
  /** Other bytes than there should be. */
  | 'changed-object'
  /** The bytes of another object. */
  | 'swapped-object'
  /** Somebody wrote over it or removed it; storage keeps older versions, and the right one is among them. */
  | 'superseded-object'
  /** A snapshot of which only older versions are left; they are good. */
  | 'removed-snapshot'
  /** Opened with the identity, something is not as the format demands. */
  | 'damaged-content'
  /** A keeper is about to remove it: until that is over nothing new may need it. */
  | 'marked-object'
  /** Storage could not be asked: nothing is known, and that is not good enough. */
  | 'unreadable';

export interface Trouble {
  readonly kind: TroubleKind;
  /** One or more whole sentences for a person. */
  readonly message: string;
  /** The object's name in the repository. */
  readonly object?: string;
  readonly snapshot?: string;
}

/** What kind of trouble an error tells of; `otherwise` for damage. @throws the error if it does not tell of any */
export function troubleKindOf(error: unknown, otherwise: TroubleKind): TroubleKind {
  if (!(error instanceof SalvageError) || error.code === 'interrupted') throw error;
  if (error.code === 'bad-signature') return 'bad-signature';
  return error.code === 'failed' ? 'unreadable' : otherwise;
}
