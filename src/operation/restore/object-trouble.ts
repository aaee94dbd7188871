import { SalvageError } from '../../errors/salvage-error.ts';

/** Trouble with one stored object, which leaves the others alone: everything else can be restored. */
export function isObjectTrouble(error: unknown): error is SalvageError {
  if (!(error instanceof SalvageError)) return false;
  const { code, details } = error;
  return code === 'damaged' || code === 'no-identity-match' || (code === 'failed' && 'object' in details);
}
