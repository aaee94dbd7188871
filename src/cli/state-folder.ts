import { isAbsolute, join } from 'node:path';
import { SalvageError } from '../errors/salvage-error.ts';
import type { CliContext } from './context.ts';

/**
 * Where state is kept that is worth keeping: heads that a verifier has seen, what a keeper remembers, reports of drills, when what ran last (XDG Base Directory
 * Specification). @throws usage if there is no HOME
 */
export function stateFolder(
  what: 'heads' | 'keeper' | 'drills' | 'drilled-keys' | 'runs',
  { env }: CliContext,
): string {
  const { XDG_STATE_HOME: stateHome = '', HOME: home = '' } = env;
  if (!isAbsolute(stateHome) && !isAbsolute(home))
    throw new SalvageError(
      'usage',
      'Cannot find the folder for state: neither HOME nor XDG_STATE_HOME is set',
      {
        hint: 'Name it with --state.',
      },
    );
  return join(isAbsolute(stateHome) ? stateHome : join(home, '.local', 'state'), 'salvage', what);
}
