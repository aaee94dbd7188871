import { fstatSync, type BigIntStats } from 'node:fs';
import { Option, type Command } from 'commander';
import { passphraseAttempts } from '../../age/passphrase-attempts.ts';
import type { Identity } from '../../age/recipient.ts';
import { ScryptIdentity } from '../../age/scrypt.ts';
import { asBuffer } from '../../bytes/bytes.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { readPublicFile } from '../../keys/key-file.ts';
import { checkSignature } from '../../operation/check-signature.ts';
import { Extractor, type MemberProblem } from '../../operation/open/extractor.ts';
import { MemberFilter } from '../../operation/open/member-filter.ts';
import { readArchive } from '../../operation/open/read-archive.ts';
import { archiveNamespace } from '../../operation/sign-message.ts';
import { AccountNames } from '../../posix/account-names.ts';
import type { Overwrite } from '../../posix/target-directory.ts';
import { parseAllowedSigners, parseRevokedKeys } from '../../ssh/allowed-signers.ts';
import { maxSshsigBytes } from '../../ssh/sshsig.ts';
import type { TarEntry, TarHandler } from '../../tar/tar-reader.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { formatSize } from '../../ui/size.ts';
import type { CliContext } from '../context.ts';
import { openInput, readPieces, type InputFile } from '../input-file.ts';
import {
  addIdentityFlags,
  addPassphraseFlags,
  passphraseRequester,
  type IdentityFlag,
  type PassphraseFlags,
} from '../key-flags.ts';
import { describeMember, memberToJson } from '../member-text.ts';
import { resolveIdentities } from '../resolve-keys.ts';

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
  readonly json?: boolean;
  readonly verbose?: boolean;
}

export const examples: readonly string[] = [
  'salvage open web-1-backup-2026-11-23.tar.zst.age -i ~/.ssh/id_ed25519 -C restored',
  'salvage open backup.tar.gz.age -i key.txt --allowed-signers allowed_signers --signer web-1 --list',
];

const maxListBytes = 16 * 1024 * 1024;

export function register(program: Command, context: CliContext): void {
  program
    .argument('<archive>', 'the archive; "-" is standard input')
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
    .option('--revoked <file>', 'keys that are not valid any more, one public key per line')
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
  using input = openInput(archive, context);
  const isSigned = options.allowedSigners !== undefined;
  const checked = isSigned ? await checkArchiveSignature(archive, input, options, context) : undefined;
  const read: ReadAll = (handler, onPause) =>
    readArchive({
      source: readPieces(input, context.signal),
      identities,
      handler,
      lookUpId: lookUpAccounts(),
      ...(onPause && { onPause }),
      signal: context.signal,
    });
  if (options.list) await list(read, filter, options, context);
  else if (options.test) await test(read, filter, options, context);
  else await extract(read, filter, options, context);
  if (checked) checkUnchanged(input, checked);
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

/** Reads the whole file once before anything in it is used. Answers what the file looked like. */
async function checkArchiveSignature(
  archive: string,
  input: InputFile,
  options: Options,
  context: CliContext,
): Promise<BigIntStats> {
  const before = fstatSync(input.fd, { bigint: true });
  if (!before.isFile())
    throw new SalvageError('usage', `Cannot check the signature of "${archive}": it is not a regular file`);
  const { allowedSigners, signer, revoked, signature = `${archive}.sig` } = options;
  // A second descriptor: the one that is read afterwards stays at the beginning.
  using message = openInput(archive, context);
  const opened = fstatSync(message.fd, { bigint: true });
  if (opened.ino !== before.ino || opened.dev !== before.dev) throw changed();
  const result = await checkSignature(readPieces(message, context.signal), readSignature(signature), {
    allowedSigners: parseAllowedSigners(
      asBuffer(readPublicFile(allowedSigners!, maxListBytes)).toString('utf8'),
    ),
    revokedKeys: revoked === undefined ? [] : parseRevokedKeys(readPublicFile(revoked, maxListBytes)),
    principal: signer!,
    namespace: archiveNamespace,
    time: context.clock.now(),
  });
  checkUnchanged(message, before);
  context.terminal.info(
    `Good signature by ${result.principal} with ${result.keyType} key ${result.fingerprint}`,
  );
  return before;
}

/** What was read must be what was signed. */
function checkUnchanged(input: InputFile, before: BigIntStats): void {
  const after = fstatSync(input.fd, { bigint: true });
  if (after.size !== before.size || after.mtimeNs !== before.mtimeNs || after.ctimeNs !== before.ctimeNs)
    throw changed();
}

function changed(): SalvageError {
  return new SalvageError('bad-signature', 'Cannot trust the archive: it was changed while it was read');
}

/** A signature that is not there is a bad one. */
function readSignature(path: string): Uint8Array {
  try {
    return readPublicFile(path, maxSshsigBytes);
  } catch (error) {
    if (!(error instanceof SalvageError)) throw error;
    throw new SalvageError('bad-signature', error.message, {
      hint: 'Only signed archives are opened with --allowed-signers; name the signature with --signature FILE if it is elsewhere.',
      cause: error,
    });
  }
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
