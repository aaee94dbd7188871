import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { readPublicFile } from '../keys/key-file.ts';
import { keyPaths } from '../keys/key-paths.ts';
import { keeperNamespace, rewrapNamespace } from '../operation/keeper/keeper-records.ts';
import { snapshotNamespace, type TrustedSigners } from '../operation/reading/signed-snapshot.ts';
import { parseAllowedSigners, type AllowedSigner } from '../ssh/allowed-signers.ts';
import { matchesPatternList } from '../ssh/pattern-list.ts';
import { parseRevokedKeys, type RevokedKeys } from '../ssh/revoked-keys.ts';
import { escapeForTerminal } from '../ui/escape.ts';
import type { CliContext } from './context.ts';

/** What addSignerFlags puts among the options of a command. */
export interface SignerFlags {
  readonly allowedSigners?: string;
  readonly signer?: string;
  readonly keeper?: string;
  readonly revokedSigners?: string;
}

const maxListBytes = 16 * 1024 * 1024;

/** Adds the flags that say whose signatures to trust. */
export function addSignerFlags(program: Command): void {
  program
    .option(
      '--allowed-signers <file>',
      'who may sign: a file as ssh-keygen(1) describes it (default: allowed_signers among your keys, if it is there)',
    )
    .option('--signer <principal>', 'the host that must have signed, as the file lists it')
    .option(
      '--revoked-signers <file>',
      'keys whose signatures count for nothing, whenever they were made: one public key to a line, or a KRL of ssh-keygen',
    );
}

/** Adds the flag that says whose records of removal to trust. */
export function addKeeperFlag(program: Command): void {
  program.option(
    '--keeper <principal>',
    'the keeper whose records are believed, as the file lists it (default: the one that it lists for salvage-keeper)',
  );
}

/** Whom the flags say to trust, or undefined. @throws usage */
export function readTrustedSigners(flags: SignerFlags, context: CliContext): TrustedSigners | undefined {
  const trusted = withoutRevoked(flags, chooseSigner(flags, context));
  if (trusted || flags.revokedSigners === undefined) return trusted;
  // Whoever names revoked keys wants signatures to be checked.
  throw new SalvageError(
    'usage',
    'Cannot check signatures: --revoked-signers was given, and nobody said whose signatures to trust',
    { hint: 'give --allowed-signers FILE and --signer HOST' },
  );
}

function chooseSigner(
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
  const listed = readSignersFile(path);
  const hosts = listed.filter(({ namespaces = '*' }) => matchesPatternList(snapshotNamespace, namespaces));
  const names = principalsOf(hosts);
  const [only] = names;
  if (signer !== undefined) return { allowedSigners: listed, principal: signer };
  if (names.length === 1 && isPlainName(only!)) return { allowedSigners: listed, principal: only! };
  if (allowedSigners === undefined) return undefined;
  if (names.length === 0)
    throw new SalvageError(
      'usage',
      `Cannot check signatures: "${path}" lists nobody who may sign snapshots`,
      {
        hint: 'Add the line that "salvage init" printed for the host.',
      },
    );
  throw new SalvageError('usage', `Cannot check signatures: "${path}" lists more than one signer`, {
    hint: `Say which host is meant, with --signer: ${escapeForTerminal(names.slice(0, 10).join(', '))}`,
  });
}

/**
 * Whose records of removal to believe: the keeper that is named, or the only one that the file lists for just that. Never
 * a host that may sign anything: undefined if there is no such line. @throws usage
 */
export function readTrustedKeeper(flags: SignerFlags, context: CliContext): TrustedSigners | undefined {
  return withoutRevoked(flags, chooseKeeper(flags, context));
}

function chooseKeeper(
  { allowedSigners, keeper }: SignerFlags,
  context: CliContext,
): TrustedSigners | undefined {
  const path = allowedSigners ?? configuredSigners(context);
  if (path === undefined) {
    if (keeper !== undefined)
      throw new SalvageError('usage', 'Cannot check records: --keeper was given without --allowed-signers');
    return undefined;
  }
  const listed = readSignersFile(path);
  if (keeper !== undefined) return { allowedSigners: listed, principal: keeper };
  // A restorer, whose key may sign no more than what was rewrapped, goes by the keeper's name as well.
  const keepers = listed.filter(
    ({ namespaces = '*' }) =>
      [keeperNamespace, rewrapNamespace].some((name) => matchesPatternList(name, namespaces)) &&
      !matchesPatternList(snapshotNamespace, namespaces),
  );
  const names = principalsOf(keepers);
  const [only] = names;
  if (names.length === 0) return undefined;
  if (names.length === 1 && isPlainName(only!)) return { allowedSigners: listed, principal: only! };
  throw new SalvageError('usage', `Cannot check records: "${path}" lists more than one keeper`, {
    hint: `Say which one is meant, with --keeper: ${escapeForTerminal(names.slice(0, 10).join(', '))}`,
  });
}

/** The whole list that the flags name, or undefined. For where each repository has a signer of its own. */
export function readAllowedSigners(
  { allowedSigners }: SignerFlags,
  context: CliContext,
): AllowedSigner[] | undefined {
  const path = allowedSigners ?? configuredSigners(context);
  return path === undefined ? undefined : readSignersFile(path);
}

/** The keys that are listed in a file: one public key to a line, or OpenSSH's binary form. @throws bad-key, failed */
export function readRevokedKeys(path: string | undefined): RevokedKeys | undefined {
  return path === undefined ? undefined : parseRevokedKeys(readPublicFile(path, maxListBytes));
}

function withoutRevoked(
  { revokedSigners }: SignerFlags,
  trusted: TrustedSigners | undefined,
): TrustedSigners | undefined {
  const revoked = readRevokedKeys(revokedSigners);
  return trusted && { ...trusted, ...(revoked && { revoked }) };
}

/** The lines of a file of allowed signers. @throws bad-key, failed */
export function readSignersFile(path: string): AllowedSigner[] {
  return parseAllowedSigners(asBuffer(readPublicFile(path, maxListBytes)).toString('utf8'));
}

function principalsOf(signers: readonly AllowedSigner[]): string[] {
  return [...new Set(signers.map(({ principals }) => principals))];
}

/** No pattern, but one name. */
function isPlainName(principals: string): boolean {
  return /^[^*?!,]+$/.test(principals);
}

function configuredSigners(context: CliContext): string | undefined {
  try {
    const path = keyPaths(context.env).allowedSigners;
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}
