import { Option, type Command } from 'commander';
import { passphraseAttempts } from '../../age/passphrase-attempts.ts';
import type { Identity } from '../../age/recipient.ts';
import { ScryptIdentity } from '../../age/scrypt.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { readPublicFile } from '../../keys/key-file.ts';
import { checkSignature } from '../../operation/check-signature.ts';
import { Extractor, type MemberProblem } from '../../operation/open/extractor.ts';
import { MemberFilter } from '../../operation/open/member-filter.ts';
import { readArchive } from '../../operation/open/read-archive.ts';
import { archiveNamespace } from '../../operation/sign-message.ts';
import { AccountNames } from '../../posix/account-names.ts';
import type { Overwrite } from '../../posix/target-directory.ts';
import { maxSshsigBytes } from '../../ssh/sshsig.ts';
import type { TarEntry, TarHandler } from '../../tar/tar-reader.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { formatSize } from '../../ui/size.ts';
import { openArchiveInput, readStoredSignature, type ArchiveInput } from '../archive-input.ts';
import type { CliContext } from '../context.ts';
import {
  addIdentityFlags,
  addPassphraseFlags,
  passphraseRequester,
  type IdentityFlag,
  type PassphraseFlags,
} from '../key-flags.ts';
import { describeMember, memberToJson } from '../member-text.ts';
import { resolveIdentities } from '../resolve-keys.ts';
import { readRevokedKeys, readSignersFile } from '../signer-options.ts';

interface Options extends PassphraseFlags {
  readonly directory: string;
  readonly list?: boolean;
  readonly test?: boolean;
  readonly overwrite: Overwrite;
  readonly allowDevices?: boolean;
  readonly numericOwner?: boolean;
  readonly allowedSigners?: string;
  readonly signer?: string;
  readonly signature?: string;
  readonly revoked?: string;
  readonly sshCommand?: string;
  readonly json?: boolean;
  readonly verbose?: boolean;
}

export const examples: readonly string[] = [
  'salvage open web-1-backup-2026-11-23.tar.zst.age -i ~/.ssh/id_ed25519 -C restored',
  'salvage open backup.tar.gz.age -i key.txt --allowed-signers allowed_signers --signer web-1 --list',
];

export function register(program: Command, context: CliContext): void {
  program
    .argument(
      '<archive>',
      'the archive: a file, or a URL (sftp://, ssh://, s3://, rclone:…); "-" is standard input',
    )
    .argument('[member...]', 'restore or list only these files, and what is below these directories');
  const identities = addIdentityFlags(program);
  program
    .option('-C, --directory <folder>', 'restore below FOLDER, which is made if it does not exist', '.')
    .option('-t, --list', 'print the names of the members; with -v all about them')
    .option('--test', 'read, decrypt and check everything, restore nothing')
    .addOption(
      new Option('--overwrite <when>', 'what to do with files that are there already')
        .choices(['never', 'if-newer', 'if-different', 'always'])
        .default('never'),
    )
    .option('--allow-devices', 'also make device nodes')
    .option('--numeric-owner', 'owner and group by number, whatever their names are here')
    .option(
      '--allowed-signers <file>',
      'open only what is signed: who may sign, as ssh-keygen(1) describes it',
    )
    .option('--signer <principal>', 'who must have signed')
    .option('--signature <file>', 'the signature, if it is not in ARCHIVE.sig')
    .option(
      '--revoked <file>',
      'keys that are not valid any more: one public key to a line, or a KRL of ssh-keygen',
    )
    .option('--ssh-command <command>', 'the ssh program with its arguments (default: $SALVAGE_SSH, then ssh)')
    .option('--json', 'print the list as one JSON object per line, or the result as one');
  addPassphraseFlags(program);
  program.action((archive: string, members: string[], options: Options) =>
    open(archive, members, identities, options, context),
  );
}

async function open(
  archive: string,
  members: readonly string[],
  identityFlags: readonly IdentityFlag[],
  options: Options,
  context: CliContext,
): Promise<void> {
  checkOptions(archive, options);
  const filter = new MemberFilter(members);
  const requestPassphrase = passphraseRequester(options, context);
  const identities: Identity[] =
    identityFlags.length > 0
      ? resolveIdentities(identityFlags, requestPassphrase, context)
      : [
          new ScryptIdentity(() => passphraseAttempts(requestPassphrase, 'Enter passphrase'), {
            signal: context.signal,
          }),
        ];
  using input = await openArchiveInput(archive, options.sshCommand, context);
  if (options.allowedSigners !== undefined) await checkArchiveSignature(input, options, context);
  const read: ReadAll = (handler, onPause) =>
    readArchive({
      source: input.read(context.signal),
      identities,
      handler,
      lookUpId: lookUpAccounts(),
      ...(onPause && { onPause }),
      signal: context.signal,
    });
  if (options.list) await list(read, filter, options, context);
  else if (options.test) await test(read, filter, options, context);
  else await extract(read, filter, options, context);
  input.checkUnchanged();
  const missing = filter.missing();
  if (missing.length > 0)
    throw new SalvageError('failed', `Cannot find "${missing.join('", "')}" in the archive`, {
      hint: 'List what is there with --list.',
    });
}

type ReadAll = (handler: TarHandler, onPause?: () => Promise<void>) => Promise<void>;

function checkOptions(
  archive: string,
  { list, test, allowedSigners, signer, signature, revoked }: Options,
): void {
  if (list && test) throw new SalvageError('usage', 'Cannot list and test at once: a list is a test, too');
  if ((allowedSigners === undefined) !== (signer === undefined))
    throw new SalvageError(
      'usage',
      'Cannot check the signature: --allowed-signers and --signer belong together',
    );
  if (allowedSigners === undefined && (signature !== undefined || revoked !== undefined))
    throw new SalvageError('usage', 'Cannot check the signature: nobody is allowed to sign', {
      hint: 'Add --allowed-signers FILE and --signer NAME.',
    });
  if (allowedSigners !== undefined && archive === '-')
    throw new SalvageError(
      'usage',
      'Cannot check the signature of standard input: it is known to be good only after its last byte',
      { hint: 'Save the archive to a file first, then open that.' },
    );
}

/** Reads the whole archive once before anything in it is used. */
async function checkArchiveSignature(
  input: ArchiveInput,
  options: Options,
  context: CliContext,
): Promise<void> {
  const { allowedSigners, signer, revoked } = options;
  const revokedKeys = readRevokedKeys(revoked);
  const result = await checkSignature(
    input.message(context.signal),
    await readSignature(input, options, context),
    {
      allowedSigners: readSignersFile(allowedSigners!),
      ...(revokedKeys && { revokedKeys }),
      principal: signer!,
      namespace: archiveNamespace,
      time: context.clock.now(),
    },
  );
  context.terminal.info(
    `Good signature by ${result.principal} with ${result.keyType} key ${result.fingerprint}`,
  );
}

/** A signature that is not there is a bad one. */
async function readSignature(
  input: ArchiveInput,
  { signature, sshCommand }: Options,
  context: CliContext,
): Promise<Uint8Array> {
  const hint =
    'Only signed archives are opened with --allowed-signers; name the signature with --signature FILE if it is elsewhere.';
  let bytes: Uint8Array | undefined;
  try {
    if (signature === undefined) bytes = await input.signatureBeside(context.signal);
    else
      bytes =
        (await readStoredSignature(signature, sshCommand, context)) ??
        readPublicFile(signature, maxSshsigBytes);
  } catch (error) {
    if (!(error instanceof SalvageError) || context.signal.aborted) throw error;
    throw new SalvageError('bad-signature', error.message, { hint, cause: error });
  }
  if (bytes) return bytes;
  throw new SalvageError('bad-signature', 'Cannot find the signature: there is none beside the archive', {
    hint,
  });
}

async function list(
  read: ReadAll,
  filter: MemberFilter,
  options: Options,
  context: CliContext,
): Promise<void> {
  let lines: string[] = [];
  const flush = async (): Promise<void> => {
    const text = lines.join('');
    lines = [];
    if (text !== '') await context.stdout.write(text);
  };
  const handler: TarHandler = {
    entry(entry) {
      if (!filter.matches(entry.path)) return;
      if (options.json) lines.push(`${JSON.stringify(memberToJson(entry))}\n`);
      else if (context.terminal.verbose) lines.push(`${describeMember(entry)}\n`);
      else lines.push(`${escapeForTerminal(entry.path)}${entry.type === 'directory' ? '/' : ''}\n`);
    },
    data() {},
    end() {},
  };
  try {
    await read(handler, flush);
  } finally {
    await flush();
  }
}

async function test(
  read: ReadAll,
  filter: MemberFilter,
  options: Options,
  context: CliContext,
): Promise<void> {
  const counter = new Counter(filter);
  await read(counter);
  const { members, contentBytes } = counter;
  if (options.json) await context.stdout.write(`${JSON.stringify({ members, contentBytes })}\n`);
  else context.terminal.info(`All good: ${members} members, ${formatSize(contentBytes)}`);
}

class Counter implements TarHandler {
  readonly #filter: MemberFilter;
  #counts = false;
  members = 0;
  contentBytes = 0;

  constructor(filter: MemberFilter) {
    this.#filter = filter;
  }

  entry({ path }: TarEntry): void {
    this.#counts = this.#filter.matches(path);
  }

  data(bytes: Buffer): void {
    if (this.#counts) this.contentBytes += bytes.length;
  }

  end(): void {
    if (this.#counts) this.members++;
  }
}

async function extract(
  read: ReadAll,
  filter: MemberFilter,
  options: Options,
  context: CliContext,
): Promise<void> {
  const { directory, overwrite, allowDevices = false, numericOwner = false } = options;
  const { terminal } = context;
  const progress = terminal.startProgress('opening');
  let problems = 0;
  let hostile = 0;
  const extractor = new Extractor({
    folder: directory,
    target: { overwrite, allowDevices, numericIds: numericOwner },
    filter,
    onProblem(problem) {
      problems++;
      if (problem.hostile) hostile++;
      terminal.warning(describeProblem(problem), problem.hint);
    },
    onProgress: (bytes, files) => progress.advance(bytes, files),
  });
  try {
    await read(extractor);
  } finally {
    progress.end();
    extractor.close();
  }
  const { members, kept, absolute } = extractor;
  if (absolute > 0) terminal.info(`${absolute} members had absolute paths and are now below "${directory}"`);
  if (kept > 0) terminal.hint('Give --overwrite always to replace what is there already.');
  terminal.info(`Restored ${members} members, ${formatSize(progress.bytes)}, below "${directory}"`);
  if (options.json) {
    const result = { members, contentBytes: progress.bytes, kept, problems };
    await context.stdout.write(`${JSON.stringify(result)}\n`);
  }
  if (hostile > 0)
    throw new SalvageError(
      'damaged',
      `Cannot restore all of the archive: ${hostile} of its members are such as no honest program writes`,
      { hint: 'Do not trust where it comes from; all other members were restored.' },
    );
  if (problems > 0) context.incomplete();
}

function describeProblem({ path, message }: MemberProblem): string {
  return message.startsWith('Cannot ') ? message : `"${escapeForTerminal(path)}": ${message}`;
}

function lookUpAccounts(): (kind: 'user' | 'group', name: string) => number | undefined {
  const accounts = new AccountNames();
  return (kind, name) => (kind === 'user' ? accounts.userId(name) : accounts.groupId(name));
}
