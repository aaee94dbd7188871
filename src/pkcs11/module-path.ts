import { realpathSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { SalvageError } from '../errors/salvage-error.ts';

/** Where the administrator puts libraries. */
const trustedFolders = [
  '/usr/lib',
  '/usr/lib32',
  '/usr/lib64',
  '/usr/local/lib',
  '/usr/local/lib64',
  '/lib',
  '/lib64',
  '/opt',
  '/nix/store',
  '/gnu/store',
  '/Library',
];

/**
 * The module to load for an identity. A module is foreign code, and an identity may come from anywhere: its path is
 * followed into the system's folders for libraries only. `override` is the user's own word (AGE_PKCS11_MODULE) and taken
 * in any case.
 * @throws bad-key
 */
export function modulePath(recorded: string, override: string | undefined): string {
  const isOverridden = override !== undefined && override !== '';
  const path = isOverridden ? override : recorded;
  const hint = 'Say which module to load: AGE_PKCS11_MODULE=/path/to/module.so';
  if (!isAbsolute(path))
    throw new SalvageError('bad-key', `Cannot load the PKCS #11 module "${path}": its path is not absolute`, {
      hint,
    });
  let real: string;
  try {
    real = realpathSync(path);
  } catch (cause) {
    throw new SalvageError('bad-key', `Cannot load the PKCS #11 module "${path}": it is not there`, {
      hint,
      cause,
    });
  }
  if (!isOverridden && !trustedFolders.some((folder) => real.startsWith(`${folder}/`)))
    throw new SalvageError(
      'bad-key',
      `Cannot load the PKCS #11 module "${path}", which the identity names: it is not in a folder for the system's libraries`,
      { hint },
    );
  return real;
}
