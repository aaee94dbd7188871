import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { parseIdentityFile } from '../age/identity-file.ts';
import { parseRecipient } from '../age/parse-recipient.ts';
import { parseRecipientsFile } from '../age/recipients-file.ts';
import type { Identity, Recipient, RequestPassphrase } from '../age/recipient.ts';
import { asBuffer } from '../bytes/bytes.ts';
import { SalvageError } from '../errors/salvage-error.ts';
import { checkMode } from '../keys/key-file.ts';
import { looksLikePrivateKey } from '../ssh/private-key.ts';
import { agePlugins } from './age-plugins.ts';
import type { CliContext } from './context.ts';
import { passphraseRequester, type IdentityFlag, type RecipientFlags } from './key-flags.ts';
import { letSignalsKill } from './ending-signals.ts';
import { systemError } from './system-error.ts';

/** What is done about a private key that others may read: the commands that stand in for age's go on as age does. */
export type UnsafeMode = 'refuse' | 'warn';

/** Key files are small. One byte more than any may have is read, so that the parser can say that it is too large. */
const maxKeyFileBytes = 16 * 1024 * 1024 + 1;

/**
 * The recipients that -r and -R name, in that order. Keys that are passed over are named in warnings. What their plugins
 * ask is answered by `requestPassphrase`, or by whoever sits at the terminal.
 * @throws bad-key if one cannot be used, failed if a file cannot be read
 */
export function resolveRecipients(
  flags: RecipientFlags,
  context: CliContext,
  requestPassphrase: RequestPassphrase = passphraseRequester({}, context),
): Recipient[] {
  const recipients: Recipient[] = [];
  const plugins = agePlugins(requestPassphrase, context);
  warnOfDuplicates(flags.recipient ?? [], 'recipient', context);
  warnOfDuplicates(flags.recipientsFile ?? [], 'recipients file', context);
  for (const text of flags.recipient ?? []) {
    const recipient = parseRecipient(text, plugins);
    if (recipient === undefined)
      throw new SalvageError(
        'bad-key',
        'Cannot encrypt to this recipient: it is an SSH key of a type that cannot encrypt',
        { hint: 'use an ssh-ed25519 or ssh-rsa key, or make an age key with salvage keygen' },
      );
    recipients.push(recipient);
  }
  for (const path of flags.recipientsFile ?? []) {
    const file = parseRecipientsFile(readKeyFile(path, 'the recipients file', context), path, plugins);
    for (const warning of file.warnings) context.terminal.warning(warning);
    recipients.push(...file.recipients);
  }
  return recipients;
}

/**
 * The identities that -i and -j name, in their order. Passphrases are asked for only when one of them is really used.
 * @throws bad-key if one cannot be used, or if others may read it; failed if a file cannot be read
 */
export function resolveIdentities(
  flags: readonly IdentityFlag[],
  requestPassphrase: RequestPassphrase,
  context: CliContext,
  unsafeMode: UnsafeMode = 'refuse',
): Identity[] {
  const paths = flags.flatMap((flag) => ('path' in flag ? [flag.path] : []));
  warnOfDuplicates(paths, 'identity file', context);
  const plugins = agePlugins(requestPassphrase, context);
  return flags.flatMap((flag) => {
    if ('plugin' in flag) return [plugins.identityOf(flag.plugin)];
    const { path } = flag;
    return parseIdentityFile(readIdentityFile(path, unsafeMode, context), {
      name: path === '-' ? 'standard input' : path,
      requestPassphrase,
      plugins,
      publicKeyFile: () => readIfThere(`${path}.pub`),
      signal: context.signal,
    });
  });
}

/**
 * The public halves of identities, as `encrypt -e -i` uses them.
 * @throws bad-key if one does not tell its public half, and what an encrypted identity file throws
 */
export async function recipientsOfIdentities(identities: readonly Identity[]): Promise<Recipient[]> {
  const recipients: Recipient[] = [];
  for (const identity of identities) {
    const own = await identity.recipients?.();
    if (own === undefined)
      throw new SalvageError('bad-key', 'Cannot encrypt to the identity: it does not tell its public half', {
        hint: 'name the public key, with -r or -R',
      });
    recipients.push(...own);
  }
  return recipients;
}

function readKeyFile(path: string, what: string, context: CliContext): Uint8Array {
  return letSignalsKill(() => readKeyFileNow(path, what, context));
}

function readIdentityFile(path: string, unsafeMode: UnsafeMode, context: CliContext): Uint8Array {
  const check = (bytes: Uint8Array, fd: number): void => {
    if (!isPlainSecret(bytes)) return;
    try {
      checkMode(path, fstatSync(fd));
    } catch (error) {
      if (unsafeMode === 'refuse' || !(error instanceof SalvageError)) throw error;
      context.terminal.warning(error.message, error.hint);
    }
  };
  return letSignalsKill(() => readKeyFileNow(path, 'the identity file', context, check));
}

/** A key that opens files by itself, or that only its passphrase keeps from it. What age encrypted may lie about. */
function isPlainSecret(bytes: Uint8Array): boolean {
  return looksLikePrivateKey(bytes) || asBuffer(bytes).includes('AGE-SECRET-KEY-');
}

function readKeyFileNow(
  path: string,
  what: string,
  context: CliContext,
  check: (bytes: Uint8Array, fd: number) => void = () => {},
): Uint8Array {
  if (path === '-') {
    context.stdin.claim(what);
    return readUpTo(context.stdin.fd, maxKeyFileBytes, `read ${what} from standard input`);
  }
  const attempt = `read ${what} "${path}"`;
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw systemError(attempt, cause);
  }
  try {
    const bytes = readUpTo(fd, Math.min(maxKeyFileBytes, sizeOfRegular(fd) ?? maxKeyFileBytes), attempt);
    check(bytes, fd);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/** One byte more than a regular file has now, for it may have grown. */
function sizeOfRegular(fd: number): number | undefined {
  const status = fstatSync(fd);
  return status.isFile() ? status.size + 1 : undefined;
}

function readUpTo(fd: number, maxBytes: number, attempt: string): Uint8Array {
  const pieces: Buffer[] = [];
  const pieceBytes = Math.min(maxBytes, 64 * 1024);
  try {
    for (let left = maxBytes; left > 0;) {
      const piece = Buffer.allocUnsafe(Math.min(left, pieceBytes));
      const bytesRead = readSync(fd, piece, 0, piece.length, null);
      if (bytesRead === 0) break;
      pieces.push(piece.subarray(0, bytesRead));
      left -= bytesRead;
    }
  } catch (cause) {
    throw systemError(attempt, cause);
  }
  return Buffer.concat(pieces);
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

function warnOfDuplicates(values: readonly string[], what: string, context: CliContext): void {
  const repeated = new Set(values.filter((value, at) => values.indexOf(value) < at));
  for (const value of repeated) context.terminal.warning(`the ${what} "${value}" is given more than once`);
}
