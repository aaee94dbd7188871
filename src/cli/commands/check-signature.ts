import type { Command } from 'commander';
import { concatBytes } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { readPublicFile } from '../../keys/key-file.ts';
import { checkSignature } from '../../operation/check-signature.ts';
import { archiveNamespace } from '../../operation/sign-message.ts';
import { parseSignerTime } from '../../ssh/allowed-signers.ts';
import { maxSshsigBytes } from '../../ssh/sshsig.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import type { CliContext } from '../context.ts';
import { openInput, readPieces } from '../input-file.ts';
import { readRevokedKeys, readSignersFile } from '../signer-options.ts';

interface Options {
  readonly allowedSigners: string;
  readonly signer: string;
  readonly namespace: string;
  readonly revoked?: string;
  readonly verifyTime?: string;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage check-signature --allowed-signers allowed_signers --signer web-1 web-1-backup-2026-11-23.tar.zst.age',
  'salvage check-signature --allowed-signers allowed_signers --signer web-1 - message.sig < message',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument('<file>', 'what was signed; "-" is standard input')
    .argument('[signature]', 'its signature; FILE.sig if it is not given, "-" is standard input')
    .requiredOption('--allowed-signers <file>', 'who may sign: a file as ssh-keygen(1) describes it')
    .requiredOption('--signer <principal>', 'who must have signed')
    .option('--namespace <name>', 'what the signature must be for', archiveNamespace)
    .option(
      '--revoked <file>',
      'keys that are not valid any more: one public key to a line, or a KRL of ssh-keygen',
    )
    .option(
      '--verify-time <time>',
      'when the key must have been valid: YYYYMMDD[HHMM[SS]][Z]; now if it is not given',
    )
    .option('--json', 'print the result as one JSON object')
    .action((file: string, signature: string | undefined, options: Options) =>
      check(file, signature, options, context),
    );
}

async function check(
  file: string,
  signaturePath: string | undefined,
  options: Options,
  context: CliContext,
): Promise<void> {
  if (file === '-' && signaturePath === undefined)
    throw new SalvageError('usage', 'Cannot check standard input: its signature is not named', {
      hint: 'Name it: salvage check-signature … - FILE.sig',
    });
  const allowedSigners = readSignersFile(options.allowedSigners);
  const revokedKeys = readRevokedKeys(options.revoked);
  const time = verifyTime(options.verifyTime, context);
  const signature = await readSignature(signaturePath ?? `${file}.sig`, context);
  using input = openInput(file, context);
  const { signer: principal, namespace } = options;
  const result = await checkSignature(readPieces(input, context.signal), signature, {
    allowedSigners,
    ...(revokedKeys && { revokedKeys }),
    principal,
    namespace,
    time,
  });
  await context.stdout.write(
    options.json
      ? `${JSON.stringify({ file, ...result })}\n`
      : escapeForTerminal(
          `Good "${result.namespace}" signature by ${result.principal} with ${result.keyType} key ${result.fingerprint}`,
        ) + '\n',
  );
}

/** A signature that is not there is a bad one. */
async function readSignature(path: string, context: CliContext): Promise<Uint8Array> {
  if (path === '-') return readSignatureFromInput(context);
  try {
    return readPublicFile(path, maxSshsigBytes);
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    throw new SalvageError('bad-signature', error.message, {
      hint: 'Name the signature after the file if it is elsewhere.',
      cause: error,
    });
  }
}

async function readSignatureFromInput(context: CliContext): Promise<Uint8Array> {
  using input = openInput('-', context);
  let signature: Uint8Array = new Uint8Array(0);
  for await (const piece of readPieces(input, context.signal)) {
    signature = concatBytes([signature, piece]);
    // What is too long is refused where it is parsed.
    if (signature.length > maxSshsigBytes) break;
  }
  return signature;
}

function verifyTime(text: string | undefined, context: CliContext): Date {
  if (text === undefined) return context.clock.now();
  const time = parseSignerTime(text);
  if (!time)
    throw new SalvageError('usage', `Cannot use --verify-time ${text}: it is not YYYYMMDD[HHMM[SS]][Z]`);
  return time;
}
