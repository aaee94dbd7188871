import { SalvageError } from '../errors/salvage-error.ts';

/** Names are kept far below what file systems and object stores allow. */
const maxNameLength = 256;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*){0,7}$/;
const prefixPattern = /^[A-Za-z0-9._/-]*$/;

/**
 * True for names that every storage can hold: up to eight parts of ASCII letters, digits, '.', '_' and '-' joined by
 * '/', none beginning with '.', '_' or '-' (so no '..', and room for a storage's own hidden files), at most 256 characters.
 */
export function isObjectName(name: string): boolean {
  return name.length <= maxNameLength && namePattern.test(name);
}

/** @throws failed if this is not a name that an object can have */
export function checkObjectName(name: string): void {
  if (!isObjectName(name))
    throw new SalvageError(
      'failed',
      `Cannot use the object name ${JSON.stringify(name.slice(0, 300))}: it is not one that salvage gives`,
    );
}

/** @throws failed if no object name can begin like this */
export function checkListPrefix(prefix: string): void {
  if (prefix.length > maxNameLength || !prefixPattern.test(prefix) || /(?:^|\/)[/._-]/.test(prefix))
    throw new SalvageError(
      'failed',
      `Cannot list ${JSON.stringify(prefix.slice(0, 300))}: no object name begins like this`,
    );
}
