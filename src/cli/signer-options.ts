import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { readPublicFile } from '../keys/key-file.ts';
import { keyPaths } from '../keys/key-paths.ts';
import type { TrustedSigners } from '../operation/reading/signed-snapshot.ts';
import { parseAllowedSigners } from '../ssh/allowed-signers.ts';
import { escapeForTerminal } from '../ui/escape.ts';
import type { CliContext } from './context.ts';

/** What addSignerFlags puts among the options of a command. */
export interface SignerFlags {
  readonly allowedSigners?: string;
  readonly signer?: string;
}

const maxListBytes = 16 * 1024 * 1024;

/** Adds the flags that say whose signatures to trust. */
export function addSignerFlags(program: Command): void {
  program
    .option(
      '--allowed-signers <file>',
      'who may sign: a file as ssh-keygen(1) describes it (default: allowed_signers among your keys, if it is there)',
    )
    .option('--signer <principal>', 'the host that must have signed, as the file lists it');
}

/** Whom the flags say to trust, or undefined. @throws usage */
export function readTrustedSigners(
  { allowedSigners, signer }: SignerFlags,
  context: CliContext,
): TrustedSigners | undefined {
  const path = allowedSigners ?? configuredSigners(context);
  if (path === undefined) {
    if (signer !== undefined)
      throw new SalvageError(
        'usage',
        'Cannot check signatures: --signer was given without --allowed-signers',
      );
    return undefined;
  }
  const listed = parseAllowedSigners(asBuffer(readPublicFile(path, maxListBytes)).toString('utf8'));
  const names = [...new Set(listed.map(({ principals }) => principals))];
  const [only] = names;
  if (signer !== undefined) return { allowedSigners: listed, principal: signer };
  if (names.length === 1 && /^[^*?!,]+$/.test(only!)) return { allowedSigners: listed, principal: only! };
  if (allowedSigners === undefined) return undefined;
  throw new SalvageError('usage', `Cannot check signatures: "${path}" lists more than one signer`, {
    hint: `Say which host is meant, with --signer: ${escapeForTerminal(names.slice(0, 10).join(', '))}`,
  });
}

function configuredSigners(context: CliContext): string | undefined {
  try {
    const path = keyPaths(context.env).allowedSigners;
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}
