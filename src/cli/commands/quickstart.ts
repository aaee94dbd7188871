import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { availableParallelism, hostname, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { SalvageError } from '../../errors/salvage-error.ts';
import { keyPaths, type KeyPaths } from '../../keys/key-paths.ts';
import { writeNewKeyFile } from '../../keys/key-file.ts';
import { loadSigner } from '../../keys/load-signer.ts';
import { makeIdentity } from '../../keys/make-identity.ts';
import { makeSigningKey } from '../../keys/make-signing-key.ts';
import { init } from '../../operation/init/init.ts';
import { readRepositoryJson } from '../../operation/open-repository.ts';
import { proveBackup, type BackupProof } from '../../operation/quickstart/prove-backup.ts';
import { repositoryName } from '../../repository/layout.ts';
import { parseAllowedSigners } from '../../ssh/allowed-signers.ts';
import { formatPublicKey } from '../../ssh/public-key.ts';
import { openStorage } from '../../storage/open-storage.ts';
import { formatDuration } from '../../ui/duration.ts';
import { escapeForTerminal } from '../../ui/escape.ts';
import { formatSize } from '../../ui/size.ts';
import { cacheFolderOf } from '../cache-folder.ts';
import type { CliContext } from '../context.ts';
import { describeProblem } from '../describe-problem.ts';
import { addPassphraseFlags, passphraseRequester, type PassphraseFlags } from '../key-flags.ts';
import { readRecipientTexts } from '../recipient-texts.ts';
import { hostConfigurations } from '../repository-options.ts';
import { resolveIdentities } from '../resolve-keys.ts';
import { systemError } from '../system-error.ts';

export const examples: readonly string[] = ['salvage quickstart ~/documents', 'salvage quickstart /etc'];

export function register(program: Command, context: CliContext): void {
  program.argument('<directory>', 'what to back up');
  addPassphraseFlags(program);
  program.action((directory: string, options: PassphraseFlags) => run(directory, options, context));
}

async function run(given: string, options: PassphraseFlags, context: CliContext): Promise<void> {
  const { terminal, clock, signal } = context;
  const directory = findDirectory(given);
  const keys = keyPaths(context.env);
  const place = join(dataFolder(context), 'repository');
  for (const inside of [place, keys.folder])
    if (`${resolve(inside)}/`.startsWith(directory === '/' ? '/' : `${directory}/`))
      throw new SalvageError(
        'usage',
        `Cannot back up "${given}": salvage itself writes below it, in "${inside}"`,
        {
          hint: 'Try it with a smaller directory; for a backup of everything: salvage init, salvage backup --exclude.',
        },
      );

  // What is missing is made, and what is there stays.
  const name = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,252}$/.test(hostname()) ? hostname() : 'localhost';
  await makeKeys(keys, name, context);
  const storage = await openStorage(place, context);
  const configurations = hostConfigurations(context);
  const signer = await loadSigner(keys.signingKey, {
    requestPassphrase: passphraseRequester(options, context),
    agentSocket: context.env['SSH_AUTH_SOCK'],
    signal: context.signal,
  });
  if (!(await storage.stat(repositoryName, signal))) {
    mkdirSync(place, { recursive: true, mode: 0o700 });
    await init({
      storage,
      configurations,
      url: place,
      recipients: readRecipientTexts({ recipientsFile: [keys.recipients] }, context),
      signingKey: keys.signingKey,
      name,
      clock,
      signal,
    });
    terminal.info(`Made a repository         ${place}`);
  }
  const { id } = await readRepositoryJson(storage, signal);
  const host = configurations.require(id, place);
  allowSigner(keys, host.name, formatPublicKey(signer.publicKey), terminal);

  const scratch = mkdtempSync(join(realpathSync(tmpdir()), 'salvage-quickstart-'));
  let progress = terminal.startProgress('backing up');
  const started = clock.monotonicMs();
  let proof: BackupProof;
  try {
    proof = await proveBackup({
      directory,
      storage,
      host,
      signer,
      trusted: {
        allowedSigners: parseAllowedSigners(readFileSync(keys.allowedSigners, 'utf8')),
        principal: host.name,
      },
      identities: resolveIdentities(
        [{ path: keys.identity }],
        passphraseRequester(options, context),
        context,
      ),
      cacheFolder: cacheFolderOf(id, context),
      scratch,
      threads: Math.min(8, availableParallelism()),
      clock,
      signal,
      onStep(step) {
        if (step === 'restore') progress = terminal.startProgress('restoring');
        if (step === 'compare') progress.end();
      },
      onProblem(problem) {
        terminal.warning(describeProblem(problem));
        context.incomplete();
      },
      onProgress: (bytes, files) => progress.advance(bytes, files),
    });
  } finally {
    progress.end();
    rmSync(scratch, { recursive: true, force: true });
  }
  report(proof, directory, place, keys, clock.monotonicMs() - started, context);
}

function findDirectory(given: string): string {
  try {
    if (statSync(given).isDirectory()) return realpathSync(given);
  } catch (error) {
    throw systemError(`back up "${given}"`, error);
  }
  throw new SalvageError('usage', `Cannot back up "${given}": it is not a directory`);
}

/** XDG Base Directory Specification. */
function dataFolder({ env }: CliContext): string {
  const { XDG_DATA_HOME: dataHome = '', HOME: home = '' } = env;
  return join(isAbsolute(dataHome) ? dataHome : join(home, '.local', 'share'), 'salvage');
}

async function makeKeys(keys: KeyPaths, name: string, { terminal, clock }: CliContext): Promise<void> {
  if (!existsSync(keys.signingKey)) {
    await makeSigningKey(keys.signingKey, { comment: `salvage ${name}` });
    terminal.info(`Made a signing key        ${keys.signingKey}`);
  }
  if (existsSync(keys.recipients)) {
    if (existsSync(keys.identity)) return;
    throw new SalvageError(
      'bad-key',
      `Cannot prove a restore: the identity "${keys.identity}" is no longer here`,
      {
        hint: 'As it should be, if you moved it. Make backups with: salvage backup. Prove them where the identity is: salvage restore.',
      },
    );
  }
  if (existsSync(keys.identity))
    throw new SalvageError(
      'bad-key',
      `Cannot find the recipients "${keys.recipients}", though there is an identity`,
      {
        hint: `Make them from it: salvage keygen -y ${keys.identity} > ${keys.recipients}`,
      },
    );
  const recipient = makeIdentity(keys.identity, clock);
  writeNewKeyFile(keys.recipients, `${recipient}\n`);
  terminal.info(`Made an identity          ${keys.identity}  (secret: it opens your backups)`);
  terminal.info(`Made its recipient        ${keys.recipients}  (public: backups are encrypted to it)`);
}

function allowSigner(
  keys: KeyPaths,
  name: string,
  publicKey: string,
  terminal: CliContext['terminal'],
): void {
  const line = `${name} namespaces="salvage-snapshot" ${publicKey}`;
  if (existsSync(keys.allowedSigners)) {
    if (readFileSync(keys.allowedSigners, 'utf8').split('\n').includes(line)) return;
  } else terminal.info(`Made the allowed signers  ${keys.allowedSigners}`);
  appendFileSync(keys.allowedSigners, `${line}\n`, { mode: 0o600 });
}

function report(
  { snapshot, backup: { counts, storedBytes }, comparison }: BackupProof,
  directory: string,
  place: string,
  keys: KeyPaths,
  durationMs: number,
  context: CliContext,
): void {
  const { terminal, env } = context;
  const salvage = env['SALVAGE_PROGRAM'] ?? 'salvage';
  terminal.info('');
  terminal.info(
    `Backed up ${directory}: ${formatSize(counts.contentBytes)}, stored ${formatSize(storedBytes)}, encrypted and signed`,
  );
  for (const { path, what } of comparison.examples) terminal.warning(`"${escapeForTerminal(path)}" ${what}`);
  if (comparison.differences > 0) {
    if (counts.problems === 0)
      throw new SalvageError(
        'failed',
        `Cannot prove the backup: ${comparison.differences} of ${comparison.compared} things came back differently`,
        {
          hint: 'If something writes into the directory, try it with one that stands still.',
        },
      );
    context.incomplete();
  }
  terminal.info(
    `Restored it to a scratch folder and compared: ${comparison.compared} things, ${formatSize(comparison.comparedBytes)}, ${comparison.differences === 0 ? 'all as they were' : `${comparison.differences} otherwise`}`,
  );
  terminal.info(`Snapshot ${snapshot}, ${formatDuration(durationMs)} in all`);
  terminal.info('');
  terminal.info('What to run next:');
  terminal.info(`  ${salvage} snapshots --repo ${place}`);
  terminal.info(`  ${salvage} backup --repo ${place} ${directory}`);
  terminal.info(`  ${salvage} restore latest --repo ${place} -i ${keys.identity} --target restored`);
  terminal.info('');
  terminal.info('The identity belongs on another machine: whoever takes this one must not find it here.');
  terminal.info('Backups need only the recipient. Move it, and keep a copy on paper or in a safe:');
  terminal.info(`  scp ${keys.identity} you@backup-server: && shred -u ${keys.identity}`);
}
