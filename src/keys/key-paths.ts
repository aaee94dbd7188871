import { isAbsolute, join } from 'node:path';
import { SalvageError } from '../errors/salvage-error.ts';

/** Where a user's keys live. The folder is made by whoever writes the first file. */
export interface KeyPaths {
  readonly folder: string;
  /** OpenSSH private key; its public half stands beside it with `.pub` after the name. */
  readonly signingKey: string;
  /** As `signingKey`, for the records of a keeper: the two roles share no key, even on one machine. */
  readonly keeperKey: string;
  /** As `signingKey`, for the reports of drills. */
  readonly restorerKey: string;
  /** As `signingKey`, for requests for healing. */
  readonly auditorKey: string;
  /** age identity file. */
  readonly identity: string;
  /** age recipients file. */
  readonly recipients: string;
  readonly allowedSigners: string;
}

/**
 * The paths below `$XDG_CONFIG_HOME/salvage`, or `$HOME/.config/salvage` (XDG Base Directory Specification; relative
 * values are ignored, as it says). Throws usage if neither variable is set.
 */
export function keyPaths(env: Readonly<Record<string, string | undefined>>): KeyPaths {
  const { XDG_CONFIG_HOME: configHome = '', HOME: home = '' } = env;
  if (!isAbsolute(configHome) && !isAbsolute(home))
    throw new SalvageError(
      'usage',
      'Cannot find the folder for keys: neither HOME nor XDG_CONFIG_HOME is set',
      {
        hint: 'Set HOME, or name the key files on the command line.',
      },
    );
  const folder = join(isAbsolute(configHome) ? configHome : join(home, '.config'), 'salvage');
  return {
    folder,
    signingKey: join(folder, 'signing-key'),
    keeperKey: join(folder, 'keeper-key'),
    restorerKey: join(folder, 'restorer-key'),
    auditorKey: join(folder, 'auditor-key'),
    identity: join(folder, 'identity.txt'),
    recipients: join(folder, 'recipients.txt'),
    allowedSigners: join(folder, 'allowed_signers'),
  };
}
