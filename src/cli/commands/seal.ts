import { existsSync } from 'node:fs';
import { availableParallelism, hostname } from 'node:os';
import { Option, type Command } from 'commander';
import type { Recipient } from '../../age/recipient.ts';
import { levels, type Compression } from '../../compression/compression.ts';
import { SalvageError } from '../../errors/salvage-error.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { finalRetentionFrom, requireObjectLock } from '../../operation/lock/lock-policy.ts';
import { seal, type SealResult } from '../../operation/seal/seal.ts';
import { archiveNamespace } from '../../operation/sign-message.ts';
import { planRoots } from '../../source/source-roots.ts';
import type { Signer } from '../../ssh/signer.ts';
import type { Retention } from '../../storage/storage.ts';
import { formatSize } from '../../ui/size.ts';
import { ArchiveFile, ArchiveObject, StreamedArchive, type ArchiveOutput } from '../archive-output.ts';
import type { CliContext } from '../context.ts';
import { addExcludeFlags, readExcludes, type ExcludeFlags } from '../exclude-flags.ts';
import {
  addPassphraseFlags,
  addRecipientFlags,
  passphraseRequester,
  type PassphraseFlags,
  type RecipientFlags,
} from '../key-flags.ts';
import {
  alreadyThere,
  besideObject,
  checkAbsent,
  openObjectPlace,
  type ObjectPlace,
} from '../object-place.ts';
import { addLockFlags, readLockPolicy, type LockFlags } from '../lock-options.ts';
import { OutputFile } from '../output-file.ts';
import { resolveRecipients } from '../resolve-keys.ts';
import { describeProblem } from '../describe-problem.ts';
import { keepProcessSmall } from '../keep-process-small.ts';
import { showTotals } from '../show-totals.ts';
import { parseNumber } from '../option-values.ts';
import { count } from '../../ui/count.ts';

interface Options extends LockFlags, ExcludeFlags, RecipientFlags, PassphraseFlags {
  readonly output?: string;
  readonly force?: boolean;
  readonly compression: Compression;
  readonly level?: number;
  readonly threads: number;
  readonly signingKey?: string;
  readonly signature?: string;
  readonly sshCommand?: string;
  readonly json?: boolean;
}

export const examples: readonly string[] = [
  'salvage seal /etc /home -R ~/.ssh/id_ed25519.pub',
  'salvage seal /srv -r age1… --signing-key /etc/salvage/host_key -o - | ssh keeper "cat > srv.tar.zst.age"',
];

const extensions: Readonly<Record<Compression, string>> = { zstd: '.tar.zst', gzip: '.tar.gz', none: '.tar' };
/** Beyond this one thread that encrypts and writes cannot keep up. */
const mostThreads = 8;

export function register(program: Command, context: CliContext): void {
  program
    .argument('<path...>', 'what goes into the archive')
    .option(
      '-o, --output <file>',
      'write the archive to FILE, or send it to a URL: sftp://, ssh://, s3://, rclone:…, its last part being the name; "-" is standard output (default: HOST-backup-YYYY-MM-DD.tar.zst.age, here)',
    )
    .option('--force', 'replace an archive of that name');
  addRecipientFlags(program);
  program
    .addOption(
      new Option('--compression <kind>', 'zstd, gzip, or none').choices(Object.keys(levels)).default('zstd'),
    )
    .option('--level <number>', 'compression level: 1 to 19 for zstd, 1 to 9 for gzip', (text) =>
      parseNumber(text, '--level', 0, 99),
    );
  addExcludeFlags(program);
  program
    .option(
      '--signing-key <file>',
      'also write FILE.sig: OpenSSH private key, or a public key whose private half is in ssh-agent',
    )
    .option('--signature <file>', 'where the signature goes, if not to FILE.sig')
    .option(
      '--threads <number>',
      'read and compress on so many threads',
      (text) => parseNumber(text, '--threads', 1, 64),
      Math.min(mostThreads, availableParallelism()),
    )
    .option('--ssh-command <command>', 'the ssh program with its arguments (default: $SALVAGE_SSH, then ssh)')
    .option('--json', 'print what was made as one JSON object');
  addLockFlags(program, 'lock the archive and its signature for so many days');
  addPassphraseFlags(program);
  program.action((paths: string[], options: Options) => run(paths, options, context));
}

async function run(paths: readonly string[], options: Options, context: CliContext): Promise<void> {
  const { compression, level = levels[compression].usual, signingKey } = options;
  checkOptions(options, level, context);
  const sources = { roots: planRoots(paths), ...readExcludes(options) };
  const recipients: Recipient[] = resolveRecipients(options, context);
  const destination = await chooseDestination(options, context);
  const { archive, signature } = destination;
  const lock = readLockPolicy(options);
  const retention = lock && finalRetentionFrom(lock, context.clock.now());
  if (retention) lockPlaces(destination, retention);
  const signer =
    signingKey === undefined
      ? undefined
      : await loadSigner(signingKey, {
          requestPassphrase: passphraseRequester(options, context),
          agentSocket: context.env['SSH_AUTH_SOCK'],
          signal: context.signal,
        });

  keepProcessSmall();
  const progress = context.terminal.startProgress('sealing');
  showTotals(progress, sources);
  await using output = openOutput(archive, context);
  let result: SealResult;
  try {
    result = await seal({
      sources,
      recipients,
      compression,
      level,
      threads: options.threads,
      digest: signer !== undefined,
      signal: context.signal,
      write: (parts) => output.write(parts),
      isOwnOutput: (walk) => output.isOwn(walk),
      onProblem: (problem) => context.terminal.warning(describeProblem(problem)),
      onProgress: (bytes, files) => progress.advance(bytes, files),
    });
    if (signer) await writeSignature(signer, result.digest!, signature!, context);
    try {
      await output.commit();
    } catch (error) {
      if (signature) await takeBack(signature);
      throw error;
    }
  } finally {
    progress.end();
  }
  if (result.problems > 0) context.incomplete();
  report(labelOf(archive), signature && labelOf(signature), result, context);
  if (retention) context.terminal.info(describeLock(retention));
  if (options.json) {
    const { digest: _digest, ...numbers } = result;
    const json = {
      archive: archive === '-' ? null : labelOf(archive),
      signature: signature ? labelOf(signature) : null,
      ...numbers,
    };
    await context.stdout.write(`${JSON.stringify(json)}\n`);
  }
}

function checkOptions(options: Options, level: number, context: CliContext): void {
  const { compression, output, signingKey, signature, json } = options;
  const { least, most } = levels[compression];
  if (level < least || level > most)
    throw new SalvageError(
      'usage',
      compression === 'none'
        ? 'Cannot use --level: nothing is compressed'
        : `Cannot use --level ${level}: ${compression} has the levels ${least} to ${most}`,
    );
  if (!options.recipient?.length && !options.recipientsFile?.length)
    throw new SalvageError('usage', 'Cannot seal: no recipient is given', {
      hint: 'Name at least one public key, with -r or in a file with -R; salvage keygen makes a key pair.',
    });
  if (signature !== undefined && signingKey === undefined)
    throw new SalvageError('usage', 'Cannot use --signature without --signing-key');
  if (output !== '-') return;
  if (signingKey !== undefined && signature === undefined)
    throw new SalvageError('usage', 'Cannot sign an archive on standard output: its signature has no name', {
      hint: 'Give the signature a place with --signature FILE.',
    });
  if (json) throw new SalvageError('usage', 'Cannot print JSON: standard output is taken by the archive');
  if (context.stdout.isTerminal)
    throw new SalvageError('usage', 'Cannot write an archive to a terminal', {
      hint: 'Name a file with -o, or put a program behind it.',
    });
}

/** "-", the path of a file, or an object in storage. */
type Place = string | ObjectPlace;

interface Destination {
  readonly archive: Place;
  readonly signature: Place | undefined;
}

/** Where archive and signature go, both free. @throws usage, failed */
async function chooseDestination(options: Options, context: CliContext): Promise<Destination> {
  const { compression, output, signingKey, signature: given, sshCommand } = options;
  const usual = defaultName(compression, context);
  const place = async (argument: string, name: string): Promise<Place> =>
    (await openObjectPlace(argument, sshCommand, context, name)) ?? argument;
  const archive = output === undefined ? usual : await place(output, usual);
  const beside = (): Place =>
    typeof archive === 'string' ? `${archive}.sig` : besideObject(archive, '.sig');
  const signature =
    given !== undefined
      ? await place(given, `${usual}.sig`)
      : signingKey === undefined
        ? undefined
        : beside();
  for (const each of [archive, ...(signature === undefined ? [] : [signature])])
    if (typeof each !== 'string') await checkAbsent(each, context.signal);
    else if (each !== '-') checkFree(each, options);
  return { archive, signature };
}

/** Has what is created there locked. @throws usage where nothing can be */
function lockPlaces({ archive, signature }: Destination, retention: Retention): void {
  for (const place of signature === undefined ? [archive] : [archive, signature])
    if (typeof place !== 'string') requireObjectLock(place.storage).lockNew(retention);
    else
      throw new SalvageError('usage', `Cannot lock "${labelOf(place)}": it is not in a bucket`, {
        hint: 'Object Lock is a thing of s3:// buckets: name one with -o, or leave out --lock-days.',
      });
}

function openOutput(archive: Place, { stdout, signal }: CliContext): ArchiveOutput {
  if (typeof archive !== 'string') return new ArchiveObject(archive, signal);
  return archive === '-' ? new StreamedArchive(stdout) : new ArchiveFile(archive);
}

function labelOf(place: Place): string {
  if (typeof place !== 'string') return place.label;
  return place === '-' ? 'standard output' : place;
}

/** Before the archive has its name: one that should be signed is never seen without its signature. */
async function writeSignature(
  signer: Signer,
  digest: Uint8Array,
  place: Place,
  { signal }: CliContext,
): Promise<void> {
  const text = await signer.sign({ namespace: archiveNamespace, hash: 'sha512', digest });
  const signature = Buffer.from(text);
  if (typeof place === 'string') {
    using file = new OutputFile(place, { sync: true });
    file.write(signature);
    file.commit();
  } else if ((await place.storage.create(place.name, [signature], signal)) === 'exists')
    throw alreadyThere(place);
}

/** A signature in storage whose archive did not come about, so that the name can be used again. */
async function takeBack(place: Place): Promise<void> {
  if (typeof place === 'string' || !place.storage.capabilities.remove) return;
  await place.storage.remove(place.name).catch(() => {});
}

function report(
  path: string,
  signaturePath: string | undefined,
  result: SealResult,
  { terminal }: CliContext,
): void {
  const { files, contentBytes, archiveBytes, problems, sockets } = result;
  if (sockets > 0) terminal.detail(`${sockets} sockets were left out: no archive can hold them`);
  if (problems > 0) terminal.warning(`${count(problems, 'thing')} could not be stored as they were`);
  terminal.info(
    `Sealed ${files} files, ${formatSize(contentBytes)}, in "${path}" (${formatSize(archiveBytes)})` +
      (signaturePath === undefined ? '' : `, signed in "${signaturePath}"`),
  );
}

function describeLock({ mode, until }: Retention): string {
  const who = mode === 'compliance' ? 'Nobody' : 'Only who may bypass governance';
  return `${who} can destroy it before ${until.toISOString()}`;
}

/** `web-1-backup-2026-11-23.tar.zst.age`, by the local date. */
function defaultName(compression: Compression, { clock }: CliContext): string {
  const now = clock.now();
  const part = (number: number): string => String(number).padStart(2, '0');
  const date = `${now.getFullYear()}-${part(now.getMonth() + 1)}-${part(now.getDate())}`;
  const host = hostname()
    .split('.')[0]!
    .replace(/[^A-Za-z0-9_-]/g, '_');
  return `${host || 'host'}-backup-${date}${extensions[compression]}.age`;
}

/** For files. */
function checkFree(path: string, { force = false }: Options): void {
  if (force || !existsSync(path) || path.startsWith('/dev/')) return;
  throw new SalvageError('failed', `Cannot write "${path}": it is there already`, {
    hint: 'Name another file with -o, or give --force to replace it.',
  });
}
