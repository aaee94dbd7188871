import { isAbsolute, join } from 'node:path';
import { SalvageError } from '../errors/salvage-error.ts';
import type { RepositoryId } from '../repository/ids.ts';
import type { CliContext } from './context.ts';

/** The folder of a repository in the user's cache. @throws usage if there is no HOME */
export function cacheFolderOf(repository: RepositoryId, context: CliContext): string {
  return join(cacheRoot(context), repository);
}

/** The folder of salvage in the user's cache (XDG Base Directory Specification). @throws usage if there is no HOME */
export function cacheRoot(context: CliContext): string {
  const { XDG_CACHE_HOME: cacheHome = '', HOME: home = '' } = context.env;
  if (!isAbsolute(cacheHome) && !isAbsolute(home))
    throw new SalvageError(
      'usage',
      'Cannot find the folder for the cache: neither HOME nor XDG_CACHE_HOME is set',
      {
        hint: 'Set HOME.',
      },
    );
  return join(isAbsolute(cacheHome) ? cacheHome : join(home, '.cache'), 'salvage');
}
