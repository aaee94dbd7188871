import { getSystemErrorMessage } from 'node:util';
import { SalvageError } from '../errors/salvage-error.ts';

/** A failed system call as the user's problem: `Cannot read "x": no such file or directory`. */
export function systemError(attempt: string, cause: unknown): SalvageError {
  const { errno } = cause as NodeJS.ErrnoException;
  const state = errno === undefined ? (cause as Error).message : getSystemErrorMessage(errno);
  return new SalvageError('failed', `Cannot ${attempt}: ${state}`, { cause });
}
